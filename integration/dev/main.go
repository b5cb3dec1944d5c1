// Dev is the all-in-one command: a PKI, a relay, a control centre, a gateway for remote
// access, three PBXs and a device on this machine, as the real programs, with addresses and commands to try
// printed at the end.
//
//	dev          start everything, run until Ctrl-C
//	dev smoke    start everything on free ports, do what a newcomer would, stop
//
// The programs pki, auerproxy, ccc, ara, pbx and auer-agent are taken from the directory of dev
// itself; "make run" and "make smoke" build them first.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

func main() {
	exe, err := os.Executable()
	if err != nil {
		exe = os.Args[0]
	}
	o := &options{bin: filepath.Dir(exe)}
	app := cli.New(cli.Program{
		Name:  "dev",
		Short: "The whole cloud on this machine: PKI, relay, control centre, gateway, three PBXs",
		Long: "Starts a PKI, a relay, a control centre, a gateway for remote access, three PBXs and a\n" +
			"device as processes of the real programs, all on loopback, and prints addresses and\n" +
			"commands to try. Ends with Ctrl-C. State is kept in --dir, so that the next start finds\n" +
			"everything again.",
	})
	app.PersistentFlags().StringVar(&o.bin, "bin", o.bin, "`directory` with the programs")
	app.PersistentFlags().IntVar(&o.pbxs, "pbxs", 3, "`number` of PBXs")
	app.Flags().StringVar(&o.dir, "dir", "state", "`directory` for all state")
	app.Flags().BoolVar(&o.fresh, "fresh", false, "remove what is in --dir first")
	app.Args = cobra.NoArgs
	app.RunE = func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd.OutOrStdout()) }
	app.AddCommand(&cobra.Command{
		Use:   "smoke",
		Short: "Start everything on free ports, use it as a newcomer would, stop it",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return o.smoke(cmd.Context(), cmd.OutOrStdout()) },
	})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code := cli.Main(ctx, app.Command)
	stop()
	os.Exit(code) //nolint:gocritic // stop has been called
}
