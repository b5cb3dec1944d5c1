package accesslog

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestSummary counts three days of two networks, one of which is too small to be named,
// and adds them up by the hour and by the day. No address or network is in what it gives.
func TestSummary(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start()
		hour := func(class Class) {
			for i := range 12 {
				w.log.Record(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), class)
			}
			w.log.Record(netip.MustParseAddr("203.0.113.7"), class)
			w.sleep(time.Hour)
		}
		for range 3 {
			hour(OK)
			hour(OK)
			hour(Refused)
			w.sleep(21 * time.Hour)
		}
		ctx := context.Background()
		s, err := w.log.Summarise(ctx, 3, true)
		if err != nil || !s.Kept || s.Service != "test" || s.RawFor != 14*86400 || s.Alarm {
			t.Errorf("%+v, %v", s, err)
		}
		// Today has begun, so that three days are two of those.
		want := []Total{
			{begin.Add(24 * time.Hour), OK, 26, 2},
			{begin.Add(24 * time.Hour), Refused, 13, 1},
			{begin.Add(48 * time.Hour), OK, 26, 2},
			{begin.Add(48 * time.Hour), Refused, 13, 1},
		}
		equalTotals(t, s.Totals, want)
		if len(s.Visitors) != 2 || s.Visitors[0].Visitors != 13 {
			t.Errorf("visitors %+v", s.Visitors)
		}
		if s.Oldest == nil || !s.Oldest.Equal(begin) || !s.From.Equal(begin.Add(24*time.Hour)) {
			t.Errorf("oldest %v, from %v", s.Oldest, s.From)
		}
		if s, err = w.log.Summarise(ctx, 1, false); err != nil || len(s.Totals) != 3-1 {
			t.Errorf("by the hour: %+v, %v", s.Totals, err)
		}
		if s, err = w.log.Summarise(ctx, 100000, false); err != nil || len(s.Totals) != 9 || s.To.Sub(s.From) > MaxHours*24*time.Hour {
			t.Errorf("as many as there may be: %+v, %v", s, err)
		}
		text, err := json.Marshal(s)
		if err != nil || strings.Contains(string(text), "198.51") || strings.Contains(string(text), "203.0") || !strings.Contains(string(text), `"count":13`) {
			t.Errorf("%s, %v", text, err)
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := w.log.Summarise(ended, 3, true); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of the request: %v", err)
		}
		w.end()
	})
}

func equalTotals(t *testing.T, got, want []Total) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for i := range got {
		if g, w := got[i], want[i]; !g.Time.Equal(w.Time) || g.Class != w.Class || g.Count != w.Count || g.Other != w.Other {
			t.Errorf("got %+v, want %+v", g, w)
		}
	}
}

// TestSummaryOfNothing: before the first access, and where no log is kept.
func TestSummaryOfNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start()
		if s, err := w.log.Summarise(context.Background(), 3, true); err != nil || !s.Kept || len(s.Totals) > 0 || s.Oldest != nil {
			t.Errorf("%+v, %v", s, err)
		}
		w.end()
	})
	none, err := New(Config{Service: "test"})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Log{none, nil} {
		if s, err := l.Summarise(context.Background(), 3, true); err != nil || s.Kept || s.Totals == nil {
			t.Errorf("%+v, %v", s, err)
		}
	}
}
