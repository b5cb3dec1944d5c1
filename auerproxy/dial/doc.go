// Package dial is the caller's side of the Auerproxy: a service of the data
// centre reaches a device by serial number, and is reached by devices.
//
//	d, err := dial.New(dial.Config{
//		Credentials: creds,                               // of a service, pki/enrol
//		Relays:      []string{"relay1.example.net:7844", "relay2.example.net:7844"},
//	})
//	defer d.Close()
//
//	conn, err := d.DialContext(ctx, "0123456789", "web")  // a net.Conn
//
//	client := &http.Client{Transport: d.Transport()}
//	resp, err := client.Get("https://s0123456789.pbx.comtrexx.test/")
//
//	ln, err := d.Listen("events")                         // calls from devices
//	report := d.Trace(ctx, target, "web")                 // each hop timed
//
// # What a connection is
//
// A [Conn] is end-to-end encrypted and its other side is verified to be exactly
// the device that was asked for; a relay in between sees ciphertext. The first
// call to a service of a device costs a stream through the relay and a TLS
// handshake with the device; the session that this makes is kept, and every
// further call is a stream in it (see package e2e).
//
// # Relays
//
// The dialer holds one session to each relay from its first use on, and makes a
// new one when that ends. A relay that drains is used for new calls only where no
// other reaches the device, and its running calls may finish. A call goes to the
// relay that reached the device last, then to the others; the next one is asked
// only when the answer guarantees that no byte of the call has reached the device
// (tunnel.Retryable).
//
// # Presence
//
// [Dialer.WatchPresence] tells which devices are connected to the relays, and what
// changes, where their policy lets the service know.
//
// # Errors
//
// Every error of an open is a *tunnel.Error. Compare with the Err values of this
// package:
//
//	if errors.Is(err, dial.ErrOffline) { … }
//
// or use tunnel.CodeOf(err).Info() for a text, a hint and an HTTP status.
//
// The package is covered by the compatibility promise in the README.
package dial
