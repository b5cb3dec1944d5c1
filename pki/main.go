// Pki is the certificate authority of the COMtrexx cloud: it issues the
// certificates by which devices, relays and services know each other, renews
// them, and tells relays and services at once who is blocked.
//
//	pki init                              make the keys
//	pki ceremony STEP                     make them in steps, the root's offline
//	pki serve                             run the authority
//	pki token 0123456789                  let a device enrol, once
//	pki issue relay/r1 --out DIR          certificate and key for a relay or service
//	pki list [SERIAL | KIND/NAME]         what was issued
//	pki devices list|show|import|secret   the list of devices
//	pki block SERIAL | KIND/NAME          at once and everywhere
//	pki unblock SERIAL | KIND/NAME
//	pki retire SERIAL                     for good
//	pki blocks                            who is blocked, and why
//	pki bundle                            the roots that everybody trusts, and their rotation
//	pki crl list|save                     revocation lists for third parties
//	pki acme eab ROLE                     let servers of a role open an ACME account, once
//	pki audit show [SERIAL | KIND/NAME]   what was done and what was refused
//	pki audit verify|head|prove           that nothing of it is missing
//	pki expiry                            what expires when
//	pki inspect FILE | DIR                what a certificate says, and what is wrong
//	pki inspect --connect HOST:PORT       what is wrong with a handshake
//	pki export FILE, pki import FILE      backup, restore, another store
//	pki logs raw|stats                    read the access log
//	pki config check|print|example
//
// Init, ceremony, inspect and config work on files, "audit head" and "audit prove" also over the
// network or on a saved proof. The others talk to the running "pki
// serve" over a socket in the state directory that only its owner can open.
package main

import (
	"context"
	"os"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

func main() { os.Exit(cli.Main(context.Background(), newProgram().Command)) }

// program is the command line with what its commands share.
type program struct {
	*cli.App
	state string // --state
}

func newProgram() *program {
	p := &program{}
	p.App = cli.New(cli.Program{
		Name:      "pki",
		Short:     "Certificate authority of the COMtrexx cloud",
		NewConfig: func() any { c := defaultConfig(); return &c },
		Check:     p.check,
	})
	p.PersistentFlags().StringVar(&p.state, "state", "", "state `directory`; short for --set authority.state_dir=DIR")
	p.AddCommand(
		p.initCommand(), p.ceremonyCommand(), p.serveCommand(), p.logsCommand(),
		p.tokenCommand(), p.issueCommand(), p.listCommand(),
		p.blockCommand("block", true), p.blockCommand("unblock", false), p.blocksCommand(), p.bundleCommand(),
		p.devicesCommand(), p.retireCommand(), p.acmeCommand(), p.crlCommand(), p.auditCommand(), p.expiryCommand(), p.inspectCommand(),
		p.exportCommand(), p.importCommand(),
	)
	return p
}
