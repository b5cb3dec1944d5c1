//go:build webui

package web

import "embed"

//go:embed all:ui/dist
var embedded embed.FS

const (
	embeddedRoot = "ui/dist"
	built        = true
)
