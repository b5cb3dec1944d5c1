// Auerproxy is the relay: devices dial out to it and hold a tunnel, authorised
// callers reach a service on a device through it by the device's serial, end to
// end encrypted.
//
//	auerproxy serve --config auerproxy.yaml    run a relay
//	auerproxy sessions [SERIAL]                who is connected
//	auerproxy kick SERIAL                      close an endpoint's sessions
//	auerproxy drain                            empty the relay without failed calls
//	auerproxy trace SERIAL                     time each hop to a device
//	auerproxy connect SERIAL SERVICE           bridge stdin/stdout or a local port
//	auerproxy logs raw|stats                   read the access log
//	auerproxy config check|print|example
package main

import (
	"context"
	"os"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
)

func main() {
	app := cli.New(cli.Program{
		Name:      "auerproxy",
		Short:     "Relay between devices and their callers",
		NewConfig: func() any { c := defaultConfig(); return &c },
	})
	app.AddCommand(
		serveCommand(app), daemon.LogsCommand(app, func() (daemon.Config, error) {
			cfg := defaultConfig()
			err := app.Load(&cfg)
			return cfg.Config, err
		}),
		statusCommand(app), sessionsCommand(app), kickCommand(app), drainCommand(app),
		traceCommand(app), connectCommand(app), proxyCommand(app), errorsCommand(app),
	)
	os.Exit(cli.Main(context.Background(), app.Command))
}
