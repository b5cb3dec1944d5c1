// Sim is the fleet simulator: ten thousand PBXs and more in one process, each with
// a certificate of its own, against a relay in another, with load and failures.
//
//	sim run                                   10,000 devices over QUIC against a relay of its own
//	sim run --devices 1000 --transport mix --load closed:users=32 --kill
//	sim run --devices 100 --transport mix --targets 20 --load open:rate=100 --duration 10s --attack all
//	sim run --devices 10000 --bystanders 50   all reconnect at once; the calls of 50 others meanwhile
//	sim certs --devices 1000 --out certs      certificates for a relay elsewhere, and for
//	sim run --relay relay.example.net:7844 --ca certs --devices 1000
//	sim pbx --pair 200 --hostile 0.01         5,000 PBXs with state and calls against a whole cloud:
//	                                          paired, attacked, without power; see sim pbx --help
//	sim capacity --devices 1000000            what a fleet needs, on paper; see sim capacity --help
//
// The report says how fast the fleet connects, how long calls take, what a tunnel
// costs the relay in memory and CPU, and how the fleet comes back after a kill -9.
// The exit code is 1 where a device did not connect or a call failed.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

func main() {
	app := cli.New(cli.Program{
		Name:  "sim",
		Short: "Simulate a fleet of devices and measure a relay",
	})
	app.Example = "  sim run\n" +
		"  sim pbx --pair 200 --hostile 0.01 --churn 5\n" +
		"  sim run --devices 1000 --transport tcp --load open:rate=200 --duration 30s --kill"
	app.AddCommand(runCommand(app), pbxCommand(app), certsCommand(), capacityCommand(app), relayCommand(), attackerCommand(), bystandersCommand())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, app.Command)
	stop()
	os.Exit(code)
}
