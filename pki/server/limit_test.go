package server

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
)

func TestLimiter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(2)
		for _, c := range []struct {
			remote string
			want   bool
		}{
			{"192.0.2.1:1", true},
			{"192.0.2.1:2", true},
			{"192.0.2.1:3", false},
			{"[::ffff:192.0.2.1]:4", false}, // the same address
			{"192.0.2.2:1", true},
			{"[2001:db8::1]:1", true},
			{"[2001:db8::2]:1", true},
			{"[2001:db8::ffff:3]:1", false}, // the same /64
			{"[2001:db8:0:1::1]:1", true},
			{"nonsense", false},
		} {
			if got := l.allow(c.remote); got != c.want {
				t.Errorf("%s: %v, want %v", c.remote, got, c.want)
			}
		}
		time.Sleep(30 * time.Second)
		if !l.allow("192.0.2.1:5") || l.allow("192.0.2.1:6") {
			t.Error("the allowance does not come back at two a minute")
		}
		time.Sleep(time.Hour)
		l.forget()
		if len(l.seen) != 0 {
			t.Errorf("%d networks are remembered", len(l.seen))
		}
	})
}

// Many networks at once must not use more and more memory.
func TestLimiterIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1)
		for i := range maxSeen {
			if !l.allow(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255)) {
				t.Fatalf("network %d was refused", i)
			}
		}
		if l.allow("192.0.2.1:1") || len(l.seen) != maxSeen {
			t.Errorf("%d networks are remembered", len(l.seen))
		}
		time.Sleep(time.Minute)
		if !l.allow("192.0.2.1:1") {
			t.Error("newcomers are refused for ever")
		}
	})
}

func TestNoLimit(t *testing.T) {
	t.Parallel()
	l := newLimiter(-1)
	for range 1000 {
		if !l.allow("192.0.2.1:1") {
			t.Fatal("limited")
		}
	}
}

func FuzzBody(f *testing.F) {
	f.Add([]byte(`{"token":"AAAA","csr":"-----BEGIN"}`))
	f.Add([]byte(`{"token":1}`))
	f.Add([]byte(`[{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req, err := decode[enrol.Request](r)
		if err != nil && !errors.Is(err, enrol.ErrBadRequest) {
			t.Errorf("error of another kind: %v", err)
		}
		if err != nil {
			return
		}
		if _, err := enrol.ParseRequest([]byte(req.CSR)); err != nil && !errors.Is(err, enrol.ErrBadRequest) {
			t.Errorf("error of another kind: %v", err)
		}
	})
}
