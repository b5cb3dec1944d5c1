package pbx

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
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
				if wait = g.try(source{name: "a"}); wait > 0 {
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
			if g.try(source{name: "b"}) != 0 || g.try(source{"a", true}) != 0 {
				t.Error("another source waits")
			}
			g.right(source{name: "b"})
			g.right(source{"a", true})
			time.Sleep(want / 2)
		}
		time.Sleep(guardForget)
		if wrong(guardTries) != 0 || wrong(1) != time.Minute {
			t.Error("nothing is forgotten")
		}
	})
}

// TestGuardRight: a right password takes back its own try, and all others only in the
// user's own browser.
func TestGuardRight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			from  source
			tries int // that are left after 4 wrong ones and a right one
		}{{source{name: "net"}, 1}, {source{"browser", true}, guardTries}} {
			var g guard
			for range guardTries - 1 {
				g.try(tt.from)
			}
			if g.try(tt.from) != 0 {
				t.Fatal("waits within the bound")
			}
			g.right(tt.from)
			left := 0
			for g.try(tt.from) == 0 {
				left++
			}
			if left != tt.tries {
				t.Errorf("%+v: %d tries left, want %d", tt.from, left, tt.tries)
			}
		}
		// Many who sign in at once, all with the right password, do no harm.
		var g guard
		net := source{name: "net"}
		for range 3 {
			for range guardTries {
				if g.try(net) != 0 {
					t.Fatal("waits without a wrong password")
				}
			}
			for range guardTries {
				g.right(net)
			}
		}
		if len(g.entries) != 0 {
			t.Errorf("%d entries", len(g.entries))
		}
	})
}

// TestNamesAreNotToldApart: wrong passwords for users that exist and for others count
// the same, in every order.
func TestNamesAreNotToldApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t)
		answers := func(addr string, names ...string) (codes []int) {
			for _, name := range names {
				codes = append(codes, b.ask("POST", "/api/v1/login", "", basic(name, "wrong-password"), func(r *http.Request) { r.RemoteAddr = addr }).Code)
			}
			return codes
		}
		want := answers("192.0.2.1:1", "a", "b", "c", "d", "e", "f", "g")
		if !slices.Equal(want, []int{401, 401, 401, 401, 401, 429, 429}) {
			t.Fatalf("unknown names: %v", want)
		}
		for i, names := range [][]string{
			{"admin", "admin", "admin", "admin", "admin", "admin", "admin"},
			{"a", "b", "c", "d", "e", "admin", "f"},
			{"admin", "admin", "admin", "admin", "admin", "a", "admin"},
			{"a", "admin", "b", "admin", "c", "admin", "d"},
		} {
			if got := answers(fmt.Sprintf("198.51.%d.1:1", i), names...); !slices.Equal(got, want) {
				t.Errorf("%v: %v, want %v", names, got, want)
			}
		}
	})
}

func TestGuardIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g guard
		for i := range 3 * guardEntries {
			g.try(source{name: fmt.Sprint(i)})
			time.Sleep(time.Millisecond)
		}
		if len(g.entries) > guardEntries {
			t.Errorf("%d entries", len(g.entries))
		}
		if g.entries[source{name: fmt.Sprint(3*guardEntries - 1)}] == nil {
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
			*r = *r.WithContext(withCaller(r.Context(), identity.Service(td, "ccc")))
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
