package configs

import "runtime/debug"

// version is set by the linker: -X github.com/comtrexx-cloud/comtrexx/configs.version=v1.2.3
var version string

// Version gives the version of the running program: what the linker was told,
// else the module version and the commit that the Go toolchain recorded, else
// "devel".
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
