// Package world starts a PKI, relays and devices as one cloud on this machine, for
// tests over the whole and for the all-in-one command.
//
//	w, err := world.Start(ctx, world.Config{Dir: t.TempDir(), Kind: world.InProcess, Relays: 2, DeviceCount: 3})
//	defer w.Close()
//
//	d, err := w.Dialer("ccc")
//	conn, err := d.DialContext(ctx, w.Device(0), "echo")
//	err = w.KillRelay(0)
//
// There are two kinds with one interface. [InProcess] runs everything in goroutines
// of this process: fast, and under the race detector. [Processes] runs the real
// programs pki, auerproxy and auer-agent, ccc, ara and pbx, with the configuration files
// that it writes for them. A test that passes over both shows that the programs put the
// libraries together as the test does.
//
// Everything is real: devices enrol with one-time tokens, services and relays get
// their certificates from the PKI, relays follow its block list. All listeners are
// on loopback, on ports from the kernel.
//
// # What a device offers
//
//	web   an HTTP server; package facts unless [DeviceConfig] brings another. The
//	      caller's identity is passed as headers.
//	echo  sends back what it gets
//	ssh   any TCP server, raw; the echo server unless [DeviceConfig] names one
//
// The local servers run in this process, in both kinds.
//
// # The directory
//
//	roots.pem               trust bundle
//	firmware.pem, .pem.pub  key that signs firmware for the PBXs
//	pki/                    pki.yaml, state/, health.sock
//	relay-1/                auerproxy.yaml, credentials/, state/, admin.sock; eab.json, names/
//	ccc/, ara/              ccc.yaml and ara.yaml, credentials/, admin.sock, eab.json, names/
//	device-<serial>/        auer-agent.yaml, credentials/, instance-id, status.sock
//	services/<name>/        cert.pem, key.pem, roots.pem of a calling service
//
// Each program's folder also has its log and, while it runs, its pid; those of servers
// have their access log, access/. InProcess writes none of these, no yaml file and no instance-id, and logs to [Config].Logger.
// The keys of the PKI are not encrypted: the directory is for state that is thrown
// away.
package world
