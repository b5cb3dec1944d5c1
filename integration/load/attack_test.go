package load

import (
	"context"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// TestAttacks shows that every attack reaches the relay, ends with its context and
// leaves nothing behind; TestMain looks for goroutines.
func TestAttacks(t *testing.T) {
	t.Parallel()
	for _, a := range Attacks() {
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			creds, err := w.certs.Credentials(identity.Device(td, AttackerSerial))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			done, err := a.Run(ctx, w.addr, creds)
			if err != nil || done == 0 {
				t.Errorf("%d things done, %v", done, err)
			}
		})
	}
	if _, err := FindAttack("siege"); err == nil {
		t.Error("an attack that there is not")
	}
}
