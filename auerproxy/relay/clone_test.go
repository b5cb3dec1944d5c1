package relay

import (
	"fmt"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func TestCloneWatchQuarantinesAlternatingHolders(t *testing.T) {
	t.Parallel()
	var w cloneWatch
	id, now := identity.Device(td, "0123456789"), time.Unix(1_800_000_000, 0)
	holders := []string{"boot-a", "boot-b"}
	var hold time.Duration
	takeovers := 0
	for hold == 0 && takeovers < 20 {
		now = now.Add(time.Second)
		hold = w.takeover(now, id, holders[takeovers%2], holders[(takeovers+1)%2])
		takeovers++
	}
	// The first takeover shows b, the second brings a back: three returns are the
	// second to fourth.
	if takeovers != 4 || hold != holdDownMin {
		t.Fatalf("quarantined for %s after %d takeovers, want %s after 4", hold, takeovers, holdDownMin)
	}
	if left := w.takeover(now.Add(10*time.Second), id, "boot-a", "boot-b"); left != holdDownMin-10*time.Second {
		t.Errorf("%s left in the hold-down, want %s", left, holdDownMin-10*time.Second)
	}
	// Afterwards it is let in again, and the next hold-down is twice as long.
	now = now.Add(holdDownMin + time.Second)
	hold, takeovers = 0, 0
	for hold == 0 && takeovers < 20 {
		now = now.Add(time.Second)
		hold = w.takeover(now, id, holders[takeovers%2], holders[(takeovers+1)%2])
		takeovers++
	}
	if hold != 2*holdDownMin {
		t.Errorf("second hold-down is %s, want %s", hold, 2*holdDownMin)
	}
}

func TestCloneWatchLetsCrashLoopsPass(t *testing.T) {
	t.Parallel()
	var w cloneWatch
	id, now := identity.Device(td, "0123456789"), time.Unix(1_800_000_000, 0)
	for i := range 600 {
		now = now.Add(100 * time.Millisecond)
		if left := w.takeover(now, id, fmt.Sprint("boot-", i), fmt.Sprint("boot-", i+1)); left != 0 {
			t.Fatalf("restart %d: quarantined for %s", i, left)
		}
	}
	if n := len(w.ids[id].replaced); n > replacedMax {
		t.Errorf("%d boot ids remembered, at most %d wanted", n, replacedMax)
	}
	// The same program that reconnects keeps its boot id.
	for range 100 {
		if left := w.takeover(now, id, "boot-z", "boot-z"); left != 0 {
			t.Fatalf("a reconnect was quarantined for %s", left)
		}
	}
}
