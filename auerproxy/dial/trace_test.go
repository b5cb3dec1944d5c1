package dial

import (
	"context"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestTrace(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	r, dev := newRelay("r1"), newDevice(ca, device)
	r.set(device, dev.answer)
	d, _ := newDialer(t, ca, Config{}, r)
	report, err := d.Trace(t.Context(), device.Serial(), "web")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range report.Steps {
		names = append(names, s.Name)
		if s.Took <= 0 || s.Code != tunnel.CodeOK || s.Error != "" || s.At == "" {
			t.Errorf("step %+v", s)
		}
	}
	want := []string{"tcp", "welcome", "open", "end-to-end", "call"}
	if len(names) != len(want) {
		t.Fatalf("steps %v, want %v", names, want)
	}
	for i := range want {
		if names[i] != want[i] {
			t.Fatalf("steps %v, want %v", names, want)
		}
	}
	if h := report.Steps[2].Hops; len(h) != 1 || h[0].At != "relay/fake" {
		t.Errorf("hops of the open: %+v", h)
	}
	if h := report.Steps[4].Hops; len(h) != 1 || h[0].At != "target" {
		t.Errorf("hops of the call: %+v", h)
	}
	if report.Relay != "relay/r1" || report.Transport != tunnel.TCP || report.Total <= 0 {
		t.Errorf("report %+v", report)
	}
}

// A trace that fails tells where, over every relay that was asked.
func TestTraceFails(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	a, b := newRelay("a"), newRelay("b")
	b.set(device, func(_ context.Context, st tunnel.Stream, _ *tunnel.Preamble) {
		tunnel.Refuse(st, &tunnel.Error{Code: tunnel.CodeTryLater})
	})
	d, _ := newDialer(t, ca, Config{}, a, b)
	report, err := d.Trace(t.Context(), device.Serial(), "web")
	wantCode(t, err, tunnel.CodeNotReachable)
	codes := map[tunnel.Code]int{}
	for _, s := range report.Steps {
		codes[s.Code]++
	}
	if codes[tunnel.CodeNotReachable] != 1 || codes[tunnel.CodeTryLater] != 1 || codes[tunnel.CodeOK] != 4 {
		t.Errorf("steps %+v", report.Steps)
	}
	if _, err := d.Trace(t.Context(), "123", "web"); err == nil {
		t.Error("a trace of no serial")
	}
	_ = d.Close()
	_, err = d.Trace(t.Context(), device.Serial(), "web")
	wantCode(t, err, tunnel.CodeShutdown)
}
