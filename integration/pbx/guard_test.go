package pbx

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func TestGuardWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g guard
		wrong := func(n int) (wait time.Duration) {
			for range n {
				if wait = g.try("a", "admin"); wait > 0 {
					return wait
				}
			}
			return 0
		}
		for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
			if wait := wrong(guardTries); wait != 0 {
				t.Fatalf("wait of %v within the bound", wait)
			}
			if wait := wrong(1); wait != want {
				t.Errorf("wait %v, want %v", wait, want)
			}
			time.Sleep(want / 2)
			if wait := wrong(1); wait != want/2 {
				t.Errorf("a try while waiting makes it %v", wait)
			}
			if g.try("b", "admin") != 0 || g.try("a", "erika") != 0 {
				t.Error("another source or user waits")
			}
			g.right("b", "admin")
			g.right("a", "erika")
			time.Sleep(want / 2)
		}
		time.Sleep(guardForget)
		if wrong(guardTries) != 0 || wrong(1) != time.Minute {
			t.Error("nothing is forgotten")
		}
		time.Sleep(time.Minute)
		g.right("a", "admin")
		if wrong(guardTries) != 0 {
			t.Error("a right password does not help")
		}
	})
}

func TestGuardIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g guard
		for i := range 3 * guardEntries {
			g.try(source(fmt.Sprint(i)), "admin")
			time.Sleep(time.Millisecond)
		}
		if len(g.entries) > guardEntries {
			t.Errorf("%d entries", len(g.entries))
		}
		if g.entries[guardKey{source(fmt.Sprint(3*guardEntries - 1)), "admin"}] == nil {
			t.Error("the newest is gone")
		}
	})
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"192.0.2.77:1234": "192.0.2.0/24", "[2001:db8:1:2::3]:80": "2001:db8:1::/48", "[::ffff:192.0.2.9]:1": "192.0.2.0/24",
		"[fe80::1%eth0]:1": "fe80::/48", "x": "", "": "",
	} {
		if got := network(addr); got != want {
			t.Errorf("%q: %q, want %q", addr, got, want)
		}
	}
}

// TestAttackerDoesNotLockOut: whoever guesses elsewhere, in the same network or through
// the tunnel, the administrator signs in where he has signed in before.
func TestAttackerDoesNotLockOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		from := func(addr string) func(*http.Request) {
			return func(r *http.Request) { r.RemoteAddr = addr }
		}
		login := func(pass string, change ...func(*http.Request)) *httptest.ResponseRecorder {
			return b.ask("POST", "/api/v1/login", "", append(change, basic("admin", pass))...)
		}
		w := login(first, from("192.0.2.5:1000"))
		if w.Code != http.StatusOK {
			t.Fatal(w.Code)
		}
		known := cookies(w)
		tunnel := func(r *http.Request) {
			*r = *r.WithContext(WithCaller(r.Context(), identity.Service(td, "ccc")))
		}
		for range 20 {
			login("wrong-password", from("192.0.2.200:1000"))
			login("wrong-password", tunnel)
		}
		w = login(first, from("192.0.2.200:1000"))
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
			t.Errorf("the attacker is not stopped: %d", w.Code)
		}
		if w := login(first, tunnel); w.Code != http.StatusTooManyRequests {
			t.Errorf("through the tunnel: %d", w.Code)
		}
		if w := login(first, from("192.0.2.5:2000")); w.Code != http.StatusTooManyRequests {
			t.Errorf("an unknown browser in the attacker's network: %d", w.Code)
		}
		if w := login(first, from("192.0.2.5:2000"), known); w.Code != http.StatusOK {
			t.Errorf("a known browser in the attacker's network: %d", w.Code)
		}
		if w := login(first, from("198.51.100.1:1")); w.Code != http.StatusOK {
			t.Errorf("another network: %d", w.Code)
		}
		// A known browser has a bound of its own, and its mark is of one user only.
		for range guardTries {
			login("wrong-password", from("198.51.100.1:1"), known)
		}
		if w := login(first, from("198.51.100.1:1"), known); w.Code != http.StatusTooManyRequests {
			t.Errorf("a known browser guesses without end: %d", w.Code)
		}
		forged := func(r *http.Request) { r.AddCookie(&http.Cookie{Name: b.deviceCookie(), Value: "AAAA.BBBB"}) }
		if w := login(first, from("192.0.2.5:2000"), forged); w.Code != http.StatusTooManyRequests {
			t.Errorf("a forged mark: %d", w.Code)
		}
	})
}
