// Package load makes load for the Auerproxy and measures what comes of it: load
// models, a fleet of simulated devices, latency histograms, and a report.
//
//	fleet, err := load.NewFleet(load.FleetConfig{
//		Devices: 10_000, Relays: []string{"127.0.0.1:7844"}, Certificates: load.FromCA(ca, seed),
//	})
//	go fleet.Run(ctx)
//	err = fleet.WaitOnline(ctx, 10_000)
//
//	caller, err := load.NewCaller(load.CallerConfig{ … })
//	result := load.Run(ctx, load.Plan{Model: model, Duration: time.Minute}, caller.Call)
//
// # Load models
//
// An open model starts calls at times that do not depend on how the system
// answers, as customers do; its latencies are counted from the time at which a
// call should have started, so that a stall shows in all the calls that it held
// up (no coordinated omission). A closed model has a fixed number of users, each
// of whom waits for the answer before the next call. See [ParseModel].
//
// # The fleet
//
// A device is an agent.Agent with a certificate of its own, so that nothing of
// the protocol is imitated. What ten thousand of them need in one process is
// shared: a UDP socket among a thousand devices, a handful of loopback addresses
// as TCP sources, and one local server behind the services of all. Serials,
// instance ids, transports, arrival times and the choice of the called device
// follow from a seed; the agents' back-off does not.
//
// # Measuring a relay
//
// Memory and CPU are those of the relay's process ([ReadUsage], Linux only), which
// therefore has to be another than the fleet's; program sim does that.
package load
