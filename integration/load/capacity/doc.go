// Package capacity predicts on paper what a fleet needs: relays, memory, processor
// time, packets, sockets, time to come back, traffic and money, from constants that
// were measured on one machine.
//
//	c, err := capacity.Default()               // or capacity.Load("constants.yaml")
//	p, err := capacity.Predict(c, capacity.Demand{
//		Devices: 1_000_000, QUIC: 0.5, Heartbeat: 20 * time.Second, Calls: 116, BulkBytes: 10e6,
//	}, capacity.DefaultMachine())
//	err = p.Write(os.Stdout)
//
// # The model
//
// All costs are sums of a rate times a constant; T is the number of tunnels (devices
// times slots), t ranges over the transports, s(t) is the share of the tunnels that
// use it, h is the heartbeat.
//
//	memory      n · base + Σ T·s(t) · (memory(t) + garbage(t)) + kept streams · stream_memory(t)
//	cores       Σ T·s(t)/h · heartbeat.cpu(t)            idle
//	          + Σ calls·s(t) · (first · first_call.cpu(t) + (1-first) · call.cpu(t))
//	          + Σ bulk bytes/1e9 · s(t) · bulk.cpu(t)
//	packets, bits   the same sums with the constants of packets and bytes
//	sockets     one per TCP tunnel and per caller, one UDP socket for all QUIC tunnels
//	conntrack   one entry per tunnel of either kind and per caller
//
// The relays that are needed are the largest of what memory, processors, network,
// the relay's limit of tunnels and the time to come back ask for, each with a share
// that stays free ([Machine]); spare ones come on top (N+1).
//
// When a relay dies, the devices on TCP notice it at once and those on QUIC with
// their next heartbeat, spread over one interval. They are served at the rate
//
//	r = min(handshakes_per_second, cores / Σ s(t) · handshake.cpu(t))
//
// so that all are back after max(h, T/r) where the relay itself returns, and after
// max(h, T/(r·(n-1))) where the n-1 others take them. The devices' back-off after
// refused attempts is not in the model: the worst device may come later.
//
// # The constants
//
// constants.yaml, which is part of the program, says for each constant where it
// comes from. "sim capacity measure" measures them on another machine; "sim capacity
// check" compares a prediction with what the same machine does.
//
// # What it does not know
//
// Processors of another speed ([Machine].Speed), the cost of a real network card and
// its interrupts, and contention on more cores than were measured: one goroutine
// reads the relay's UDP socket.
package capacity
