package work_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"down1", "up64", "req256", "open32", "idle300"} {
		w, err := work.Parse(name)
		if err != nil || w.String() != name {
			t.Errorf("Parse(%q) = %v, %v", name, w, err)
		}
	}
	for _, name := range []string{"", "down", "down0", "down-1", "req01", "ping1", "req99999", "req1 "} {
		if w, err := work.Parse(name); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", name, w)
		}
	}
}

func target(t *testing.T) *work.Target {
	t.Helper()
	tgt, err := work.NewTarget("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tgt.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return tgt
}

func TestWorks(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"down2", "up2", "req3", "open3", "idle3"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, err := work.Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			tgt := target(t)
			r, err := work.Run(t.Context(), work.Plan{Work: w, Entry: tgt.Addr(), Target: tgt, Duration: 50 * time.Millisecond})
			if err != nil || r.Errors != 0 {
				t.Fatalf("%v; %d errors: %s", err, r.Errors, r.First)
			}
			if w.Kind.Bulk() != (r.Bytes > 0) || w.Kind.Bulk() == (r.Ops > 0) {
				t.Errorf("%d bytes and %d operations", r.Bytes, r.Ops)
			}
			if (w.Kind == work.Request || w.Kind == work.Open) && r.Latency.Count != r.Ops {
				t.Errorf("%d latencies of %d operations", r.Latency.Count, r.Ops)
			}
		})
	}
}

// An entry that refuses is an error, and never a figure.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	tgt := target(t)
	gone, err := work.NewTarget("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := gone.Run(ctx); err != nil { // closes the port
		t.Fatal(err)
	}
	plan := work.Plan{Entry: gone.Addr(), Target: tgt, Duration: 20 * time.Millisecond}
	plan.Work = work.Work{Kind: work.Request, Conns: 1}
	if r, err := work.Run(t.Context(), plan); err == nil {
		t.Errorf("requests: %+v", r)
	}
	plan.Work.Kind = work.Open
	if r, err := work.Run(t.Context(), plan); err != nil || r.Errors == 0 || r.Ops != 0 {
		t.Errorf("opens: %+v, %v", r, err)
	}
}
