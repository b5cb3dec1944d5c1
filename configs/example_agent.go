//go:build agentonly

package configs

import "embed"

// The device's program has to be small: it has no other program's file.
//
//go:embed auer-agent.yaml
var examples embed.FS
