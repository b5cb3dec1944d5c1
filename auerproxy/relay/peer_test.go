package relay_test

import (
	"slices"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
)

// answerProbes answers the relay's probes on a control stream until the session
// ends.
func answerProbes(t *testing.T, c *tunnel.Control) {
	t.Helper()
	go func() {
		for {
			f, err := c.Receive()
			if err != nil {
				return
			}
			if p := f.GetProbe(); p != nil {
				if c.Send(&tunnel.Frame{Frame: &tunnelpb.Control_ProbeAck{ProbeAck: &tunnelpb.ProbeAck{Nonce: p.GetNonce()}}}) != nil {
					return
				}
			}
		}
	}()
}

// counter sums a counter over its labels, or over those series that have the
// given label values.
func counter(t testing.TB, w *world, name string, values ...string) float64 {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				have := make(map[string]bool)
				for _, l := range m.GetLabel() {
					have[l.GetValue()] = true
				}
				if !slices.ContainsFunc(values, func(v string) bool { return !have[v] }) {
					sum += m.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}
