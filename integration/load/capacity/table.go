package capacity

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// Write prints the prediction for people. Numbers are rounded to three digits.
func (p Prediction) Write(w io.Writer) error {
	d, m := p.Demand, p.Machine
	out := &printer{w: w}
	out.line("%d devices of %d tunnel(s), %s over QUIC, heartbeat %s, %s calls/s (%s first), %s bulk, %d kept streams",
		d.Devices, d.Slots, percent(d.QUIC), d.Heartbeat, short(d.Calls), percent(d.FirstCalls), bits(8*d.BulkBytes), d.Streams)
	out.line("relays of %s cores (speed %s) and %s, %s/s each way", short(m.Cores), short(m.Speed), size(m.Memory), bits(m.Link))
	out.line("constants of %s, %s", p.Measured, p.Date)

	out.line("\nRELAYS   %d needed and %d spare; one holds %d of these devices", p.Needed, p.Relays-p.Needed, p.Holds)
	bounds := &cli.Table{Header: []string{"  BOUND", "RELAYS"}}
	for _, b := range p.Bounds {
		bounds.Add("  "+b.Name, short(b.Relays))
	}
	out.table(bounds)

	out.line("\nSTEADY")
	out.table(p.costs())

	out.line("\nSET      on each relay at least: open files %.0f; nf_conntrack_max %.0f, where connections are tracked; net.core.rmem_max %.0f",
		p.Set.Files, p.Set.Conntrack, p.Set.ReceiveBuffer)

	s := p.Storm
	out.line("\nSTORM    a relay with %s tunnels dies; one accepts %s/s (bound by %s), %s cores busy, %s packets/s in",
		short(s.Tunnels), short(s.Rate), s.LimitedBy, short(s.Cores), short(s.PacketsIn))
	t := &cli.Table{Header: []string{"  WHAT", "TIME"}}
	t.Add("  all back at the same relay", took(s.Restarted))
	t.Add("  all back at the others", took(s.Moved))
	t.Add("  UDP receive buffer without a reader", took(s.Buffer))
	out.table(t)

	c := p.Money
	out.line("\nCOST     %.2f a month: %.2f for relays, %.2f for %s TB sent; %.5f for each device",
		c.Sum(), c.Relays, c.Traffic, short(c.TB), c.PerDevice)
	return out.err
}

// costs is the table of the steady state.
func (p Prediction) costs() *cli.Table {
	t := &cli.Table{Header: []string{"  WHAT", "FLEET", fmt.Sprintf("ONE OF %d", p.Relays), fmt.Sprintf("ONE OF %d", p.Needed)}}
	row := func(name string, format func(float64) string, of func(Cost) float64) {
		t.Add("  "+name, format(of(p.Fleet)), format(of(p.Relay)), format(of(p.Worst)))
	}
	row("tunnels", short, func(c Cost) float64 { return c.Tunnels })
	row("memory", size, func(c Cost) float64 { return c.Memory })
	row("cores, heartbeats", short, func(c Cost) float64 { return c.Idle })
	row("cores, calls", short, func(c Cost) float64 { return c.Calls })
	row("cores, bulk", short, func(c Cost) float64 { return c.Bulk })
	row("cores, all", short, Cost.Cores)
	row("packets/s in", short, func(c Cost) float64 { return c.PacketsIn })
	row("packets/s out", short, func(c Cost) float64 { return c.PacketsOut })
	row("bits/s in", bits, func(c Cost) float64 { return c.BitsIn })
	row("bits/s out", bits, func(c Cost) float64 { return c.BitsOut })
	row("UDP sockets", short, func(c Cost) float64 { return c.UDPSockets })
	row("TCP sockets", short, func(c Cost) float64 { return c.TCPSockets })
	row("conntrack entries", short, func(c Cost) float64 { return c.Conntrack })
	return t
}

// printer prints until the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) table(t *cli.Table) {
	if p.err == nil {
		p.err = t.Write(p.w)
	}
}

// short rounds to three digits, with k, M and G for powers of 1000.
func short(v float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e4, "k"}} {
		if v >= u.size {
			if u.size == 1e4 {
				u.size = 1e3
			}
			return strconv.FormatFloat(round(v/u.size), 'f', -1, 64) + u.name
		}
	}
	return strconv.FormatFloat(round(v), 'f', -1, 64)
}

// round rounds to three significant digits, and no further than to a whole number.
func round(v float64) float64 {
	if v >= 1000 {
		v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'f', 0, 64), 64)
		return v
	}
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	return v
}

func bits(v float64) string { return short(v) + "bit" }

func percent(v float64) string { return short(100*v) + " %" }

func size(v float64) string {
	const kib = 1 << 10
	switch {
	case v >= kib*kib*kib:
		return fmt.Sprintf("%.1f GiB", v/(kib*kib*kib))
	case v >= kib*kib:
		return fmt.Sprintf("%.1f MiB", v/(kib*kib))
	default:
		return fmt.Sprintf("%.1f KiB", v/kib)
	}
}

func took(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Millisecond).String()
	}
}
