package relay

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

func testRecorder(t *testing.T, cfg Records) *recorder {
	t.Helper()
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	return newRecorder(t.TempDir(), cfg, m, hclog.NewNullLogger())
}

func TestRecordsAreWrittenBeforeStopReturns(t *testing.T) {
	t.Parallel()
	rec := testRecorder(t, Records{Retention: time.Hour, Queue: 8})
	stop, err := rec.start()
	if err != nil {
		t.Fatal(err)
	}
	rec.add(record{Kind: "stream", Target: "device/0123456789", Service: "web", Caller: "service/ccc", Start: time.Now(), ToTarget: 7, Code: tunnel.CodeDraining})
	stop()
	text, err := os.ReadFile(filepath.Join(rec.dir, time.Now().UTC().Format(recordDay)+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(bytes.TrimSpace(text), &got); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	// The schema is closed: a new field needs a look at the privacy promises.
	want := map[string]bool{
		"kind": true, "target": true, "service": true, "caller": true, "start": true, "end": true,
		"to_target": true, "to_caller": true, "code": true, "reason": true, "request": true, "session": true,
	}
	for k := range got {
		if !want[k] {
			t.Errorf("unexpected field %q", k)
		}
	}
	if got["reason"] != "draining" || got["to_target"] != 7.0 {
		t.Errorf("got %v", got)
	}
}

func TestRecordsOlderThanTheRetentionAreDeletedAtTheStart(t *testing.T) {
	t.Parallel()
	rec := testRecorder(t, Records{Retention: 48 * time.Hour, Queue: 8})
	if err := os.MkdirAll(rec.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	day := func(ago int) string {
		return filepath.Join(rec.dir, now.AddDate(0, 0, -ago).UTC().Format(recordDay)+".jsonl")
	}
	for ago := range 6 {
		if err := os.WriteFile(day(ago), []byte("{}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stop, err := rec.start()
	if err != nil {
		t.Fatal(err)
	}
	stop()
	for ago, want := range map[int]bool{0: true, 1: true, 2: true, 4: false, 5: false} {
		if _, err := os.Stat(day(ago)); (err == nil) != want {
			t.Errorf("file of %d days ago: exists %t, want %t", ago, err == nil, want)
		}
	}
}

func TestRecordsAreDroppedAndCountedWhenTheQueueIsFull(t *testing.T) {
	t.Parallel()
	rec := testRecorder(t, Records{Retention: time.Hour, Queue: 2})
	for range 5 { // nobody reads the queue
		rec.add(record{Kind: "stream"})
	}
	if n := len(rec.queue); n != 2 {
		t.Errorf("%d queued, want 2", n)
	}
	if n := testutil.ToFloat64(rec.metrics.drops.WithLabelValues("record")); n != 3 {
		t.Errorf("%v drops counted, want 3", n)
	}
}

func TestRecordsSwitchedOff(t *testing.T) {
	t.Parallel()
	rec := testRecorder(t, Records{Retention: -time.Second, Queue: 2})
	stop, err := rec.start()
	if err != nil {
		t.Fatal(err)
	}
	rec.add(record{Kind: "stream"})
	stop()
	if rec.dir != "" {
		t.Errorf("records go to %q", rec.dir)
	}
}

// TestRecordsAreWrittenWhenTheQueueFills wants nobody to wait for the second.
func TestRecordsAreWrittenWhenTheQueueFills(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rec := testRecorder(t, Records{Retention: time.Hour, Queue: 8})
		stop, err := rec.start()
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		for round := range 10 {
			for range 5 {
				rec.add(record{Kind: "stream"})
			}
			synctest.Wait()
			if n := len(rec.queue); n != 0 {
				t.Fatalf("round %d: %d still queued", round, n)
			}
		}
		if n := testutil.ToFloat64(rec.metrics.drops.WithLabelValues("record")); n != 0 {
			t.Errorf("%v drops", n)
		}
	})
}
