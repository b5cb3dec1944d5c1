package ratelimit

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestNetwork(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.1:1":              "192.0.2.1/32",
		"[::ffff:192.0.2.1]:4":     "192.0.2.1/32",
		"[2001:db8::ffff:3]:1":     "2001:db8::/64",
		"[2001:db8:0:1::1%eth0]:1": "2001:db8:0:1::/64",
	} {
		if got, ok := Network(remote); !ok || got.String() != want {
			t.Errorf("%s: %s, %v, want %s", remote, got, ok, want)
		}
	}
	if got, ok := Network("nonsense"); ok {
		t.Errorf("nonsense is %s", got)
	}
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New[string](2, time.Minute)
		for i, want := range []bool{true, true, false} {
			if got := l.Allow("a"); got != want {
				t.Errorf("a, time %d: %v, want %v", i+1, got, want)
			}
		}
		if !l.Allow("b") {
			t.Error("b pays for a")
		}
		time.Sleep(30 * time.Second)
		if !l.Allow("a") || l.Allow("a") {
			t.Error("the allowance does not come back at two a minute")
		}
		time.Sleep(time.Hour)
		l.Forget()
		if len(l.seen) != 0 {
			t.Errorf("%d clients are remembered", len(l.seen))
		}
	})
}

// Many clients at once must not use more and more memory.
func TestLimiterIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New[int](1, time.Minute)
		for i := range maxSeen {
			if !l.Allow(i) {
				t.Fatalf("client %d was refused", i)
			}
		}
		if l.Allow(maxSeen) || len(l.seen) != maxSeen {
			t.Errorf("%d clients are remembered", len(l.seen))
		}
		time.Sleep(time.Minute)
		if !l.Allow(maxSeen) {
			t.Error("newcomers are refused for ever")
		}
	})
}

func TestNoLimit(t *testing.T) {
	t.Parallel()
	l := New[string](-1, time.Minute)
	for range 1000 {
		if !l.Allow("a") {
			t.Fatal("limited")
		}
	}
}
