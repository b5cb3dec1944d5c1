//go:build !webui

package web

import "embed"

//go:embed placeholder
var embedded embed.FS

const (
	embeddedRoot = "placeholder"
	built        = false
)
