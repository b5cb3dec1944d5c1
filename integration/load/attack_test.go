package load

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// TestAttacks shows that every attack reaches the relay, ends with its context and
// leaves nothing behind; TestMain looks for goroutines. It is not parallel: other
// tests' devices would have to share the processors with the attacks.
func TestAttacks(t *testing.T) {
	for _, a := range Attacks() {
		t.Run(a.Name, func(t *testing.T) {
			w := newWorld(t)
			creds, err := w.certs.Credentials(identity.Device(td, AttackerSerial))
			if err != nil {
				t.Fatal(err)
			}
			var done atomic.Int64
			stop := background(t, func(ctx context.Context) error { return a.Run(ctx, w.addr, creds, &done) })
			limit := time.After(30 * time.Second)
			poll := time.NewTicker(5 * time.Millisecond)
			defer poll.Stop()
			for done.Load() == 0 {
				select {
				case <-poll.C:
				case <-limit:
					t.Fatal("nothing was done")
				}
			}
			stop()
		})
	}
	if _, err := FindAttack("siege"); err == nil {
		t.Error("an attack that there is not")
	}
}
