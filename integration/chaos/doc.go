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
//	FRPS=… FRPC=… CHISEL=… make bench-link
//
// measures a download on one connection (Mbit/s), with requests of 64 bytes on four
// others beside it (loaded-p50-ms, loaded-p99-ms), and then such requests on 32
// connections at once (p50-ms, p99-ms), over links of 20, 50 and 200 ms round trip and
// 0, 1 and 5 % loss each way, at 200 Mbit/s with a queue of 100 ms. See TestLink. The
// line has its delay and its rate before anybody connects, since congestion control
// remembers the shortest round trip, and its loss after that. A peer whose variable
// is not set is a row "not installed". CONGESTION is the congestion control of TCP in the kernel
// (default cubic, which is Linux's own default); QUIC's is that of quic-go, NewReno.
package chaos
