package calls

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"
)

var since = time.Date(2026, 1, 1, 9, 30, 0, 0, time.UTC)

func generator() Generator { return New(Config{Seed: 7, Since: since, PerDay: 40}) }

var now = time.Date(2026, 1, 11, 13, 0, 0, 0, time.UTC)

func TestSameSeedSameCalls(t *testing.T) {
	t.Parallel()
	a, n := generator().Page(now, Query{Limit: 1000})
	b, m := generator().Page(now, Query{Limit: 1000})
	if n != m || !reflect.DeepEqual(a, b) {
		t.Error("the same seed gives other calls")
	}
	other := New(Config{Seed: 8, Since: since, PerDay: 40})
	if c, _ := other.Page(now, Query{Limit: 1000}); reflect.DeepEqual(a, c) {
		t.Error("another seed gives the same calls")
	}
	if n <= 400 || n >= 440 || len(a) != n {
		t.Errorf("%d calls in ten and a half days", n)
	}
}

// TestPages: pages are parts of the whole, the newest first.
func TestPages(t *testing.T) {
	t.Parallel()
	for _, user := range []int{0, 3} {
		all, total := generator().Page(now, Query{UserID: user, Limit: 1000})
		if !slices.IsSortedFunc(all, func(a, b Record) int { return b.StartDate.Compare(a.StartDate) }) {
			t.Error("not the newest first")
		}
		for _, size := range []int{1, 7, 40, 41} {
			var got []Record
			for offset := 0; offset < total+size; offset += size {
				page, n := generator().Page(now, Query{UserID: user, Offset: offset, Limit: size})
				if n != total || len(page) > size {
					t.Fatalf("page of %d at %d: %d of %d", size, offset, len(page), n)
				}
				got = append(got, page...)
			}
			if !reflect.DeepEqual(got, all) {
				t.Errorf("user %d: pages of %d give other calls", user, size)
			}
		}
		for _, r := range all {
			if user != 0 && r.UserNumber != Subscribers[user-1].Number {
				t.Errorf("of user %d: %+v", user, r)
			}
			if r.StartDate.Add(time.Duration(r.Length) * time.Second).After(now) {
				t.Errorf("not over: %+v", r)
			}
			if r.CallDataID == 0 {
				t.Errorf("no id: %+v", r)
			}
		}
	}
}

// TestPastDoesNotChange: what was there stays, and new calls come before it.
func TestPastDoesNotChange(t *testing.T) {
	t.Parallel()
	before, _ := generator().Page(now, Query{Limit: 1000})
	after, _ := generator().Page(now.Add(30*time.Hour), Query{Limit: 1000})
	seen := make(map[int64]Record)
	for _, r := range after {
		seen[r.CallDataID] = r
	}
	for _, r := range before {
		if seen[r.CallDataID] != r {
			t.Fatalf("%+v became %+v", r, seen[r.CallDataID])
		}
	}
	if len(after) <= len(before) || len(seen) != len(after) {
		t.Errorf("%d calls became %d with %d ids", len(before), len(after), len(seen))
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	all, _ := generator().Page(now, Query{Limit: 1000})
	kinds := make(map[string]int)
	for _, r := range all {
		kinds[r.Direction]++
		kinds[r.CallType]++
		if r.Success {
			kinds["success"]++
		} else if r.Length != 0 || r.Cost != 0 {
			t.Errorf("nobody answered: %+v", r)
		}
	}
	for _, k := range []string{"Incoming", "Outgoing", "Normal", "CfIntern", "Voicemailbox", "success"} {
		if kinds[k] == 0 {
			t.Errorf("no call is %s: %v", k, kinds)
		}
	}
}

func TestZeroIDAndNone(t *testing.T) {
	t.Parallel()
	g := New(Config{Seed: 7, Since: since, PerDay: 40, ZeroID: true})
	page, _ := g.Page(now, Query{Limit: 1000})
	for _, r := range page {
		if r.CallDataID != 0 {
			t.Fatalf("id %d", r.CallDataID)
		}
	}
	for _, g := range []Generator{New(Config{Since: since}), New(Config{Since: now.Add(48 * time.Hour), PerDay: 5})} {
		page, total := g.Page(now, Query{Limit: 10})
		if text, err := json.Marshal(page); total != 0 || string(text) != "[]" || err != nil {
			t.Errorf("%d, %s, %v", total, text, err)
		}
	}
}
