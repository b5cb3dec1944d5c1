package capacity

import (
	"errors"
	"fmt"
	"io"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
)

// Line is one comparison of a prediction with a measurement.
type Line struct {
	What      string  `json:"what"`
	Unit      string  `json:"unit"`
	Predicted float64 `json:"predicted"`
	Measured  float64 `json:"measured"`
	// Ratio is Measured divided by Predicted; 0 where nothing was predicted.
	Ratio float64 `json:"ratio"`
	// Within says whether the ratio is at most the factor, and at least its inverse.
	Within bool `json:"within"`
}

// Check are the lines of a comparison.
type Check struct {
	// Measured says on which machine the constants were measured, and when.
	Measured string  `json:"constants_machine"`
	Date     string  `json:"constants_date"`
	Factor   float64 `json:"factor"`
	Lines    []Line  `json:"lines"`
}

// ErrFactor: the factor of a check is below 1.
var ErrFactor = errors.New("the factor has to be at least 1")

// NewCheck makes a check without lines.
func NewCheck(c Constants, factor float64) (*Check, error) {
	if !(factor >= 1) {
		return nil, fmt.Errorf("%w, not %v", ErrFactor, factor)
	}
	return &Check{Measured: c.Machine, Date: c.Date, Factor: factor}, nil
}

// Add compares. Nothing predicted and nothing measured agree.
func (c *Check) Add(what, unit string, predicted, measured float64) {
	l := Line{What: what, Unit: unit, Predicted: predicted, Measured: measured}
	if predicted > 0 {
		l.Ratio = measured / predicted
		l.Within = l.Ratio <= c.Factor && l.Ratio >= 1/c.Factor
	} else {
		l.Within = measured == 0
	}
	c.Lines = append(c.Lines, l)
}

// Off gives the lines beyond the factor.
func (c *Check) Off() []Line {
	var list []Line
	for _, l := range c.Lines {
		if !l.Within {
			list = append(list, l)
		}
	}
	return list
}

// Write prints the check for people.
func (c *Check) Write(w io.Writer) error {
	p := &printer{w: w}
	p.line("constants of %s, %s; a ratio may be up to %s or down to %s", c.Measured, c.Date, short(c.Factor), short(1/c.Factor))
	t := &cli.Table{Header: []string{"WHAT", "UNIT", "PREDICTED", "MEASURED", "RATIO", ""}}
	for _, l := range c.Lines {
		verdict := "ok"
		if !l.Within {
			verdict = "OFF"
		}
		t.Add(l.What, l.Unit, short(l.Predicted), short(l.Measured), fmt.Sprintf("%.2f", l.Ratio), verdict)
	}
	p.table(t)
	return p.err
}

// Compare adds the lines of one fleet on one relay: what it costs to be idle, and
// what single events cost. Demand.Calls and BulkBytes are not looked at.
func (c *Check) Compare(k Constants, d Demand, m Measured) {
	d.Calls, d.BulkBytes = 0, 0
	idle := k.Cost(d, 1)
	garbage := d.Tunnels() * k.mean(d.QUIC, func(t Transport) Constant { return t.Garbage })
	c.Add("memory, idle", "MiB", (idle.Memory-garbage)/(1<<20), m.Memory/(1<<20))
	c.Add("memory, just connected", "MiB", idle.Memory/(1<<20), m.Loaded/(1<<20))
	c.Add("CPU, heartbeats", "ms/s", 1e3*idle.Idle, 1e3*m.Idle.CPU/m.Idle.Seconds)
	perSecond := func(n uint64) float64 { return float64(n) / m.Idle.Seconds }
	c.Add("packets in, idle", "/s", idle.PacketsIn, perSecond(m.Idle.Traffic.PacketsOut))
	c.Add("packets out, idle", "/s", idle.PacketsOut, perSecond(m.Idle.Traffic.PacketsIn))
	c.Add("bits in, idle", "bit/s", idle.BitsIn, 8*perSecond(m.Idle.Traffic.BytesOut))
	c.Add("bits out, idle", "bit/s", idle.BitsOut, 8*perSecond(m.Idle.Traffic.BytesIn))
	mean := func(of func(Transport) Constant) float64 { return k.mean(d.QUIC, of) }
	c.Add("CPU of a handshake", "ms", 1e3*mean(func(t Transport) Constant { return t.Handshake.CPU }), 1e3*m.Handshakes.CPU/m.Handshakes.Count)
	c.Add("packets in of a handshake", "", mean(func(t Transport) Constant { return t.Handshake.PacketsIn }),
		float64(m.Handshakes.Traffic.PacketsOut)/m.Handshakes.Count)
	c.Add("memory of a kept stream", "KiB", mean(func(t Transport) Constant { return t.StreamMemory })/(1<<10), m.StreamMemory/max(1, m.Streams)/(1<<10))
	c.Add("CPU of a first call", "ms", 1e3*mean(func(t Transport) Constant { return t.FirstCall.CPU }), 1e3*m.PerEvent(m.FirstCalls))
	c.Add("CPU of a call", "ms", 1e3*mean(func(t Transport) Constant { return t.Call.CPU }), 1e3*m.PerEvent(m.Calls))
	c.Add("CPU of bulk", "s/GB", mean(func(t Transport) Constant { return t.Bulk.CPU }), 1e9*m.PerEvent(m.Bulk))
}
