//go:build !agentonly

package configs

import "embed"

//go:embed *.yaml
var examples embed.FS
