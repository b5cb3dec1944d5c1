package capacity

import (
	"errors"
	"math"
	"time"
)

// Prediction is what [Predict] says.
type Prediction struct {
	Demand  Demand  `json:"demand"`
	Machine Machine `json:"machine"`
	// Measured says on which machine the constants were measured, and when.
	Measured string `json:"constants_machine"`
	Date     string `json:"constants_date"`

	// Needed relays, and all, the spare ones included.
	Needed int `json:"relays_needed"`
	Relays int `json:"relays"`
	// Bounds are what asks for relays, and how many; the largest decides.
	Bounds []Bound `json:"bounds"`
	// Holds is how many of these devices, with their share of calls and bulk, one
	// relay holds, by the tightest bound; 0 where there are no devices.
	Holds int `json:"devices_per_relay"`

	// Fleet is the cost of all; Relay that of one relay when all are up; Worst that
	// of one when the spare ones are gone.
	Fleet Cost `json:"fleet"`
	Relay Cost `json:"per_relay"`
	Worst Cost `json:"per_relay_without_spares"`

	// Set is what the system of each relay has to allow.
	Set Settings `json:"set_at_least"`

	Storm Storm `json:"storm"`

	// Money is per month.
	Money Money `json:"cost_per_month"`
}

// Bound is one reason for a number of relays.
type Bound struct {
	Name string `json:"name"`
	// Relays that it asks for, not rounded.
	Relays float64 `json:"relays"`
}

// Settings are limits of a relay's system that are neither processor nor memory.
type Settings struct {
	// Files are open files (ulimit -n, LimitNOFILE): one per TCP connection.
	Files float64 `json:"open_files"`
	// Conntrack are entries (net.netfilter.nf_conntrack_max), where connections are
	// tracked at all.
	Conntrack float64 `json:"conntrack_entries"`
	// ReceiveBuffer in bytes (net.core.rmem_max); 0 without QUIC.
	ReceiveBuffer float64 `json:"receive_buffer_bytes"`
}

// spareFiles is what a relay opens beside the connections of its peers: listeners,
// records, the admin interface, connections that are not in yet.
const spareFiles = 4096

// Storm is what happens after a relay died that held as many tunnels as
// Prediction.Worst says.
type Storm struct {
	Tunnels float64 `json:"tunnels"`
	// Rate is how many tunnels per second a relay accepts, and LimitedBy what bounds
	// it: "cpu" or "limit" (handshakes per second).
	Rate      float64 `json:"tunnels_per_second"`
	LimitedBy string  `json:"limited_by"`
	// Cores that are busy meanwhile.
	Cores     float64 `json:"cores"`
	PacketsIn float64 `json:"packets_in_per_second"`
	// Restarted is the time until all are back where the relay itself returns at once,
	// Moved where the others take them; 0 where there are none.
	Restarted time.Duration `json:"restarted_ns"`
	Moved     time.Duration `json:"moved_ns"`
	// Buffer is for how long the UDP receive buffer takes the packets of a storm while
	// nobody reads; 0 without QUIC.
	Buffer time.Duration `json:"udp_buffer_ns"`
}

// Money is what the fleet costs in a month.
type Money struct {
	Relays  float64 `json:"relays"`
	Traffic float64 `json:"traffic"`
	// TB are 10^12 bytes that relays send.
	TB        float64 `json:"tb_out"`
	PerDevice float64 `json:"per_device"`
}

// month is a twelfth of a year, in seconds.
const month = 365.25 * 24 * 3600 / 12

// Sum is all of it.
func (m Money) Sum() float64 { return m.Relays + m.Traffic }

// Predict says what the demand needs of such machines. Even without a device there
// is one relay, to which devices could connect.
func Predict(c Constants, d Demand, m Machine) (Prediction, error) {
	if err := errors.Join(c.Validate(), d.Validate(), m.Validate()); err != nil {
		return Prediction{}, err
	}
	room := m.Memory*m.UseMemory - c.Base.Value
	if room <= 0 {
		return Prediction{}, errors.New("machine: the memory that may be used is less than a relay without tunnels takes")
	}
	d.Slots = max(1, d.Slots)
	p := Prediction{Demand: d, Machine: m, Measured: c.Machine, Date: c.Date}
	all := c.Cost(d, 0)
	rate, limitedBy := c.acceptRate(d, m)
	p.Bounds = []Bound{
		{"memory", all.Memory / room},
		{"processors", all.Cores() / (m.Cores * m.Speed * m.UseCPU)},
		{"network", max(all.BitsIn, all.BitsOut) / (m.Link * m.UseLink)},
		{"limit of tunnels", all.Tunnels / m.Tunnels},
		{"time to come back", all.Tunnels / (rate * m.Back.Seconds())},
	}
	var most float64
	for _, b := range p.Bounds {
		most = max(most, b.Relays)
	}
	p.Needed = max(1, int(math.Ceil(most)))
	p.Relays = p.Needed + m.Spare
	if d.Devices > 0 && most > 0 {
		p.Holds = int(float64(d.Devices) / most)
	}
	p.Fleet = c.Cost(d, float64(p.Relays))
	p.Relay = p.Fleet.over(float64(p.Relays))
	p.Worst = c.Cost(d, float64(p.Needed)).over(float64(p.Needed))
	p.Set = Settings{Files: math.Ceil(p.Worst.TCPSockets) + spareFiles, Conntrack: math.Ceil(p.Worst.Conntrack) + spareFiles}
	if d.QUIC > 0 {
		p.Set.ReceiveBuffer = m.UDPBuffer
	}
	p.Storm = c.storm(d, m, p.Worst.Tunnels, rate, p.Relays)
	p.Storm.LimitedBy = limitedBy
	p.Money = Money{Relays: float64(p.Relays) * m.PriceRelay, TB: p.Fleet.BitsOut / 8 * month / 1e12}
	p.Money.Traffic = p.Money.TB * m.PriceTB
	if d.Devices > 0 {
		p.Money.PerDevice = p.Money.Sum() / float64(d.Devices)
	}
	return p, nil
}

// over gives the part of one of n relays.
func (c Cost) over(n float64) Cost {
	for _, f := range []*float64{
		&c.Tunnels, &c.Memory, &c.Idle, &c.Calls, &c.Bulk, &c.PacketsIn, &c.PacketsOut,
		&c.BitsIn, &c.BitsOut, &c.UDPSockets, &c.TCPSockets, &c.Conntrack,
	} {
		*f /= n
	}
	return c
}

// acceptRate is how many tunnels per second one relay accepts. In a storm all cores
// may be busy.
func (c Constants) acceptRate(d Demand, m Machine) (perSecond float64, limitedBy string) {
	cpu := c.mean(d.QUIC, func(t Transport) Constant { return t.Handshake.CPU })
	byCPU := math.Inf(1)
	if cpu > 0 {
		byCPU = m.Cores * m.Speed / cpu
	}
	if byCPU < m.Handshakes {
		return byCPU, "cpu"
	}
	return m.Handshakes, "limit"
}

func (c Constants) storm(d Demand, m Machine, tunnels, rate float64, relays int) Storm {
	s := Storm{Tunnels: tunnels, Rate: rate}
	s.Cores = rate * c.mean(d.QUIC, func(t Transport) Constant { return t.Handshake.CPU })
	s.PacketsIn = rate * c.mean(d.QUIC, func(t Transport) Constant { return t.Handshake.PacketsIn })
	if tunnels == 0 {
		return s
	}
	// A device on QUIC learns of it when its next heartbeat is answered with a
	// stateless reset.
	var notice float64
	if d.QUIC > 0 {
		notice = d.Heartbeat.Seconds()
	}
	after := func(relays float64) time.Duration {
		return time.Duration(max(notice, tunnels/(rate*relays)) * float64(time.Second))
	}
	s.Restarted = after(1)
	if relays > 1 {
		s.Moved = after(float64(relays - 1))
	}
	if packets := rate * d.QUIC * c.QUIC.Handshake.PacketsIn.Value; packets > 0 && c.UDPBuffer.Value > 0 {
		s.Buffer = time.Duration(m.UDPBuffer / c.UDPBuffer.Value / packets * float64(time.Second))
	}
	return s
}
