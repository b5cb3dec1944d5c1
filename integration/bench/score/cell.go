package score

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/work"
)

// NewCell computes the figures of a result. The relay's CPU time is left out where
// there is no relay.
func NewCell(round int, contestant string, w work.Work, r work.Result, relay bool) Cell {
	c := Cell{Round: round, Contestant: contestant, Work: w.String(), Errors: r.Errors, First: r.First, Figures: make(map[Metric]float64)}
	const bitsPerByte, giga = 8, 1e9
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	seconds := r.Elapsed.Seconds()
	switch {
	case seconds <= 0:
	case w.Kind == work.Idle:
		if relay && r.Ops > 0 {
			c.Figures[IdleConn] = float64(r.Memory) / (1 << 10) / float64(r.Ops)
		}
	case w.Kind.Bulk():
		c.Figures[Bits] = float64(r.Bytes) * bitsPerByte / giga / seconds
		if relay && r.Bytes > 0 {
			c.Figures[CPUByte] = r.CPU.Seconds() / (float64(r.Bytes) / giga)
		}
	default:
		c.Figures[Rate] = float64(r.Ops) / seconds
		c.Figures[P50], c.Figures[P99], c.Figures[P999] = us(r.Latency.P50), us(r.Latency.P99), us(r.Latency.P999)
		if relay && r.Ops > 0 {
			c.Figures[CPUOp] = us(r.CPU) / float64(r.Ops)
		}
	}
	return c
}
