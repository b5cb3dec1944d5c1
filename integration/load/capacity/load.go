package capacity

// Cost is what a fleet, or its part on one relay, uses in the steady state.
type Cost struct {
	Tunnels float64 `json:"tunnels"`
	// Memory is resident memory, in bytes, the relays' own included.
	Memory float64 `json:"memory_bytes"`
	// Cores of the measured machine, by what keeps them busy.
	Idle  float64 `json:"cores_heartbeat"`
	Calls float64 `json:"cores_calls"`
	Bulk  float64 `json:"cores_bulk"`

	PacketsIn  float64 `json:"packets_in_per_second"`
	PacketsOut float64 `json:"packets_out_per_second"`
	BitsIn     float64 `json:"bits_in_per_second"`
	BitsOut    float64 `json:"bits_out_per_second"`

	UDPSockets float64 `json:"udp_sockets"`
	TCPSockets float64 `json:"tcp_sockets"`
	// Conntrack are the entries that a firewall with connection tracking needs.
	Conntrack float64 `json:"conntrack_entries"`
}

// Cores is all that is busy.
func (c Cost) Cores() float64 { return c.Idle + c.Calls + c.Bulk }

// Cost gives what the demand uses in all, on a number of relays. It grows in
// proportion to each part of the demand.
func (c Constants) Cost(d Demand, relays float64) Cost {
	sum := Cost{
		Tunnels:    d.Tunnels(),
		Memory:     relays * c.Base.Value,
		TCPSockets: relays * float64(d.Callers),
	}
	if d.QUIC > 0 {
		sum.UDPSockets = relays
	}
	for _, t := range c.shares(d.QUIC) {
		tunnels := d.Tunnels() * t.share
		beats := tunnels / d.Heartbeat.Seconds()
		calls := d.Calls * t.share
		gb := d.BulkBytes / 1e9 * t.share
		if !t.quic {
			sum.TCPSockets += tunnels
		}
		sum.Memory += tunnels*(t.Memory.Value+t.Garbage.Value) + float64(d.Streams)*t.share*t.StreamMemory.Value
		sum.Idle += beats * t.Heartbeat.CPU.Value
		sum.Calls += calls * (d.FirstCalls*t.FirstCall.CPU.Value + (1-d.FirstCalls)*t.Call.CPU.Value)
		sum.Bulk += gb * t.Bulk.CPU.Value
		sum.wire(t.Heartbeat, beats)
		sum.wire(t.FirstCall, calls*d.FirstCalls)
		sum.wire(t.Call, calls*(1-d.FirstCalls))
		sum.PacketsIn += gb * t.Bulk.Packets.Value
		sum.PacketsOut += gb * t.Bulk.Packets.Value
		sum.BitsIn += 8 * gb * t.Bulk.Bytes.Value
		sum.BitsOut += 8 * gb * t.Bulk.Bytes.Value
	}
	sum.Conntrack = sum.Tunnels + relays*float64(d.Callers)
	return sum
}

// wire adds the packets of events per second.
func (c *Cost) wire(e Event, rate float64) {
	c.PacketsIn += rate * e.PacketsIn.Value
	c.PacketsOut += rate * e.PacketsOut.Value
	c.BitsIn += 8 * rate * e.BytesIn.Value
	c.BitsOut += 8 * rate * e.BytesOut.Value
}

// share is a transport and its part of the tunnels.
type share struct {
	Transport
	share float64
	quic  bool
}

func (c Constants) shares(quic float64) []share {
	return []share{{c.QUIC, quic, true}, {c.TCP, 1 - quic, false}}
}

// mean is the mean of a constant over the tunnels.
func (c Constants) mean(quic float64, of func(Transport) Constant) float64 {
	var sum float64
	for _, t := range c.shares(quic) {
		sum += t.share * of(t.Transport).Value
	}
	return sum
}
