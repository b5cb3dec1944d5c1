package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/mail"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/remote"
	"github.com/comtrexx-cloud/comtrexx/ccc/rollout"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/ccc/store/storetest"
	"github.com/comtrexx-cloud/comtrexx/ccc/webhook"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testPassword is that of every user.
const testPassword = "correct horse battery"

// cheap takes the time out of the hashes of passwords.
func cheap() account.Config {
	return account.Config{Hash: account.Hash{Memory: 8 << 20, Passes: 1, Lanes: 1, Parallel: 8}, SecondFactor: account.Offered}
}

// world is an API with a store, the real accounts and the real pairing service, whose
// PBXs cannot be reached.
type world struct {
	t        *testing.T
	api      *API
	db       *store.DB
	accounts *account.Accounts
	fleet    *fakeFleet
	url      string
	path     string // of the database
	pbx      *fakePBX
	broker   *remote.Broker
	rollouts *rollout.Service
	settings *fakeSettings
	session  string // a remote access, of the last scene
	webhooks *webhook.Service
	keys     *seal.Keyring
	north    store.TenantID
	south    store.TenantID
}

// options change a world before it is made.
type options struct {
	api     Config
	account account.Config
	limits  pairing.Limits
	remote  remote.Config
	rollout rollout.Config
	// noFirmware: there is no place for images.
	noFirmware bool
	replace    func(Pairing) Pairing
	view       func(view) view // of live events
	adapt      func(string, rule) rule
	extra      func(*API)
	mail       bool         // mails are queued, and nobody sends them
	store      store.Config // default: SQLite, in a file of the test
}

type view = func(context.Context, func(*store.Tx) error) error

func newWorld(t *testing.T, change ...func(*options)) *world {
	t.Helper()
	o := options{account: cheap(), remote: remote.Config{ARAURL: "https://ara.example.net:8443", RequireSecondFactor: new(false)}, replace: func(p Pairing) Pairing { return p }, view: func(v view) view { return v }, adapt: asItIs, extra: func(*API) {}}
	for _, f := range change {
		f(&o)
	}
	w := &world{t: t, fleet: newFakeFleet(), pbx: &fakePBX{}, settings: &fakeSettings{}}
	w.path = filepath.Join(t.TempDir(), "ccc.db")
	var err error
	if o.store.Engine == "" {
		o.store.Path = w.path
		storetest.Write(t, w.path)
	}
	w.db, err = store.Open(t.Context(), o.store)
	w.must(err)
	t.Cleanup(func() { w.must(w.db.Close()) })
	keys, err := seal.New(seal.NewKey())
	w.must(err)
	o.account.Store, o.account.Keys = w.db, keys
	w.keys = keys
	if o.mail {
		o.account.ExternalURL = cmp.Or(o.account.ExternalURL, "http://localhost")
		o.account.Mail, err = mail.New(mail.Config{Server: "127.0.0.1:1", From: "ccc@example.net", Store: w.db, Keys: keys})
		w.must(err)
	}
	w.accounts, err = account.New(o.account)
	w.must(err)
	ca := pkitest.New(t, identity.DefaultTrustDomain)
	service, err := pairing.New(pairing.Config{
		Limits: o.limits, Store: w.db, Keys: keys,
		Credentials: ca.Credentials(identity.Service(identity.DefaultTrustDomain, "ccc")),
		Dial: func(context.Context, identity.Serial, string) (net.Conn, error) {
			return nil, errors.New("no PBX can be reached")
		},
		Notify: func(c pairing.Change) { w.api.PairingChanged(c) },
	})
	w.must(err)
	o.remote.Store, o.remote.PBX, o.remote.Credentials = w.db, w.pbx, ca.Credentials(identity.Service(identity.DefaultTrustDomain, "ccc"))
	o.remote.Notify = func(tenant store.TenantID, system store.SystemID) { w.api.RemoteChanged(tenant, system) }
	w.webhooks, err = webhook.New(webhook.Config{Store: w.db, Keys: keys, AllowNetworks: []string{"127.0.0.0/8"}})
	w.must(err)
	o.api.Webhooks = w.webhooks
	w.broker, err = remote.New(o.remote)
	w.must(err)
	o.rollout.Store, o.rollout.Keys, o.rollout.Online = w.db, keys, w.fleet.IsOnline
	o.rollout.Notify = func(tenant store.TenantID) { w.api.RolloutChanged(tenant) }
	o.rollout.Connect = func(p store.Pairing) rollout.PBX { return w.settings.of(p.Serial) }
	if !o.noFirmware {
		o.rollout.FirmwareDir, o.rollout.FirmwareKeys = t.TempDir(), []string{makerKeys(t)}
	}
	w.rollouts, err = rollout.New(o.rollout)
	w.must(err)
	o.api.Rollouts = w.rollouts
	o.api.Remote = w.broker
	o.api.Credentials = o.remote.Credentials
	o.api.Store, o.api.Keys, o.api.Accounts, o.api.Pairing, o.api.Fleet = w.db, keys, w.accounts, o.replace(service), w.fleet
	w.api, err = newWith(o.api, o.adapt)
	w.must(err)
	o.extra(w.api)
	w.api.view = o.view(w.api.view)
	w.north, w.south = w.tenant("North GmbH"), w.tenant("South SARL")
	return w
}

// engines runs a test with a world on each engine, with its API on a port.
func engines(t *testing.T, test func(t *testing.T, w *world), change ...func(*options)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newWorld(t, change...).serve())
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		cfg := storetest.Postgres(t)
		test(t, newWorld(t, append(slices.Clone(change), func(o *options) { o.store = cfg })...).serve())
	})
}

// serve puts the API on a port, with its loop beside it.
func (w *world) serve() *world {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.api.Run(ctx) }()
	server := httptest.NewServer(w.api.Handler())
	w.t.Cleanup(func() {
		w.must(w.api.Drain(ctx))
		server.Close()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			w.t.Errorf("Run gives %v", err)
		}
	})
	<-w.api.Ready()
	w.url = server.URL
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) update(f func(*store.Tx) error) {
	w.t.Helper()
	w.must(w.db.Update(context.Background(), f))
}

func (w *world) tenant(name string) store.TenantID {
	w.t.Helper()
	v := store.Tenant{ID: store.NewID[store.TenantID](), Kind: store.KindCustomer, Name: name, LegalName: name, Created: time.Now()}
	w.update(func(tx *store.Tx) error { return tx.CreateTenant(v) })
	return v.ID
}

func (w *world) user(tenant store.TenantID, email string, role store.Role) store.User {
	w.t.Helper()
	roles := []store.Role{role}
	if role == "" {
		roles = nil
	}
	u, err := w.accounts.Create(context.Background(), account.NewUser{
		Tenant: tenant, Email: email, Name: "Name of " + email, Roles: roles, Language: store.German, Password: testPassword,
	})
	w.must(err)
	return u
}

// client is somebody at a browser.
type client struct {
	w    *world
	http *http.Client
	user store.User
	// bearer is an API token that it sends, and host the name that it asks for; empty: none,
	// and the server's address.
	bearer, host string
}

func (w *world) client() *client {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	w.must(err)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	w.t.Cleanup(transport.CloseIdleConnections)
	return &client{w: w, http: &http.Client{Transport: transport, Jar: jar}}
}

// signedIn is a new user of the tenant who has signed in.
func (w *world) signedIn(tenant store.TenantID, role store.Role) *client {
	w.t.Helper()
	email := strings.ToLower(string(store.NewID[store.UserID]())) + "@example.com"
	c := w.client()
	c.user = w.user(tenant, email, role)
	c.signIn(email)
	return c
}

func (c *client) signIn(email string) {
	c.w.t.Helper()
	c.do(http.MethodPost, "/session", `{"email":"`+email+`","password":"`+testPassword+`"}`).want(http.StatusOK)
}

// answer is what the API said.
type answer struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   []byte
}

// do sends a request below the prefix. Headers are "Name: value".
func (c *client) do(method, path, body string, headers ...string) answer {
	c.w.t.Helper()
	var reader io.Reader = http.NoBody
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(context.Background(), method, c.w.url+Prefix+path, reader)
	c.w.must(err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.host != "" {
		r.Host = c.host
	}
	if c.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	resp, err := c.http.Do(r)
	c.w.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	c.w.must(err)
	return answer{c.w.t, method + " " + path, resp.StatusCode, resp.Header, text}
}

// want checks the status.
func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: got %d %s, want %d", a.what, a.status, a.body, status)
	}
	return a
}

// problem checks that it is the problem with the code, and gives it.
func (a answer) problem(code Code) Problem {
	a.t.Helper()
	var p Problem
	if err := json.Unmarshal(a.body, &p); err != nil || p.Code != code {
		a.t.Fatalf("%s: got %d %s, want code %s", a.what, a.status, a.body, code)
	}
	if a.status != codes[code].status || p.Status != a.status || a.header.Get("Content-Type") != problemType {
		a.t.Errorf("%s: got status %d, type %s and %s", a.what, a.status, a.header.Get("Content-Type"), a.body)
	}
	return p
}

// read decodes the body strictly.
func read[T any](a answer) (v T) {
	a.t.Helper()
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		a.t.Fatalf("%s: %s: %v", a.what, a.body, err)
	}
	return v
}

// save saves a serial.
func (c *client) save(serial, name string) SystemOffer {
	c.w.t.Helper()
	return read[SystemOffer](c.do(http.MethodPost, "/systems", `{"serial":"`+serial+`","name":"`+name+`"}`).want(http.StatusCreated))
}

// pair takes a system to the state paired, as if its PBX had completed the offer, and
// waits until the API knows.
func (w *world) pair(tenant store.TenantID, id string) {
	w.t.Helper()
	system := store.SystemID(id)
	w.update(func(tx *store.Tx) error {
		s, err := tx.System(tenant, system)
		if err != nil {
			return err
		}
		o, err := tx.OpenOffer(tenant, system)
		if err != nil {
			return err
		}
		epoch, err := tx.NextEpoch(s.Serial)
		if err != nil {
			return err
		}
		return errors.Join(
			tx.CloseOffer(o.ID, store.OfferUsed, time.Now()),
			tx.SetState(tenant, system, []store.State{store.StateOffered}, store.StatePaired, "", time.Now()),
			tx.SetPaired(tenant, system, epoch, time.Now()),
			tx.CreatePairing(store.Pairing{
				ID: store.NewID[store.PairingID](), System: system, Tenant: tenant, Serial: s.Serial, Epoch: epoch,
				UserSealed: []byte("u"), PasswordSealed: []byte("p"), Offer: o.ID, Paired: time.Now(),
			}),
		)
	})
	r, _ := w.api.hub.join(tenant, "test", 1)
	defer w.api.hub.leave(r)
	w.api.PairingChanged(pairing.Change{Tenant: tenant, System: system, Kind: pairing.ChangeOffer, Step: pairing.StepProved})
	for told := false; !told; {
		select {
		case <-r.wake:
		case <-time.After(30 * time.Second):
			w.t.Fatal("the change is not dealt with")
		}
		all, _ := r.take()
		told = slices.ContainsFunc(all, func(m message) bool { return m.subject == subject{eventOffer, system} })
	}
}

// fakeFleet is presence that a test decides.
type fakeFleet struct {
	known chan struct{}

	mu     sync.Mutex
	all    map[identity.Serial]fleet.Status
	change chan fleet.Change
}

func newFakeFleet() *fakeFleet {
	f := &fakeFleet{known: make(chan struct{}), all: map[identity.Serial]fleet.Status{}, change: make(chan fleet.Change)}
	close(f.known)
	return f
}

func (f *fakeFleet) Status(s identity.Serial) (fleet.Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	status, known := f.all[s]
	return status, known
}

func (f *fakeFleet) IsOnline(s identity.Serial) bool {
	status, _ := f.Status(s)
	return status.Online
}

func (f *fakeFleet) Known() <-chan struct{} { return f.known }

func (f *fakeFleet) Subscribe(context.Context) <-chan fleet.Change { return f.change }

// set changes a status and tells of it; it returns once the change is taken.
func (f *fakeFleet) set(s identity.Serial, status fleet.Status) {
	f.mu.Lock()
	moved := f.all[s].Online != status.Online
	f.all[s] = status
	f.mu.Unlock()
	f.change <- fleet.Change{Serial: s, Status: status, Moved: moved}
}

// forget is for one that was offline for long.
func (f *fakeFleet) forget(s identity.Serial) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, s)
}
