package pairing

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// saved gives the codes of what was wrong with each, empty where nothing was.
func saved(all []Saved) (codes []Code) {
	for _, v := range all {
		codes = append(codes, CodeOf(v.Err))
	}
	return codes
}

// A list is added as far as it is right; a second time nothing is added and no offer made.
func TestSaveAll(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *site) {
		s.Service.cfg.OffersPerHour = 1 // which lists are not bound by
		here := store.Site{ID: store.NewID[store.SiteID](), Tenant: s.a.Tenant, Name: "Here", Created: now()}
		foreign := store.Site{ID: store.NewID[store.SiteID](), Tenant: s.b.Tenant, Name: "There", Created: now()}
		s.update(func(tx *store.Tx) error { return errors.Join(tx.CreateSite(here), tx.CreateSite(foreign)) })
		list := []NewSystem{
			{Serial: "0000000001", Name: "One", Site: here.ID, Tags: []string{"x"}},
			{Serial: "12", Name: "Wrong"},
			{Serial: "0000000002", Name: "Two", Site: foreign.ID},
			{Serial: "00000 00001", Name: "One again"},
			{Serial: "0000000003", Name: "Three"},
		}
		got, err := s.SaveAll(t.Context(), s.a, list)
		if err != nil || !slices.Equal(saved(got), []Code{"", CodeInvalid, CodeInvalid, CodeSerialTaken, ""}) {
			t.Fatalf("%v, %v", saved(got), err)
		}
		if one := s.system(s.a, got[0].System.ID); one.Site != here.ID || one.Name != "One" || one.State != store.StateOffered {
			t.Errorf("%+v", one)
		}
		first, err := s.View(t.Context(), s.a, got[4].System.ID)
		if err != nil {
			t.Fatal(err)
		}
		before := s.dump()
		again, err := s.SaveAll(t.Context(), s.a, list)
		if err != nil || !slices.Equal(saved(again), []Code{CodeSerialTaken, CodeInvalid, CodeInvalid, CodeSerialTaken, CodeSerialTaken}) {
			t.Errorf("again: %v, %v", saved(again), err)
		}
		if s.dump() != before {
			t.Error("the second time something has changed")
		}
		if seen, err := s.View(t.Context(), s.a, got[4].System.ID); err != nil || seen.Token.Reveal() != first.Token.Reveal() {
			t.Errorf("the token after it: %v", err)
		}
	})
}

func TestImportQuota(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *site) {
		s.Service.cfg.ImportsPerDay = 2
		left := func(want int) {
			t.Helper()
			if n, err := s.Importable(t.Context(), s.a); err != nil || n != want {
				t.Errorf("%d may be added, %v, want %d", n, err, want)
			}
		}
		left(2)
		got, err := s.SaveAll(t.Context(), s.a, []NewSystem{{Serial: "0000000001", Name: "1"}, {Serial: "0000000002", Name: "2"}, {Serial: "0000000003", Name: "3"}})
		if err != nil || !slices.Equal(saved(got), []Code{"", "", CodeQuotaOffers}) {
			t.Errorf("%v, %v", saved(got), err)
		}
		left(0)
		s.save(s.a, "0000000004") // one by one still goes
		if got, err := s.SaveAll(t.Context(), s.b, []NewSystem{{Serial: "0000000003", Name: "3"}}); err != nil || got[0].Err != nil {
			t.Errorf("another tenant: %v, %v", got, err)
		}
	})
}

// Only who has made an offer gets its token, and it is noted when.
func TestTokens(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *site) {
		sys, offer := s.save(s.a, serial)
		foreign, _ := s.save(s.b, other)
		colleague := Actor{s.a.Tenant, store.NewID[store.UserID]()}
		s.update(func(tx *store.Tx) error {
			return tx.CreateSystem(store.System{
				ID: "without", Tenant: s.a.Tenant, Serial: "0000000009", Name: "x", State: store.StateLeft, Created: now(), StateSince: now(),
			})
		})
		ask := func(who Actor) map[store.SystemID]OfferView {
			t.Helper()
			got, err := s.Tokens(t.Context(), who, []store.SystemID{sys.ID, foreign.ID, "without", "missing"})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		if got := ask(colleague); len(got) != 0 {
			t.Errorf("a colleague gets %d tokens", len(got))
		}
		before := now()
		got := ask(s.a)
		if v := got[sys.ID]; len(got) != 1 || v.Token.Reveal() != offer.Token.Reveal() || v.QR != offer.QR || v.Sheet != nil {
			t.Errorf("the maker gets %+v", got)
		}
		if v := ask(s.a)[sys.ID]; v.Sheet == nil || v.Sheet.Before(before) || time.Since(*v.Sheet) > time.Minute {
			t.Errorf("there was a sheet at %v", v.Sheet)
		}
		if v, err := s.View(t.Context(), s.b, foreign.ID); err != nil || v.Sheet != nil {
			t.Errorf("another tenant's: %v, %v", v.Sheet, err)
		}
	})
}
