package registry

import (
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// A clock that goes back makes no epoch smaller, neither over a live route nor
// over a released one.
func TestClockGoesBack(t *testing.T) {
	t.Parallel()
	l := NewLocal()
	now := time.UnixMilli(1_000_000)
	l.now = func() time.Time { return now }
	k := Key{identity.Device("comtrexx.test", "0000000001"), "0"}
	claim := func(want uint64) {
		t.Helper()
		if got, _, err := l.Claim(t.Context(), k, Route{}); err != nil || got != want {
			t.Fatalf("epoch %d, %v; want %d", got, err, want)
		}
	}
	claim(1_000_000)
	now = now.Add(-time.Hour)
	claim(1_000_001)
	if ok, _ := l.Release(t.Context(), k, 1_000_001); !ok {
		t.Fatal("not released")
	}
	claim(1_000_002)
	now = time.UnixMilli(2_000_000)
	claim(2_000_000)
}
