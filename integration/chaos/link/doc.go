// Package link is a network path between two network namespaces, made in user
// space, for tests that need delay, loss or a cut where no netem is to be had.
//
//	l := link.Pair(t, link.Config{Delay: 25 * time.Millisecond, Loss: 0.01, Rate: 100e6})
//	ln, err := l.A.Listen(ctx, "tcp", "10.77.0.1:0")    // in namespace A
//	conn, err := l.B.DialContext(ctx, "tcp", ln.Addr().String())
//	err = l.B.Start(exec.Command("frpc", "-c", file))   // a process in namespace B
//	err = l.B.Do(func() error { return agent.Run(ctx) }) // any code
//	err = l.Change(link.AToB, func(c *link.Config) { c.Cut = true })
//	err = l.B.SetAddr(netip.MustParseAddr("10.77.0.7"))
//
// Each namespace has a loopback interface and a TUN device, 10.77.0.1 in A and
// 10.77.0.2 in B; nothing else of the machine is reachable from there. As the
// namespaces are private, any number of links with the same addresses live side by
// side, and tests with links may be parallel.
//
// # What happens to a packet
//
//	read from A's TUN ─► IPv4? ─► cut? ─► MTU? ─► queue of the rate ─► loss? ─► delay, jitter, reordering ─► written to B's TUN
//
// Both directions are independent of one another and have counters for every drop.
// What is drawn (loss, jitter, reordering) follows from [Config].Seed and the
// number of the packet in its direction.
//
// # Precision and limits
//
// A packet never arrives early. It is late by the precision of Go's timers, about a
// millisecond at worst on a machine with time to spare, so packets of a fast line
// arrive in small bunches. One packet costs a read and a write: two cores carry
// about 2 Gbit/s of TCP including both ends. [Counters].Overrun tells whether the
// link itself was too slow, which spoils a measurement.
//
// Only IPv4 passes. The package needs Linux, root (CAP_NET_ADMIN and
// CAP_SYS_ADMIN) and /dev/net/tun; [Pair] skips the test where one is missing.
package link
