package rollout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/ccc/store/storetest"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// fakePBX is a PBX in this process.
type fakePBX struct {
	mu      sync.Mutex
	version int
	values  Values
	boot    int
	writes  int
	offline bool

	refuse    bool   // every change
	box       box    // its firmware
	conflict  string // the code with which every change is refused as one with itself
	deaf      bool   // a change is made, and its answer is lost
	silent    bool   // a change is said to be made
	neverBack bool   // from a restart
	noBoot    bool   // it does not say which boot it is
	forgets   bool   // with a restart it has the settings of before
}

var errGone = errors.New("connection lost")

func (p *fakePBX) Settings(context.Context) (string, Values, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.offline {
		return "", nil, errGone
	}
	return strconv.Itoa(p.version), maps.Clone(p.values), nil
}

func (p *fakePBX) Schema(context.Context) ([]Key, error) { return nil, nil }

func (p *fakePBX) check(version string) error {
	switch {
	case p.offline:
		return errGone
	case version != strconv.Itoa(p.version):
		return &pbxweb.Error{Status: http.StatusPreconditionFailed, Code: "version"}
	}
	return nil
}

func (p *fakePBX) Try(_ context.Context, version string, values Values) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return values["country"] != nil, p.check(version)
}

func (p *fakePBX) Change(_ context.Context, version string, values Values) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.check(version); err != nil {
		return "", err
	}
	if p.refuse {
		return "", &pbxweb.Error{Status: http.StatusForbidden, Code: "switched_off"}
	}
	p.writes++
	if p.conflict != "" {
		return "", &pbxweb.Error{Status: http.StatusConflict, Code: p.conflict}
	}
	if !p.silent {
		maps.Copy(p.values, values)
		p.version++
	}
	if p.deaf {
		p.deaf = false
		return "", errGone
	}
	return strconv.Itoa(p.version), nil
}

func (p *fakePBX) Restart(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.boot++
	p.offline = p.offline || p.neverBack
	if p.forgets {
		p.values = factory()
	}
	return nil
}

func (p *fakePBX) System(context.Context) (System, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pass()
	if p.offline {
		return System{}, errGone
	}
	if p.noBoot {
		return System{}, nil
	}
	return System{Boot: strconv.Itoa(p.boot), Model: p.box.model, Firmware: p.box.version}, nil
}

// factory are the settings of a new PBX.
func factory() Values {
	return Values{"ntp_server": json.RawMessage(`"old"`), "country": json.RawMessage(`"DE"`)}
}

// edit is the PBX's own administrator at work.
func (p *fakePBX) edit(key, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.values[key] = json.RawMessage(value)
	p.version++
}

func (p *fakePBX) set(f func(*fakePBX)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

func (p *fakePBX) get(key string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.values[key])
}

func (p *fakePBX) written() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writes
}

// world has a tenant with PBXs, and maybe several services.
type world struct {
	t       *testing.T
	db      *store.DB
	keys    *seal.Keyring
	who     store.User
	tenant  store.TenantID
	systems []store.SystemID
	pbxs    []*fakePBX
	serials map[identity.Serial]*fakePBX
	told    chan struct{}
	asked   atomic.Int64 // how often it was asked who is online

	mu       sync.Mutex // guards services
	services []*Service
	update   func(context.Context, func(*store.Tx) error) error
}

// inBubble runs a test on SQLite in a bubble, whose clock jumps.
func inBubble(t *testing.T, n int, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, storetest.SQLite(t), n)) })
}

// engines runs a test on both engines, in real time.
func engines(t *testing.T, n int, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newWorld(t, storetest.SQLite(t), n))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newWorld(t, storetest.Postgres(t), n))
	})
}

func newWorld(t *testing.T, cfg store.Config, n int) *world {
	t.Helper()
	w := &world{t: t, serials: map[identity.Serial]*fakePBX{}, told: make(chan struct{}, 1)}
	var err error
	w.db, err = store.Open(context.Background(), cfg)
	w.must(err)
	t.Cleanup(func() { w.must(w.db.Close()) })
	w.update = w.db.Update
	w.keys, err = seal.New(seal.NewKey())
	w.must(err)
	tenant := store.Tenant{ID: store.NewID[store.TenantID](), Kind: store.KindCustomer, Name: "North", LegalName: "North", Created: now()}
	w.tenant = tenant.ID
	w.who = store.User{ID: store.NewID[store.UserID](), Tenant: tenant.ID, Email: "jo@example.com", Name: "Jo", Roles: []store.Role{store.RoleAdministrator}, Language: store.German, PasswordHash: "x", Created: now()}
	w.must(w.db.Update(context.Background(), func(tx *store.Tx) error {
		w.systems, w.pbxs = nil, nil
		if err := errors.Join(tx.CreateTenant(tenant), tx.CreateUser(w.who)); err != nil {
			return err
		}
		for i := range n {
			if err := w.add(tx, i); err != nil {
				return err
			}
		}
		return nil
	}))
	return w
}

// add makes a paired system and its PBX.
func (w *world) add(tx *store.Tx, i int) error {
	s := store.System{
		ID: store.NewID[store.SystemID](), Tenant: w.tenant, Serial: identity.Serial(fmt.Sprintf("%010d", i)), Name: fmt.Sprint("PBX ", i),
		State: store.StatePaired, Created: now(), StateSince: now(),
	}
	p := &fakePBX{box: newBox(), version: 1, values: factory()}
	w.systems, w.pbxs = append(w.systems, s.ID), append(w.pbxs, p)
	w.serials[s.Serial] = p
	return errors.Join(tx.CreateSystem(s), tx.CreatePairing(store.Pairing{
		ID: store.NewID[store.PairingID](), System: s.ID, Tenant: w.tenant, Serial: s.Serial, Epoch: 1, UserSealed: []byte("u"), PasswordSealed: []byte("p"),
		Offer: store.NewID[store.OfferID](), Paired: now(),
	}))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// start runs a service until the test ends, or stop is called.
func (w *world) start(change ...func(*Config)) (s *Service, stop func()) {
	w.t.Helper()
	c := Config{
		Store: w.db, Keys: w.keys, update: w.update,
		Connect: func(p store.Pairing) PBX { return w.serials[p.Serial] },
		Online: func(s identity.Serial) bool {
			w.asked.Add(1)
			p := w.serials[s]
			p.mu.Lock()
			defer p.mu.Unlock()
			return !p.offline
		},
		Notify: func(store.TenantID) {
			select {
			case w.told <- struct{}{}:
			default:
			}
		},
	}
	if !bubble() {
		c.Retry = 20 * time.Millisecond
	}
	for _, f := range change {
		f(&c)
	}
	s, err := New(c)
	w.must(err)
	w.mu.Lock()
	w.services = append(w.services, s)
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			<-done
		})
	}
	w.t.Cleanup(stop)
	return s, stop
}

// back has PBXs be online again, which everybody is told.
func (w *world) back(all ...*fakePBX) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for serial, p := range w.serials {
		if !slices.Contains(all, p) {
			continue
		}
		p.set(func(p *fakePBX) { p.offline, p.neverBack = false, false })
		for _, s := range w.services {
			s.CameOnline(serial)
		}
	}
}

// actor is the administrator, with what he may now.
func (w *world) actor() Actor {
	w.t.Helper()
	a := Actor{Tenant: w.tenant, User: w.who.ID}
	w.must(w.db.View(context.Background(), func(tx *store.Tx) (err error) {
		a.May, err = access.Load(tx, w.who.ID, w.tenant, now())
		return err
	}))
	return a
}

// wish sets the time server of all PBXs.
func (w *world) wish(plan store.RolloutPlan) Wish {
	return Wish{Name: "Time", Kind: store.RolloutSettings, Settings: Values{"ntp_server": json.RawMessage(`"new"`)}, Systems: w.systems, Plan: plan}
}

func (w *world) create(s *Service, wish Wish) store.RolloutID {
	w.t.Helper()
	r, err := s.Create(context.Background(), w.actor(), wish)
	w.must(err)
	return r.ID
}

func (w *world) control(s *Service, id store.RolloutID, a Action) {
	w.t.Helper()
	_, err := s.Control(context.Background(), w.actor(), id, a)
	w.must(err)
}

func (w *world) rollout(id store.RolloutID) (r store.Rollout) {
	w.t.Helper()
	w.must(w.db.View(context.Background(), func(tx *store.Tx) (err error) {
		r, err = tx.Rollout(w.tenant, id, nil)
		return err
	}))
	return r
}

// await waits until a rollout is in a state.
func (w *world) await(id store.RolloutID, state store.RolloutState) store.Rollout {
	w.t.Helper()
	return w.awaitThat(id, "it is "+string(state), func(r store.Rollout) bool { return r.State == state })
}

func (w *world) awaitThat(id store.RolloutID, what string, is func(store.Rollout) bool) store.Rollout {
	w.t.Helper()
	timeout, every := time.After(30*24*time.Hour), time.Minute
	if !bubble() {
		timeout, every = time.After(60*time.Second), 50*time.Millisecond
	}
	for {
		r := w.rollout(id)
		if is(r) {
			return r
		}
		select {
		case <-w.told:
		case <-time.After(every):
		case <-timeout:
			w.t.Fatalf("%s: not in time; it is %s in ring %d: %v", what, r.State, r.Ring, w.states(id))
		}
	}
}

// bubble tells whether the clock is that of a bubble, which begins in 2000.
func bubble() bool { return time.Now().Year() < 2010 }

func (w *world) devices(id store.RolloutID) map[store.SystemID]store.RolloutDevice {
	w.t.Helper()
	all := map[store.SystemID]store.RolloutDevice{}
	w.must(w.db.View(context.Background(), func(tx *store.Tx) error {
		found, _, err := tx.RolloutDevices(w.tenant, id, store.RolloutDeviceFilter{}, store.Page{Limit: store.MaxPage})
		for _, d := range found {
			all[d.System] = d
		}
		return err
	}))
	return all
}

// states counts the systems by state and code.
func (w *world) states(id store.RolloutID) map[string]int {
	w.t.Helper()
	n := map[string]int{}
	for _, d := range w.devices(id) {
		n[string(bytes.TrimSpace([]byte(string(d.State)+" "+d.Code)))]++
	}
	return n
}

func (w *world) want(id store.RolloutID, want map[string]int) {
	w.t.Helper()
	if got := w.states(id); !maps.Equal(got, want) {
		w.t.Errorf("systems: got %v, want %v", got, want)
	}
}
