// Package tunneltest holds what tests of the tunnel need: the suite that every
// implementation of tunnel.Session passes, pairs of real sessions over loopback,
// and doubles for the network between them.
//
//	func TestConformance(t *testing.T) {
//		tunneltest.Run(t, func(t *testing.T) (client, server tunnel.Session, stop func()) { … })
//	}
//
//	client, server := tunneltest.Pair(t, tunneltest.Options{Transport: tunnel.QUIC})
//
//	udp := tunneltest.NewUDPProxy(t, relayAddr) // dial udp.Addr() instead
//	udp.Rebind()                                // the NAT forgets, and maps anew
//	udp.Blackhole(true, false)                  // answers get lost from now on
//
//	var rec tunneltest.Recorder
//	session = rec.Session(session)
//	if rec.Contains(canary) { … } // the relay saw the plaintext
//
// Nothing in here sleeps to wait for something, and everything ends with the
// test.
package tunneltest
