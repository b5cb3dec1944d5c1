package pairing_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/integration/world"
)

// pairs walks the whole way: save, the offer arrives, the token is typed, and the
// control centre has signed in. It gives the system.
func pairs(ctx context.Context, t *testing.T, w *world.World, c, pbx *person, i int) api.System {
	t.Helper()
	saved, err := c.save(ctx, string(w.Device(i)), "PBX "+string(w.Device(i)))
	if err != nil {
		t.Fatal(err)
	}
	awaitOffer(ctx, t, pbx, saved.Offer)
	if err := pbx.enable(ctx, w, i, strings.ToLower(saved.Offer.Token)); err != nil {
		t.Fatal(err)
	}
	return awaitState(ctx, t, c, saved.System.ID, store.StatePaired)
}

// awaitOffer waits until the PBX shows the offer, which does nothing by itself.
func awaitOffer(ctx context.Context, t *testing.T, pbx *person, o api.Offer) {
	t.Helper()
	eventually(ctx, t, "the offer at the PBX", func() error {
		l, err := pbx.local(ctx)
		if err != nil {
			return err
		}
		for _, got := range l.Offers {
			if got.ID != o.ID {
				continue
			}
			if got.Code != o.Code || got.Tenant != "Musterfirma GmbH" {
				t.Fatalf("the PBX shows %q for %q, want %q", got.Code, got.Tenant, o.Code)
			}
			return nil
		}
		return fmt.Errorf("%d others", len(l.Offers))
	})
	l, err := pbx.local(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if l.Paired != nil || l.Enabled {
		t.Errorf("an offer alone has made %+v", l)
	}
}

func awaitState(ctx context.Context, t *testing.T, c *person, id string, want store.State) (s api.System) {
	t.Helper()
	eventually(ctx, t, "the system becomes "+string(want), func() (err error) {
		s, err = c.system(ctx, id)
		if err == nil && s.State != want {
			err = fmt.Errorf("it is %s %s", s.State, s.ErrorCode)
		}
		return err
	})
	return s
}

// awaitUnpaired waits until the PBX has nothing of a pairing.
func awaitUnpaired(ctx context.Context, t *testing.T, pbx *person, users []string) {
	t.Helper()
	eventually(ctx, t, "the PBX has no pairing", func() error {
		l, err := pbx.local(ctx)
		if err != nil {
			return err
		}
		now, err := pbx.users(ctx)
		if err != nil {
			return err
		}
		if l.Paired != nil || l.Enabled || !slices.Equal(now, users) {
			return fmt.Errorf("%+v, users %q", l, now)
		}
		return nil
	})
}

func isCode(err error, code string) bool {
	var a *answer
	return errors.As(err, &a) && a.code == code
}

// TestPairing: what the privacy policy describes, step by step, and each of the ways in
// which a pairing ends while both sides are there.
func TestPairing(t *testing.T) {
	t.Parallel()
	forEachKind(t, 3, func(ctx context.Context, t *testing.T, w *world.World) {
		c, pbx := customer(ctx, t, w), installer(ctx, t, w, 0)
		before, err := pbx.users(ctx)
		if err != nil {
			t.Fatal(err)
		}
		first := pairs(ctx, t, w, c, pbx, 0)
		if first.Epoch != "1" || first.PairedAt == nil {
			t.Errorf("paired as %+v", first)
		}
		eventually(ctx, t, "presence", func() error {
			if s, err := c.system(ctx, first.ID); err != nil || !s.Online {
				return fmt.Errorf("online %t, %w", s.Online, err)
			}
			return nil
		})
		l, err := pbx.local(ctx)
		if err != nil || l.Paired == nil || l.Paired.Tenant != "Musterfirma GmbH" || !strings.HasPrefix(l.Paired.User, "ccc-") {
			t.Fatalf("the PBX says %+v, %v", l, err)
		}
		during, err := pbx.users(ctx)
		if err != nil || len(during) != len(before)+1 {
			t.Errorf("users %q, %v", during, err)
		}

		// Switched off at the PBX.
		if err := pbx.do(ctx, http.MethodPost, "ccc/disable", struct{}{}, nil); err != nil {
			t.Fatal(err)
		}
		awaitUnpaired(ctx, t, pbx, before)
		awaitState(ctx, t, c, first.ID, store.StateLeft)

		// Once more, from the start: nothing of the first time is used again.
		if err := c.do(ctx, http.MethodDelete, "systems/"+first.ID, nil, nil); err != nil {
			t.Fatal(err)
		}
		second := pairs(ctx, t, w, c, pbx, 0)
		again, err := pbx.local(ctx)
		if err != nil || again.Paired == nil || again.Paired.User == l.Paired.User || again.Paired.Pairing == l.Paired.Pairing || second.Epoch != "2" {
			t.Errorf("paired again: %+v, epoch %s, %v", again, second.Epoch, err)
		}

		// Removed in the control centre.
		if err := c.do(ctx, http.MethodDelete, "systems/"+second.ID, nil, nil); err != nil {
			t.Fatal(err)
		}
		awaitUnpaired(ctx, t, pbx, before)
		if _, err := c.system(ctx, second.ID); !isCode(err, "not_found") {
			t.Errorf("the removed system: %v", err)
		}

		// Reset to factory state.
		third := pairs(ctx, t, w, c, pbx, 0)
		password, err := firstPassword(w, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := pbx.do(ctx, http.MethodPost, "factory-reset", map[string]string{"password": password}, nil); err != nil {
			t.Fatal(err)
		}
		awaitState(ctx, t, c, third.ID, store.StateLeft)
		pbx = installer(ctx, t, w, 0)
		awaitUnpaired(ctx, t, pbx, before)

		// Replaced by another.
		old, other := installer(ctx, t, w, 1), installer(ctx, t, w, 2)
		fourth := pairs(ctx, t, w, c, old, 1)
		var next api.SystemOffer
		if err := c.do(ctx, http.MethodPost, "systems/"+fourth.ID+"/replacement", map[string]string{"serial": string(w.Device(2))}, &next); err != nil {
			t.Fatal(err)
		}
		awaitOffer(ctx, t, other, next.Offer)
		if err := other.enable(ctx, w, 2, next.Offer.Token); err != nil {
			t.Fatal(err)
		}
		if s := awaitState(ctx, t, c, next.System.ID, store.StatePaired); s.Name != fourth.Name {
			t.Errorf("the new one is called %q", s.Name)
		}
		awaitUnpaired(ctx, t, old, before)
		eventually(ctx, t, "the old system leaves", func() error {
			s, err := c.system(ctx, fourth.ID)
			if err == nil && s.State != store.StateLeft {
				return fmt.Errorf("it is %s", s.State)
			}
			return nil // left, or gone
		})
	})
}

// TestOffline: what ends while one side is away ends on the other when it is back; an
// offer for a PBX that is off waits.
func TestOffline(t *testing.T) {
	t.Parallel()
	forEachKind(t, 1, func(ctx context.Context, t *testing.T, w *world.World) {
		c, pbx := customer(ctx, t, w), installer(ctx, t, w, 0)
		before, err := pbx.users(ctx)
		if err != nil {
			t.Fatal(err)
		}
		// The offer waits.
		if err := w.StopDevice(ctx, 0); err != nil {
			t.Fatal(err)
		}
		saved, err := c.save(ctx, string(w.Device(0)), "away")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.StartDevice(ctx, 0); err != nil {
			t.Fatal(err)
		}
		pbx = installer(ctx, t, w, 0)
		awaitOffer(ctx, t, pbx, saved.Offer)
		if err := pbx.enable(ctx, w, 0, saved.Offer.Token); err != nil {
			t.Fatal(err)
		}
		awaitState(ctx, t, c, saved.System.ID, store.StatePaired)

		// Switched off at the PBX while the way to the control centre is closed.
		if err := w.StopRelay(ctx, 0); err != nil {
			t.Fatal(err)
		}
		if err := pbx.do(ctx, http.MethodPost, "ccc/disable", struct{}{}, nil); err != nil {
			t.Fatal(err)
		}
		awaitUnpaired(ctx, t, pbx, before)
		if s, err := c.system(ctx, saved.System.ID); err != nil || s.State != store.StatePaired {
			t.Errorf("the control centre cannot know yet: %s, %v", s.State, err)
		}
		if err := w.StartRelay(ctx, 0); err != nil {
			t.Fatal(err)
		}
		awaitState(ctx, t, c, saved.System.ID, store.StateLeft)

		// Removed in the control centre while the PBX is off.
		if err := c.do(ctx, http.MethodDelete, "systems/"+saved.System.ID, nil, nil); err != nil {
			t.Fatal(err)
		}
		second := pairs(ctx, t, w, c, pbx, 0)
		if err := w.StopDevice(ctx, 0); err != nil {
			t.Fatal(err)
		}
		if err := c.do(ctx, http.MethodDelete, "systems/"+second.ID, nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := w.StartDevice(ctx, 0); err != nil {
			t.Fatal(err)
		}
		awaitUnpaired(ctx, t, installer(ctx, t, w, 0), before)
	})
}

// TestRevoked: a blocked certificate ends the pairing on both sides.
func TestRevoked(t *testing.T) {
	t.Parallel()
	forEachKind(t, 1, func(ctx context.Context, t *testing.T, w *world.World) {
		c, pbx := customer(ctx, t, w), installer(ctx, t, w, 0)
		before, err := pbx.users(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s := pairs(ctx, t, w, c, pbx, 0)
		if err := w.Block(ctx, w.Device(0), "lost"); err != nil {
			t.Fatal(err)
		}
		awaitState(ctx, t, c, s.ID, store.StateLeft)
		awaitUnpaired(ctx, t, pbx, before)
	})
}

// TestWrongTokens: five of them, and the offer is void on both sides.
func TestWrongTokens(t *testing.T) {
	t.Parallel()
	forEachKind(t, 1, func(ctx context.Context, t *testing.T, w *world.World) {
		c, pbx := customer(ctx, t, w), installer(ctx, t, w, 0)
		saved, err := c.save(ctx, string(w.Device(0)), "wrong")
		if err != nil {
			t.Fatal(err)
		}
		awaitOffer(ctx, t, pbx, saved.Offer)
		for n := range 5 {
			if err := pbx.enable(ctx, w, 0, token.New().Reveal()); err == nil {
				t.Fatalf("try %d: a wrong token was taken", n)
			}
		}
		eventually(ctx, t, "the offer is void", func() error {
			s, err := c.system(ctx, saved.System.ID)
			if err == nil && s.State != store.StateDeclined && s.State != store.StateError {
				err = fmt.Errorf("it is %s", s.State)
			}
			return err
		})
		if err := pbx.enable(ctx, w, 0, saved.Offer.Token); err == nil {
			t.Error("the right token was taken after five wrong ones")
		}
	})
}
