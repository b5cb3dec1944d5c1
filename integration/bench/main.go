// Bench compares the tunnels of others with ours on this machine: each is started
// on loopback, driven with the same work in turn, in another order each round, and
// the report gives medians, ranges and ratios paired within a round.
//
//	bench run --out results                  everything, about half an hour
//	bench quick                              the targets, under five minutes; 1 if one is missed
//	bench grow --out growth                  what a tunnel costs in fleets of several sizes
//	bench run --only direct,frp-mux,e2e-tcp --work down8,req32
//
// The peers are the programs frps, frpc, chisel and nginx in PATH, or where FRPS,
// FRPC, CHISEL and NGINX point; one that is missing is a row of the report. Nothing
// is reported when the machine was too noisy, see package score.
//
// All processes share the processors with the load, so that rates measure the CPU
// of the whole chain; the relay's CPU per byte and per request is the better
// measure. Works and their names are in package work, contestants and their
// settings in package peer.
//
// Many tunnels are measured with program sim, where SIM points or beside this
// program, see package fleet.
//
//	bench ca                                 our PKI beside a stock step-ca, see package ca
//	bench gateway                            our gateway beside nginx and Caddy, see package gateway
//	bench pairing, bench office              the control centre under a fleet, and with people at work
//	bench rollout                            the settings of a thousand PBXs, changed in rings
//
// With --out or --keep each run also writes figures, and the text format of Go
// benchmarks. "make bench-compare" compares the last two that were kept; or
//
//	benchstat -col /contestant results/bench.txt
//	benchstat before/bench.txt results/bench.txt
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/gateway"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/peer"
)

func main() {
	app := cli.New(cli.Program{
		Name:  "bench",
		Short: "Compare the programs of others with ours",
	})
	app.Example = "  bench run --out results\n  bench quick"
	app.AddCommand(runCommand(app), quickCommand(app), growCommand(app), caCommand(app), gatewayCommand(app), pairingCommand(app), officeCommand(app), rolloutCommand(app), contestantsCommand(app))
	app.AddCommand(append(peer.Roles(), gateway.Role())...)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, app.Command)
	stop()
	os.Exit(code)
}
