package remote

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/ccc/store/storetest"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

const (
	td     = identity.DefaultTrustDomain
	serial = identity.Serial("0123456789")
	other  = identity.Serial("9876543210")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a broker with two tenants, each of which has a paired PBX and two users. Its
// clock stands still.
type site struct {
	*Broker
	t          *testing.T
	db         *store.DB
	pbx        *pbx
	ara        *enrol.Credentials
	mu         sync.Mutex // guards told
	told       int
	a, a2, b   Actor
	sys, sysB  store.SystemID
	unpaired   store.SystemID // of a
	now, start time.Time
}

// pbx is what all PBXs do with what the broker says.
type pbx struct {
	creds *enrol.Credentials

	mu      sync.Mutex // guards what follows
	state   grant.State
	refuses error
	deaf    bool // does not hear of ends
	offline bool
	asked   []wire.Remote
	ends    []wire.RemoteEnd
	hook    func() // runs while a request is taken
}

func (p *pbx) AskRemote(_ context.Context, serial identity.Serial, request string) (grant.State, error) {
	var r wire.Remote
	if err := wire.Verify(p.creds, time.Now(), identity.Service(td, "ccc"), request, &r); err != nil {
		return "", err
	}
	if r.Serial != serial {
		return "", wire.NewProblem(wire.CodeNotForUs, "")
	}
	p.mu.Lock()
	hook := p.hook
	p.asked = append(p.asked, r)
	state, err := p.state, p.refuses
	p.mu.Unlock()
	if hook != nil {
		hook()
	}
	return state, err
}

func (p *pbx) EndRemote(_ context.Context, _ identity.Serial, end wire.RemoteEnd) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deaf {
		return errors.New("the connection is lost")
	}
	p.ends = append(p.ends, end)
	return nil
}

// ended gives the orders to end since the last call.
func (p *pbx) ended() []wire.RemoteEnd {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.ends
	p.ends = nil
	return all
}

func newSite(t *testing.T, change ...func(*Config)) *site {
	t.Helper()
	ca := pkitest.New(t, td)
	start := time.Now().UTC().Truncate(time.Second)
	s := &site{
		t: t, start: start, now: start, ara: ca.Credentials(identity.Service(td, "ara")),
		pbx: &pbx{creds: ca.Credentials(identity.Device(td, serial)), state: grant.Pending},
	}
	var err error
	s.db, err = store.Open(t.Context(), storetest.SQLite(t))
	must(t, err)
	t.Cleanup(func() { must(t, s.db.Close()) })
	s.a, s.sys = s.tenant("Acker", serial)
	s.b, s.sysB = s.tenant("Bauer", other)
	s.a2 = s.user(s.a.Tenant, "second", store.RoleAdministrator)
	s.unpaired = s.system(s.a.Tenant, "0000000001")
	cfg := Config{
		ARAURL: "https://ara.example.net", Store: s.db, PBX: s.pbx, Credentials: ca.Credentials(identity.Service(td, "ccc")),
		Online: func(identity.Serial) bool { s.pbx.mu.Lock(); defer s.pbx.mu.Unlock(); return !s.pbx.offline },
		Notify: func(store.TenantID, store.SystemID) { s.mu.Lock(); defer s.mu.Unlock(); s.told++ },
		now:    func() time.Time { return s.now },
	}
	for _, f := range change {
		f(&cfg)
	}
	s.Broker, err = New(cfg)
	must(t, err)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) update(f func(*store.Tx) error) {
	s.t.Helper()
	must(s.t, s.db.Update(s.t.Context(), f))
}

func (s *site) tenant(name string, serial identity.Serial) (Actor, store.SystemID) {
	id := store.NewID[store.TenantID]()
	s.update(func(tx *store.Tx) error {
		return tx.CreateTenant(store.Tenant{ID: id, Kind: store.KindCustomer, Name: name, LegalName: name + " GmbH", Created: s.now})
	})
	a := s.user(id, name, store.RoleOwner)
	sys := s.system(id, serial)
	s.pair(id, sys, serial)
	return a, sys
}

func (s *site) user(tenant store.TenantID, name string, role store.Role) Actor {
	u := store.User{
		ID: store.NewID[store.UserID](), Tenant: tenant, Email: name + "@example.com", Name: name, Roles: []store.Role{role},
		Language: store.German, PasswordHash: "x", Created: s.now,
	}
	s.update(func(tx *store.Tx) error { return tx.CreateUser(u) })
	return Actor{Tenant: tenant, User: u.ID, Name: name, Company: "Acker GmbH", Factor: true}
}

func (s *site) system(tenant store.TenantID, serial identity.Serial) store.SystemID {
	id := store.NewID[store.SystemID]()
	s.update(func(tx *store.Tx) error {
		return tx.CreateSystem(store.System{
			ID: id, Tenant: tenant, Serial: serial, Name: "PBX", State: store.StateOffered, Created: s.now, StateSince: s.now,
		})
	})
	return id
}

// pair makes the next pairing of a PBX.
func (s *site) pair(tenant store.TenantID, sys store.SystemID, serial identity.Serial) {
	s.update(func(tx *store.Tx) error {
		epoch, err := tx.NextEpoch(serial)
		if err != nil {
			return err
		}
		return tx.CreatePairing(store.Pairing{
			ID: store.NewID[store.PairingID](), System: sys, Tenant: tenant, Serial: serial, Epoch: epoch,
			Offer: store.NewID[store.OfferID](), Paired: s.now,
		})
	})
}

// dissolve ends the pairing of a PBX, as ccc/pairing does.
func (s *site) dissolve(serial identity.Serial) {
	s.update(func(tx *store.Tx) error {
		p, err := tx.ActivePairing(serial)
		if err != nil {
			return err
		}
		_, err = tx.EndRemotes(p.Serial, p.Epoch, grant.CauseDissolved, s.now)
		return errors.Join(err, tx.DeletePairing(p.ID))
	})
}

var web = Wish{Reason: "a phone is silent", Service: grant.Web}

// ask asks for access to the first tenant's PBX.
func (s *site) ask() store.Remote {
	s.t.Helper()
	r, err := s.Ask(s.t.Context(), s.a, s.sys, web)
	must(s.t, err)
	return r
}

// report makes one of a session, of now.
func (s *site) report(r store.Remote, state grant.State, change ...func(*wire.RemoteReport)) wire.RemoteReport {
	m := wire.RemoteReport{Session: grant.SessionID(r.ID), State: state, At: s.now}
	if state == grant.Active || state == grant.Ended {
		started := s.now
		m.StartedAt, m.Consent = &started, wire.ConsentRequest
	}
	if state == grant.Active {
		until := s.now.Add(time.Hour)
		m.Until = &until
	}
	if state.Final() {
		m.Cause = grant.CauseAdmin
	}
	for _, f := range change {
		f(&m)
	}
	return m
}

// tell reports as the first tenant's PBX.
func (s *site) tell(m wire.RemoteReport) {
	s.t.Helper()
	must(s.t, s.Report(s.t.Context(), serial, m))
}

// active asks, and the PBX lets in.
func (s *site) active() store.Remote {
	s.t.Helper()
	r := s.ask()
	s.tell(s.report(r, grant.Active))
	return s.record(r)
}

func (s *site) record(r store.Remote) (now store.Remote) {
	s.t.Helper()
	must(s.t, s.db.View(s.t.Context(), func(tx *store.Tx) (err error) {
		now, err = tx.Remote(r.Tenant, r.System, r.ID)
		return err
	}))
	return now
}

// want checks an error's code.
func want(t *testing.T, what string, err error, code Code) {
	t.Helper()
	if (err == nil) != (code == "") || CodeOf(err) != code {
		t.Errorf("%s: %v, want %q", what, err, code)
	}
}
