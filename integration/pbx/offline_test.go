package pbx

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// TestWorksWithoutCloud: no relay, no control centre.
func TestWorksWithoutCloud(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, func(c *Config) { c.Dial = nil })
		o := b.ccc.offer("offer-1")
		if err := b.ccc.deliver(b.PBX, o); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Enable(ctx, o.Token.Reveal(), ""); !errors.Is(err, ErrPending) {
			t.Errorf("enable: %v", err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if b.State().Phase() != state.PhaseOffered || len(b.users()) != 1 {
			t.Errorf("the token cannot be typed again: %s, %v", b.State().Phase(), b.users())
		}
		if err := b.Enable(t.Context(), o.Token.Reveal(), ""); !errors.Is(err, ErrPending) {
			t.Errorf("typed again: %v", err)
		}
		if err := b.Dissolve(); err != nil {
			t.Error(err)
		}
		if b.State().Phase() != state.PhaseUnpaired || len(b.users()) != 1 {
			t.Errorf("%s, %v", b.State().Phase(), b.users())
		}
		time.Sleep(100 * 24 * time.Hour)
	})
}
