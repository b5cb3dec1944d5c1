package pbx

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// centre is the pairing service of the real control centre, behind a real relay.
type centre struct {
	*pairing.Service
	t     *testing.T
	db    *store.DB
	keys  *seal.Keyring
	dial  *dial.Dialer
	actor pairing.Actor
}

func newCentre(t *testing.T, ca *pkitest.CA, relay string) *centre {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "ccc.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &centre{t: t, db: db, actor: pairing.Actor{Tenant: store.NewID[store.TenantID](), User: store.NewID[store.UserID]()}}
	now := time.Now().UTC().Truncate(time.Millisecond)
	err = db.Update(t.Context(), func(tx *store.Tx) error {
		return errors.Join(
			tx.CreateTenant(store.Tenant{ID: c.actor.Tenant, Kind: store.KindCustomer, Name: "Acker", LegalName: "Acker GmbH & Co. KG", Brand: "auerswald", Created: now}),
			tx.CreateUser(store.User{
				ID: c.actor.User, Tenant: c.actor.Tenant, Email: "a@example.com", Name: "A", Roles: []store.Role{store.RoleOwner},
				Language: store.German, PasswordHash: "x", Created: now,
			}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	creds := ca.Credentials(identity.Service(td, "ccc"))
	d, err := dial.New(dial.Config{Relays: []string{relay}, Credentials: creds})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	c.keys, c.dial = must(seal.New(seal.NewKey())), d
	c.Service, err = pairing.New(pairing.Config{
		Store: db, Keys: c.keys, Credentials: creds,
		Limits: pairing.Limits{RetryMin: 50 * time.Millisecond, RetryMax: time.Second},
		Dial: func(ctx context.Context, s identity.Serial, service string) (net.Conn, error) {
			return d.DialContext(ctx, s, service)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := d.Listen(wire.Service)
	if err != nil {
		t.Fatal(err)
	}
	background(t, "control centre", c.Run)
	background(t, "control centre's server", func(ctx context.Context) error {
		if err := c.Serve(ctx, ln); !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return c
}

// system reads a system; its state is empty where there is none.
func (c *centre) system(id store.SystemID) (sys store.System) {
	c.t.Helper()
	err := c.db.View(c.t.Context(), func(tx *store.Tx) (err error) {
		sys, err = tx.System(c.actor.Tenant, id)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		c.t.Fatal(err)
	}
	return sys
}

// TestRealControlCentre pairs and dissolves with the control centre's own service, on a
// database, through a relay.
func TestRealControlCentre(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	ca := pkitest.New(t, td)
	relay := startRelay(t, ca).Addr()
	c := newCentre(t, ca, relay)
	p, err := New(Config{
		Dir: t.TempDir(), Credentials: ca.Credentials(identity.Device(td, serial)), FirstPassword: first, Hasher: quick, Facts: noFacts,
		Agent:  agent.Config{Relays: []string{relay}, Transport: agent.TransportTCP, InstanceID: agent.NewInstanceID()},
		Limits: Limits{RetryMin: 50 * time.Millisecond, RetryMax: time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	background(t, "pbx", p.Run)
	until := func(what string, ok func() bool) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for !ok() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("waited in vain until %s; the PBX is %s", what, p.State().Phase())
			}
		}
	}
	until("the tunnel is up", func() bool { return p.Agent().Status().Online() })

	pair := func() (store.System, pairing.OfferView) {
		t.Helper()
		sys, offer, err := c.Save(ctx, c.actor, pairing.NewSystem{Serial: string(serial), Name: "Haus 1"})
		if err != nil {
			t.Fatal(err)
		}
		until("the offer is there", func() bool { return p.State().Phase() == state.PhaseOffered })
		if o := p.State().Offers[0]; o.Code != offer.Code || o.Tenant != "Acker GmbH & Co. KG" {
			t.Errorf("offer %+v, want code %s", o, offer.Code)
		}
		until("the control centre knows that it is there", func() bool { return c.system(sys.ID).State == store.StateReceived })
		if err := p.Enable(ctx, offer.Token.Reveal(), wire.OfferID(offer.Offer)); err != nil {
			t.Fatal(err)
		}
		until("the login is proved", func() bool { return c.system(sys.ID).State == store.StatePaired })
		if p.State().Phase() != state.PhasePaired {
			t.Errorf("the PBX is %s", p.State().Phase())
		}
		return sys, offer
	}
	clean := func() {
		t.Helper()
		until("the PBX has told everything", func() bool { return len(p.State().Tombstones) == 0 })
		if s := p.State(); s.Phase() != state.PhaseUnpaired || len(s.Users) != 1 {
			t.Errorf("%s with %d users", s.Phase(), len(s.Users))
		}
	}

	sys, offer := pair()
	if err := p.Dissolve(); err != nil {
		t.Fatal(err)
	}
	until("the system has left", func() bool { return c.system(sys.ID).State == store.StateLeft })
	clean()
	if err := p.Enable(ctx, offer.Token.Reveal(), ""); !errors.Is(err, state.ErrUnknownOffer) {
		t.Errorf("the old token: %v", err)
	}
	if err := c.Remove(ctx, c.actor, sys.ID); err != nil {
		t.Fatal(err)
	}
	sys, _ = pair()
	if p.State().Pairing.Epoch != 2 {
		t.Errorf("epoch %d", p.State().Pairing.Epoch)
	}
	if err := c.Remove(ctx, c.actor, sys.ID); err != nil {
		t.Fatal(err)
	}
	until("the PBX hears of it", func() bool { return p.State().Phase() == state.PhaseUnpaired })
	clean()
}
