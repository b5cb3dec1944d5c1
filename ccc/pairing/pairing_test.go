package pairing

import (
	"slices"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// TestPairing goes the whole way, and looks at each step.
func TestPairing(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *site) {
		p := s.newPBX(serial)
		sys, offer := s.save(s.a, serial)
		if sys.State != store.StateOffered || sys.Serial != serial || sys.CreatedBy != s.a.User || offer.State != store.OfferOpen || offer.Token.IsZero() {
			t.Fatalf("%+v, %+v", sys, offer)
		}
		if got := s.steps(); !slices.Equal(got, []string{"a:sent"}) {
			t.Errorf("told %v", got)
		}
		s.consistent()

		s.deliver()
		if got := p.requests(); !slices.Equal(got, []string{wire.PathOffer}) {
			t.Errorf("the PBX was asked %v", got)
		}
		if got := s.steps(); !slices.Equal(got, []string{"a:received"}) {
			t.Errorf("told %v", got)
		}
		if got := s.system(s.a, sys.ID).State; got != store.StateReceived {
			t.Errorf("the system is %s", got)
		}
		there := p.offers[wire.OfferID(offer.Offer)]
		code := wire.ShortCode(there.ID, there.Serial, there.Tenant, there.Nonce)
		if there.Tenant != "Acker GmbH & Co. KG" || code != offer.Code || there.Token.Reveal() != offer.Token.Reveal() || there.Brand != "auerswald" {
			t.Errorf("the PBX has %+v with code %s", there, code)
		}
		if p.pairing != "" || p.user.Reveal() != "" {
			t.Error("the offer made something in the PBX")
		}
		s.consistent()

		if err := p.typed(offer.Token); err != nil {
			t.Fatal(err)
		}
		if got := s.system(s.a, sys.ID).State; got != store.StateProving {
			t.Errorf("the system is %s", got)
		}
		if got := s.steps(); !slices.Equal(got, []string{"a:completed"}) {
			t.Errorf("told %v", got)
		}
		s.consistent()

		s.deliver()
		if got := p.requests(); !slices.Equal(got, []string{"/api/v1/login", "/api/v1/system"}) {
			t.Errorf("the PBX was asked %v", got)
		}
		if got := s.steps(); !slices.Equal(got, []string{"a:proved"}) {
			t.Errorf("told %v", got)
		}
		sys = s.system(s.a, sys.ID)
		if sys.State != store.StatePaired || sys.Paired == nil || sys.Epoch != 1 {
			t.Errorf("%+v", sys)
		}
		pair := read(s, func(tx *store.Tx) (store.Pairing, error) { return tx.ActivePairing(serial) })
		user, err1 := s.cfg.Keys.Open(purposeUser, string(pair.ID), pair.UserSealed)
		password, err2 := s.cfg.Keys.Open(purposePassword, string(pair.ID), pair.PasswordSealed)
		if err1 != nil || err2 != nil || string(user) != p.user.Reveal() || string(password) != p.password.Reveal() {
			t.Errorf("the secrets are not those of the PBX: %v, %v", err1, err2)
		}
		if string(pair.ID) != string(p.pairing) || pair.Epoch != p.epoch || pair.Proved == nil {
			t.Errorf("the sides differ: %+v, %s, %d", pair, p.pairing, p.epoch)
		}
		s.consistent()

		if err := p.sync(); err != nil {
			t.Fatal(err)
		}
		s.deliver()
		if got := append(p.requests(), s.steps()...); len(got) > 0 {
			t.Errorf("with nothing to do: %v", got)
		}
		want := []string{EventPaired, EventCompleted, EventReceived, EventOffered}
		if got := s.history(s.a, sys.ID); !slices.Equal(got, want) {
			t.Errorf("the history is %v", got)
		}
	})
}

// history gives the kinds of a system's events, the newest first.
func (s *site) history(a Actor, id store.SystemID) (kinds []string) {
	for _, e := range s.events(a, id) {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func (s *site) events(a Actor, id store.SystemID) []store.Event {
	s.t.Helper()
	return read(s, func(tx *store.Tx) ([]store.Event, error) {
		all, _, err := tx.Events(a.Tenant, store.EventFilter{System: id}, store.Page{})
		return all, err
	})
}
