package accesslog

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// request has the log note a request from an address, and gives its reference.
func (w *world) request(from string) (reference string) {
	w.t.Helper()
	h := w.log.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if reference = Reference(r.Context()); Reference(r.Context()) != reference {
			w.t.Error("a second reference is another one")
		}
	}))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = from
	h.ServeHTTP(httptest.NewRecorder(), r)
	return reference
}

// What a reference names is found as long as the log keeps it, and not longer; those of one
// moment are told apart.
func TestReference(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start()
		defer w.end()
		w.log.Record(addr("192.0.2.1"), OK) // of the same moment
		one, two := w.request("198.51.100.7:1"), w.request("[2001:db8::7]:1")
		w.log.Record(addr("192.0.2.2"), OK)
		if one == two || len(one) != 16 {
			t.Fatalf("references %q, %q", one, two)
		}
		find := func(reference string) string {
			t.Helper()
			rec, found, until, err := w.log.Find(reference)
			if err != nil || !until.Equal(begin.Add(MaxRaw)) {
				t.Fatalf("%v, until %v", err, until)
			}
			if !found {
				return "gone"
			}
			return rec.Address.String()
		}
		check := func(when, first, second string) {
			t.Helper()
			if a, b := find(one), find(two); a != first || b != second {
				t.Errorf("%s: %s and %s, want %s and %s", when, a, b, first, second)
			}
		}
		w.sleep(2 * Delay)
		check("at once", "198.51.100.7", "2001:db8::7")
		w.sleep(MaxRaw - time.Hour - 2*Delay)
		check("after 13 days and 23 hours", "198.51.100.7", "2001:db8::7")
		w.sleep(time.Hour)
		check("after 14 days", "gone", "gone")
		for _, wrong := range []string{"", "x", "12", "-123456789012345", "12345678901234567"} {
			if _, found, _, err := w.log.Find(wrong); err == nil || found {
				t.Errorf("%q: found %v, %v", wrong, found, err)
			}
		}
		if got := w.request("a unix socket"); got != "" {
			t.Errorf("of no address: %q", got)
		}
	})
	if got := Reference(t.Context()); got != "" {
		t.Errorf("of no request: %q", got)
	}
	if _, found, _, err := (*Log)(nil).Find("1234567890123456"); found || err != nil {
		t.Errorf("without a log: %v, %v", found, err)
	}
}

// A segment that an older program began is read, and gone on with in its unit.
func TestOldSegment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.start()
		w.log.Record(addr("192.0.2.1"), OK)
		w.end()
		// As the older program had it: another header, and the same access in milliseconds.
		keys, _, err := readState(filepath.Join(w.dir, stateName))
		if err != nil || len(keys) != 1 {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		k := keys[0]
		path := filepath.Join(w.dir, segmentName(k))
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		s, err := openSegment(w.dir, k, "test")
		if err != nil {
			t.Fatal(err)
		}
		s.header, s.unit = segmentHeader(magicMillis, k, "test"), time.Millisecond
		if _, err := s.f.WriteAt(s.header, 0); err != nil {
			t.Fatal(err)
		}
		at := begin.Add(90 * time.Second)
		if err := s.append([]entry{{at: at.UnixNano(), addr: addr("192.0.2.9").As16(), class: OK}}); err != nil {
			t.Fatal(err)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		w.sleep(2 * time.Minute)
		w.start()
		w.log.Record(addr("192.0.2.2"), OK)
		w.sleep(2 * Delay)
		w.end()
		all := w.records()
		if len(all) != 2 || all[0].Address != addr("192.0.2.9") || !all[0].Time.Equal(at) || all[1].Address != addr("192.0.2.2") || all[1].Time.Sub(at) > time.Minute {
			t.Errorf("records %v", all)
		}
	})
}
