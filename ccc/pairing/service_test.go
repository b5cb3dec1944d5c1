package pairing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func TestSave(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *site) {
		group := store.Group{ID: store.NewID[store.GroupID](), Tenant: s.a.Tenant, Name: "North", Created: now()}
		foreign := store.Group{ID: store.NewID[store.GroupID](), Tenant: s.b.Tenant, Name: "South", Created: now()}
		s.update(func(tx *store.Tx) error { return errors.Join(tx.CreateGroup(group), tx.CreateGroup(foreign)) })
		sys, offer, err := s.Save(t.Context(), s.a, NewSystem{
			Serial: " 01234-56789 ", Name: " Office ", Note: "2nd floor", Tags: []string{"b", "a"}, Groups: []store.GroupID{group.ID},
		})
		if err != nil {
			t.Fatal(err)
		}
		if sys.Serial != serial || sys.Name != "Office" || sys.Note != "2nd floor" || !slices.Equal(sys.Tags, []string{"a", "b"}) || len(sys.Groups) != 1 || sys.Groups[0].Name != "North" {
			t.Errorf("%+v", sys)
		}
		if want := "CCC1:" + string(offer.Offer) + ":" + offer.Token.Reveal(); offer.QR != want {
			t.Error("the QR code is another offer's")
		}
		if offer.Expires.Sub(offer.Created) != 24*time.Hour || offer.Received != nil || len(offer.Code) != 7 {
			t.Errorf("%+v", offer)
		}
		seen, err := s.View(t.Context(), s.a, sys.ID)
		if err != nil || seen.Token.Reveal() != offer.Token.Reveal() || seen.QR != offer.QR || seen.Code != offer.Code || !seen.Expires.Equal(offer.Expires) {
			t.Errorf("seen again: %+v, %v", seen, err)
		}
		colleague := Actor{s.a.Tenant, store.NewID[store.UserID]()}
		if _, err := s.View(t.Context(), colleague, sys.ID); CodeOf(err) != CodeNotCreator {
			t.Errorf("a colleague sees: %v", err)
		}
		before := s.dump()
		for name, tt := range map[string]struct {
			n      NewSystem
			code   Code
			fields []string
		}{
			"again":             {NewSystem{Serial: string(serial), Name: "x"}, CodeSerialTaken, nil},
			"nothing":           {NewSystem{}, CodeInvalid, []string{"serial pattern", "name required"}},
			"all wrong":         {NewSystem{Serial: "12", Name: " ", Groups: []store.GroupID{"none"}}, CodeInvalid, []string{"serial pattern", "name required", "groups reference"}},
			"another's group":   {NewSystem{Serial: string(other), Name: "x", Groups: []store.GroupID{group.ID, foreign.ID}}, CodeInvalid, []string{"groups reference"}},
			"letters":           {NewSystem{Serial: "012345678a", Name: "x"}, CodeInvalid, []string{"serial pattern"}},
			"replaces nothing":  {NewSystem{Serial: string(other), Replaces: "none"}, CodeInvalid, []string{"replaces reference"}},
			"replaces itself":   {NewSystem{Serial: string(serial), Replaces: sys.ID}, CodeInvalid, []string{"replaces reference"}},
			"replaces unpaired": {NewSystem{Serial: string(other), Replaces: sys.ID}, CodeState, nil},
		} {
			_, _, err := s.Save(t.Context(), s.a, tt.n)
			e := (*Error)(nil)
			if !errors.As(err, &e) || e.Code != tt.code {
				t.Errorf("%s: %v", name, err)
				continue
			}
			var fields []string
			for _, f := range e.Fields {
				fields = append(fields, f.Field+" "+string(f.Code))
				if !strings.Contains(err.Error(), f.Field+" "+f.Message) {
					t.Errorf("%s: %v does not name %s", name, err, f.Field)
				}
			}
			if !slices.Equal(fields, tt.fields) {
				t.Errorf("%s: %v", name, fields)
			}
		}
		if after := s.dump(); after != before {
			t.Errorf("what was refused has left something: %s", after)
		}
		if _, _, err := s.Save(t.Context(), Actor{store.NewID[store.TenantID](), s.a.User}, NewSystem{Serial: string(other), Name: "x"}); CodeOf(err) != CodeNotFound {
			t.Errorf("a tenant that is not there: %v", err)
		}
		// A name that a PBX would not show would never get there.
		odd := tenant(store.NewID[store.TenantID](), "Evil\u202e")
		s.update(func(tx *store.Tx) error { return tx.CreateTenant(odd) })
		if _, _, err := s.Save(t.Context(), Actor{odd.ID, s.a.User}, NewSystem{Serial: string(other), Name: "x"}); err == nil || !strings.Contains(err.Error(), "tenant: is not a printable line") {
			t.Errorf("a name that cannot be shown: %v", err)
		}
	})
}

// TestQuotas: offers count for an hour, and those to one PBX for a day. Removing the
// system does not give one back.
func TestQuotas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		make := func(i int) error {
			sys, _, err := s.Save(t.Context(), s.a, NewSystem{Serial: fmt.Sprintf("%010d", i), Name: "x"})
			if err != nil {
				return err
			}
			return s.Remove(t.Context(), s.a, sys.ID)
		}
		for i := range 20 {
			if err := make(i); err != nil {
				t.Fatalf("offer %d: %v", i, err)
			}
			time.Sleep(time.Minute)
		}
		err := make(21)
		e := (*Error)(nil)
		if !errors.As(err, &e) || e.Code != CodeQuotaOffers || e.RetryAfter < time.Minute || e.RetryAfter > time.Hour {
			t.Errorf("one too many: %v", err)
		}
		if _, _, err := s.Save(t.Context(), s.b, NewSystem{Serial: "0000000021", Name: "x"}); err != nil {
			t.Errorf("another tenant: %v", err)
		}
		time.Sleep(41 * time.Minute) // the first is more than an hour old
		if err := make(22); err != nil {
			t.Errorf("after an hour: %v", err)
		}

		time.Sleep(time.Hour)
		sys, _ := s.save(s.a, serial)
		for range 19 {
			time.Sleep(10 * time.Minute)
			if _, err := s.Regenerate(t.Context(), s.a, sys.ID); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Regenerate(t.Context(), s.a, sys.ID); CodeOf(err) != CodeQuotaOffers {
			t.Errorf("the 21st to one PBX: %v", err)
		}
		if _, _, err := s.Save(t.Context(), s.b, NewSystem{Serial: string(serial), Name: "x"}); err != nil {
			t.Errorf("another tenant: %v", err)
		}
		time.Sleep(21 * time.Hour)
		if _, err := s.Regenerate(t.Context(), s.a, sys.ID); err != nil {
			t.Errorf("after a day: %v", err)
		}
	})
}

func TestRegenerate(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p, sys := s.pair(s.a, serial)
	if _, err := s.Regenerate(t.Context(), s.a, sys.ID); CodeOf(err) != CodeState {
		t.Errorf("while it is paired: %v", err)
	}
	if _, err := s.View(t.Context(), s.a, sys.ID); CodeOf(err) != CodeNotFound {
		t.Errorf("seen while it is paired: %v", err)
	}
	if err := s.Withdraw(t.Context(), s.a, sys.ID); CodeOf(err) != CodeNotFound {
		t.Errorf("withdrawn while it is paired: %v", err)
	}
	p.switchOff(wire.ReasonSwitchedOff)
	if err := p.settle(); err != nil {
		t.Fatal(err)
	}
	offer, err := s.Regenerate(t.Context(), s.a, sys.ID)
	if err != nil {
		t.Fatal(err)
	}
	s.deliver()
	if err := p.typed(offer.Token); err != nil {
		t.Fatal(err)
	}
	s.deliver()
	got := s.system(s.a, sys.ID)
	if got.State != store.StatePaired || got.Epoch != 2 || got.ID != sys.ID || got.Name != sys.Name {
		t.Errorf("paired again: %+v", got)
	}
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.newPBX(serial)
	sys, offer := s.save(s.a, serial)
	s.deliver()
	c, err := p.completion(offer.Token)
	if err != nil {
		t.Fatal(err)
	}
	s.steps()
	if err := s.Withdraw(t.Context(), s.a, sys.ID); err != nil {
		t.Fatal(err)
	}
	s.deliver()
	s.consistent()
	if got := s.system(s.a, sys.ID).State; got != store.StateExpired || len(p.offers) != 0 || !slices.Equal(s.steps(), []string{"a:expired"}) {
		t.Errorf("the system is %s, the PBX has %d offers", got, len(p.offers))
	}
	if _, err := p.ccc.Complete(t.Context(), c); wire.CodeOf(err) != wire.CodeOfferVoid {
		t.Errorf("completed after that: %v", err)
	}
	if got := s.history(s.a, sys.ID)[0]; got != EventWithdrawn {
		t.Errorf("the last event is %s", got)
	}

	// A PBX that could not be reached hears of it from its sync.
	again, err := s.Regenerate(t.Context(), s.a, sys.ID)
	if err != nil {
		t.Fatal(err)
	}
	s.deliver()
	p.disconnect()
	if err := s.Withdraw(t.Context(), s.a, sys.ID); err != nil {
		t.Fatal(err)
	}
	s.deliver()
	if _, there := p.offers[wire.OfferID(again.Offer)]; !there {
		t.Fatal("the PBX does not have the offer")
	}
	if err := p.connect(); err != nil || len(p.offers) != 0 {
		t.Errorf("the PBX has %d offers: %v", len(p.offers), err)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	sys, _ := s.save(s.a, serial)
	s.steps()
	name, blank := "New", " "
	groups := []store.GroupID{"none"}
	got, err := s.Update(t.Context(), s.a, sys.ID, sys.Version, store.Fields{Name: &name})
	if err != nil || got.Name != name || got.Version != sys.Version+1 {
		t.Errorf("%+v, %v", got, err)
	}
	if told := s.steps(); !slices.Equal(told, []string{"a:system"}) || s.history(s.a, sys.ID)[0] != EventChanged {
		t.Errorf("told %v", told)
	}
	if _, err := s.Update(t.Context(), s.a, sys.ID, sys.Version, store.Fields{Name: &name}); CodeOf(err) != CodeVersion {
		t.Errorf("an old version: %v", err)
	}
	_, err = s.Update(t.Context(), s.a, sys.ID, 0, store.Fields{Name: &blank, Groups: &groups})
	if e := (*Error)(nil); !errors.As(err, &e) || e.Code != CodeInvalid || len(e.Fields) != 2 {
		t.Errorf("wrong fields: %v", err)
	}
}

// TestReplacement moves what people know a system by, and nothing else.
func TestReplacement(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, s *site) {
		p, old := s.pair(s.a, serial)
		group := store.Group{ID: store.NewID[store.GroupID](), Tenant: s.a.Tenant, Name: "North", Created: now()}
		s.update(func(tx *store.Tx) error { return tx.CreateGroup(group) })
		note, tags, groups := "a note", []string{"vip"}, []store.GroupID{group.ID}
		old, err := s.Update(t.Context(), s.a, old.ID, 0, store.Fields{Note: &note, Tags: &tags, Groups: &groups})
		if err != nil {
			t.Fatal(err)
		}
		before := read(s, func(tx *store.Tx) (store.Pairing, error) { return tx.SystemPairing(s.a.Tenant, old.ID) })

		q := s.newPBX(other)
		sys, offer, err := s.Save(t.Context(), s.a, NewSystem{Serial: string(other), Replaces: old.ID})
		if err != nil {
			t.Fatal(err)
		}
		if sys.Name != old.Name || sys.Note != "" || sys.Replaces != old.ID {
			t.Errorf("before it is paired: %+v", sys)
		}
		s.deliver()
		if got := s.system(s.a, old.ID).State; got != store.StatePaired {
			t.Errorf("before the new one is paired, the old one is %s", got)
		}
		s.steps()
		if err := q.typed(offer.Token); err != nil {
			t.Fatal(err)
		}
		if got := s.steps(); !slices.Contains(got, "a:completed") || !slices.Contains(got, "a:system") {
			t.Errorf("told %v", got)
		}
		s.consistent()
		s.deliver()
		sys = s.system(s.a, sys.ID)
		if sys.State != store.StatePaired || sys.Name != old.Name || sys.Note != note || !slices.Equal(sys.Tags, tags) || len(sys.Groups) != 1 || sys.Epoch != 1 || sys.Serial != other {
			t.Errorf("the new one: %+v", sys)
		}
		after := read(s, func(tx *store.Tx) (store.Pairing, error) { return tx.SystemPairing(s.a.Tenant, sys.ID) })
		if after.ID == before.ID || after.Completion == before.Completion || slices.Equal(after.UserSealed, before.UserSealed) || slices.Equal(after.PasswordSealed, before.PasswordSealed) {
			t.Error("secrets have moved")
		}
		if got := s.system(s.a, old.ID); got.State != store.StateLeft || p.pairing != "" || p.user.Reveal() != "" {
			t.Errorf("the old one: %+v, with %q", got, p.pairing)
		}
		// Paired once more, it keeps what it is called then.
		renamed := "Another name"
		if _, err := s.Update(t.Context(), s.a, sys.ID, 0, store.Fields{Name: &renamed}); err != nil {
			t.Fatal(err)
		}
		q.switchOff(wire.ReasonSwitchedOff)
		if err := q.settle(); err != nil {
			t.Fatal(err)
		}
		offer2, err := s.Regenerate(t.Context(), s.a, sys.ID)
		if err != nil {
			t.Fatal(err)
		}
		s.deliver()
		if err := q.typed(offer2.Token); err != nil {
			t.Fatal(err)
		}
		if got := s.system(s.a, sys.ID); got.Name != renamed || got.Epoch != 2 {
			t.Errorf("paired once more: %+v", got)
		}
	})
}

// TestReplacementOfNothing: the replaced system was removed before the new one is paired.
func TestReplacementOfNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, old := s.pair(s.a, serial)
	q := s.newPBX(other)
	sys, offer, err := s.Save(t.Context(), s.a, NewSystem{Serial: string(other), Replaces: old.ID})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), s.a, old.ID); err != nil {
		t.Fatal(err)
	}
	s.deliver()
	if err := q.typed(offer.Token); err != nil {
		t.Fatal(err)
	}
	s.deliver()
	if got := s.system(s.a, sys.ID); got.State != store.StatePaired || got.Name != old.Name {
		t.Errorf("%+v", got)
	}
}

func TestRemoveOffered(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.newPBX(serial)
	sys, _ := s.save(s.a, serial)
	s.deliver()
	s.steps()
	if err := s.Remove(t.Context(), s.a, sys.ID); err != nil {
		t.Fatal(err)
	}
	s.deliver()
	if got := only(s.dump(), "systems", "offers", "tombstones"); got != "" || len(p.offers) != 0 {
		t.Errorf("left over: %s, and %d offers in the PBX", got, len(p.offers))
	}
	if got := s.steps(); !slices.Equal(got, []string{"a:removed"}) {
		t.Errorf("told %v", got)
	}
	if err := s.Remove(t.Context(), s.a, sys.ID); CodeOf(err) != CodeNotFound {
		t.Errorf("a second time: %v", err)
	}
}

// TestProof: what a PBX answers to the login decides whether the pairing is proved, tried
// again, or dissolved.
func TestProof(t *testing.T) {
	t.Parallel()
	status := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(code); return true }
	}
	only := func(path string, f func(http.ResponseWriter)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == path {
				f(w)
			}
			return r.URL.Path == path
		}
	}
	for name, tt := range map[string]struct {
		hook  func(http.ResponseWriter, *http.Request) bool
		final bool
	}{
		"401":                   {status(401), true},
		"403":                   {status(403), true},
		"404":                   {status(404), false},
		"423, locked":           {status(423), false},
		"429":                   {status(429), false},
		"500":                   {status(500), false},
		"a redirect":            {status(302), false},
		"cut":                   {func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, false},
		"no cookie":             {only("/api/v1/login", func(http.ResponseWriter) {}), true},
		"another serial":        {only("/api/v1/system", func(w http.ResponseWriter) { fmt.Fprintf(w, `{"serial":%q}`, other) }), true},
		"no serial":             {only("/api/v1/system", func(w http.ResponseWriter) { fmt.Fprint(w, `{}`) }), true},
		"not JSON":              {only("/api/v1/system", func(w http.ResponseWriter) { fmt.Fprint(w, `<html>`) }), false},
		"JSON without an end":   {only("/api/v1/system", func(w http.ResponseWriter) { fmt.Fprint(w, `{"serial":"`+strings.Repeat("1", 1<<20)) }), false},
		"the system is refused": {only("/api/v1/system", func(w http.ResponseWriter) { w.WriteHeader(401) }), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p := s.newPBX(serial)
			sys, offer := s.save(s.a, serial)
			s.deliver()
			p.set(func() { p.hook = tt.hook })
			if err := p.typed(offer.Token); err != nil {
				t.Fatal(err)
			}
			s.deliver()
			p.set(func() { p.hook = nil })
			if err := p.sync(); err != nil { // it has the answer
				t.Fatal(err)
			}
			p.set(func() { p.hook = tt.hook })
			for i := range s.Service.cfg.ProofTries {
				if got := s.system(s.a, sys.ID).State; got != store.StateProving {
					t.Fatalf("before try %d, the system is %s", i, got)
				}
				s.CameOnline(serial)
				s.deliver()
			}
			p.set(func() { p.hook = nil })
			s.CameOnline(serial)
			s.deliver()
			s.consistent()
			got := s.system(s.a, sys.ID)
			if want := store.StateError; tt.final && (got.State != want || got.ErrorCode != ErrorAuth || p.pairing != "" || p.user.Reveal() != "") {
				t.Errorf("the system is %s %s, the PBX has %q", got.State, got.ErrorCode, p.pairing)
			}
			if want := store.StatePaired; !tt.final && (got.State != want || p.pairing == "") {
				t.Errorf("the system is %s %s, the PBX has %q", got.State, got.ErrorCode, p.pairing)
			}
		})
	}
}

// TestProofGrace: a PBX that never says that it knows of the pairing has 11 minutes
// before its refusals count.
func TestProofGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		p := s.newPBX(serial)
		sys, offer := s.save(s.a, serial)
		s.deliver()
		c, err := p.completion(offer.Token)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.ccc.Complete(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		try := func(n int) {
			for range n {
				s.CameOnline(serial)
				s.deliver()
			}
		}
		paired := read(s, func(tx *store.Tx) (store.Pairing, error) { return tx.ActivePairing(serial) }).Paired
		time.Sleep(time.Until(paired.Add(11*time.Minute - time.Second)))
		try(10)
		if got := s.system(s.a, sys.ID).State; got != store.StateProving {
			t.Errorf("after %d refusals, the system is %s", 10, got)
		}
		time.Sleep(time.Second)
		try(3)
		if got := s.system(s.a, sys.ID); got.State != store.StateError || got.ErrorCode != ErrorAuth {
			t.Errorf("the system is %s %s", got.State, got.ErrorCode)
		}
		if len(s.proofs.all) != 0 {
			t.Errorf("%d pairings are remembered", len(s.proofs.all))
		}
	})
}

// TestServe serves a listener as the program does.
func TestServe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		ln := newListener()
		ended := make(chan error)
		go func() { ended <- s.Serve(ctx, ln) }()
		call := func(id identity.ID) error {
			_, err := wire.CCC{HTTP: wire.HTTPClient(func(ctx context.Context) (net.Conn, error) { return ln.connect(ctx, id) })}.
				Sync(t.Context(), wire.Sync{Version: 1})
			return err
		}
		if err := call(identity.Device(td, serial)); err != nil {
			t.Error(err)
		}
		if err := call(identity.Service(td, "ccc")); wire.CodeOf(err) != wire.CodeRefused {
			t.Error(err)
		}
		// A connection that does not say whose it is.
		a, b := net.Pipe()
		ln.conns <- b
		anonymous := wire.CCC{HTTP: wire.HTTPClient(func(context.Context) (net.Conn, error) { return a, nil })}
		if _, err := anonymous.Sync(t.Context(), wire.Sync{Version: 1}); wire.CodeOf(err) != wire.CodeRefused {
			t.Error(err)
		}
		stop := errors.New("stop")
		cancel(stop)
		if err := <-ended; !errors.Is(err, stop) {
			t.Error(err)
		}
	})
}
