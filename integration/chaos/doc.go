// Package chaos runs the cloud over bad networks: tests of what must survive, and a
// benchmark of what is left of the speed.
//
//	s := chaos.NewSite(t, chaos.SiteConfig{Link: link.Config{Delay: 25 * time.Millisecond, Loss: 0.01}})
//	conn, err := s.Dialer.DialContext(ctx, chaos.Serial, "echo")
//	err = s.Link.Change(link.AToB, func(c *link.Config) { c.Cut = true })
//
// A [Site] is the usual arrangement: relay and caller in a data centre, the device
// at a customer's, and a link between the two. Package link is the line alone.
// Everything needs Linux and root, and is skipped without.
//
// # The benchmark
//
//	go test -run '^$' -bench Link ./integration/chaos
//
// measures a download on one connection (Mbit/s) and requests of 64 bytes on 32
// connections at once (p50-ms, p99-ms), over links of 20, 50 and 200 ms round trip
// and 0, 1 and 5 % loss each way, at 200 Mbit/s with a queue of 100 ms. The names of
// peers' programs come from FRPS, FRPC and CHISEL; a peer whose variable is not set
// is skipped. CONGESTION is the congestion control of TCP in the kernel (default
// cubic, which is Linux's own default); QUIC's is that of quic-go.
package chaos
