package pairing

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/ccc/store/storetest"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

const (
	td     = identity.DefaultTrustDomain
	serial = identity.Serial("0123456789")
	other  = identity.Serial("9876543210")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a control centre on a database, with two tenants, and the PBXs that are
// connected to it. Nothing runs by itself: deliver does what Run would.
type site struct {
	*Service
	t    testing.TB
	ca   *pkitest.CA
	cfg  Config
	dir  string
	key  string // of the sealed secrets
	logs *buffer
	a, b Actor
	url  string // of the database, where it is PostgreSQL
	// urlFile has it, for the store.
	urlFile configs.SecretFile

	beside *sql.DB // see raw

	faults *faults   // of transactions
	losses *faults   // of requests, both ways
	front  *listener // what PBXs call

	mu      sync.Mutex
	pbxs    map[identity.Serial]*pbx
	changes []Change
}

// engines runs a test with a site on each engine.
func engines(t *testing.T, test func(t *testing.T, s *site)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newSite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		cfg := storetest.Postgres(t)
		url, err := cfg.URLFile.Read()
		if err != nil {
			t.Fatal(err)
		}
		test(t, newSite(t, func(s *site) { s.url, s.urlFile = strings.TrimSpace(string(url)), cfg.URLFile }))
	})
}

// newSite opens a site. Options change the configuration before.
func newSite(t testing.TB, options ...func(*site)) *site {
	t.Helper()
	s := &site{
		t: t, ca: pkitest.New(t, td), dir: t.TempDir(), logs: &buffer{}, pbxs: map[identity.Serial]*pbx{}, faults: &faults{}, losses: &faults{},
		a: Actor{store.NewID[store.TenantID](), store.NewID[store.UserID]()},
		b: Actor{store.NewID[store.TenantID](), store.NewID[store.UserID]()},
	}
	s.key = seal.NewKey()
	keys, err := seal.New(s.key)
	if err != nil {
		t.Fatal(err)
	}
	s.cfg = Config{
		Keys: keys, Credentials: s.ca.Credentials(identity.Service(td, "ccc")), Dial: s.dial,
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: s.logs, JSONFormat: true}),
		Notify: func(c Change) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.changes = append(s.changes, c)
		},
	}
	for _, o := range options {
		o(s)
	}
	cfg := store.Config{Path: s.file(), BusyTimeout: time.Minute, ScrubAfter: time.Hour}
	if s.url != "" {
		cfg = store.Config{Engine: store.Postgres, URLFile: s.urlFile, RetryFor: time.Minute}
	} else {
		storetest.Write(t, s.file())
	}
	if s.cfg.Store, err = store.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.cfg.Store.Close(); err != nil {
			t.Error(err)
		}
	})
	s.cfg.update = s.faults.around(s.cfg.Store.Update)
	s.update(func(tx *store.Tx) error {
		return errors.Join(
			tx.CreateTenant(tenant(s.a.Tenant, "Acker")), tx.CreateUser(user(s.a, "a@example.com")),
			tx.CreateTenant(tenant(s.b.Tenant, "Bauer")), tx.CreateUser(user(s.b, "b@example.com")),
		)
	})
	s.open()
	s.front = newListener()
	s.serve(t, s.front, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.Handler().ServeHTTP(w, r) }))
	return s
}

func tenant(id store.TenantID, name string) store.Tenant {
	return store.Tenant{ID: id, Kind: store.KindCustomer, Name: name, LegalName: name + " GmbH & Co. KG", Brand: "auerswald", Created: now()}
}

func user(a Actor, email string) store.User {
	return store.User{ID: a.User, Tenant: a.Tenant, Email: email, Name: email, Roles: []store.Role{store.RoleOwner}, Language: store.German, PasswordHash: "x", Created: now()}
}

// file is SQLite's.
func (s *site) file() string { return filepath.Join(s.dir, "ccc.db") }

// open makes a service on the database, as a process that starts does.
func (s *site) open() {
	s.t.Helper()
	if s.Service != nil {
		s.calls.stop()
	}
	svc, err := New(s.cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Service = svc
	s.t.Cleanup(svc.calls.stop)
}

// serve runs a server on a listener until the test ends.
func (s *site) serve(t testing.TB, ln *listener, h http.Handler) {
	srv := &http.Server{Handler: s.losses.lossy(h), ConnContext: ConnContext, ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-ended })
}

// update changes the database beside the service.
func (s *site) update(f func(*store.Tx) error) {
	s.t.Helper()
	if err := s.cfg.Store.Update(s.t.Context(), f); err != nil {
		s.t.Fatal(err)
	}
}

// read looks into the database.
func read[T any](s *site, f func(*store.Tx) (T, error)) T {
	s.t.Helper()
	var v T
	err := s.cfg.Store.View(s.t.Context(), func(tx *store.Tx) (err error) {
		v, err = f(tx)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// deliver does what waits, as Run does, until nothing is queued. What failed is left.
func (s *site) deliver() {
	s.t.Helper()
	for {
		serial, withdrawn, ok := s.calls.next()
		if !ok {
			return
		}
		s.calls.done(serial, s.visit(s.t.Context(), serial, withdrawn))
	}
}

// dial connects the service with a PBX.
func (s *site) dial(ctx context.Context, serial identity.Serial, service string) (net.Conn, error) {
	s.mu.Lock()
	p := s.pbxs[serial]
	s.mu.Unlock()
	if p == nil {
		return nil, errOffline
	}
	return p.dial(ctx, service)
}

var errOffline = errors.New("not reachable (AUER-1301)")

// save saves a serial for a tenant.
func (s *site) save(a Actor, serial identity.Serial) (store.System, OfferView) {
	s.t.Helper()
	sys, offer, err := s.Save(s.t.Context(), a, NewSystem{Serial: string(serial), Name: "PBX " + string(serial)})
	if err != nil {
		s.t.Fatal(err)
	}
	return sys, offer
}

// pair brings a new PBX and a tenant together.
func (s *site) pair(a Actor, serial identity.Serial) (*pbx, store.System) {
	s.t.Helper()
	p := s.pbxs[serial]
	if p == nil {
		p = s.newPBX(serial)
	}
	sys, offer := s.save(a, serial)
	s.deliver()
	if err := p.typed(offer.Token); err != nil {
		s.t.Fatal(err)
	}
	s.deliver()
	sys = s.system(a, sys.ID)
	if sys.State != store.StatePaired || p.pairing == "" {
		s.t.Fatalf("the system is %s, the PBX has pairing %q", sys.State, p.pairing)
	}
	return p, sys
}

func (s *site) system(a Actor, id store.SystemID) store.System {
	s.t.Helper()
	return read(s, func(tx *store.Tx) (store.System, error) { return tx.System(a.Tenant, id) })
}

// steps gives the changes since the last call, as "kind step" with a letter for the
// tenant before it.
func (s *site) steps() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.changes {
		who := "a:"
		if c.Tenant == s.b.Tenant {
			who = "b:"
		}
		if all = append(all, who+string(c.Kind)); c.Step != "" {
			all[len(all)-1] = strings.TrimSpace(who + string(c.Step) + " " + c.Detail)
		}
	}
	s.changes = nil
	return all
}

// listener takes connections in memory.
type listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newListener() *listener { return &listener{conns: make(chan net.Conn), done: make(chan struct{})} }

// connect gives the client's end; the server's end is of peer.
func (l *listener) connect(ctx context.Context, peer identity.ID) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case l.conns <- peered{b, peer}:
		return a, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// peered is a connection whose other side is known.
type peered struct {
	net.Conn
	id identity.ID
}

func (p peered) Peer() identity.ID { return p.id }

// as gives the control centre as a PBX reaches it, as whoever id says.
func (s *site) as(id identity.ID) wire.CCC {
	return wire.CCC{HTTP: wire.HTTPClient(func(ctx context.Context) (net.Conn, error) { return s.front.connect(ctx, id) })}
}

// faults fails one of the service's transactions, or loses one of the requests.
type faults struct {
	count atomic.Int64 // since it was set
	at    atomic.Int64 // which fails, from 1; 0: none
	mode  atomic.Value // fault
}

// fault is the way in which a transaction or a request fails.
type fault string

const (
	faultBefore   fault = "before"   // the process dies before
	faultRollback fault = "rollback" // the transaction is undone at its end
	faultAfter    fault = "after"    // it is made, and nobody is told
)

var errFault = errors.New("the process died")

func (f *faults) set(at int64, mode fault) {
	f.count.Store(0)
	f.mode.Store(mode)
	f.at.Store(at)
}

// fired tells whether the fault has happened.
func (f *faults) fired() bool { return f.at.Load() > 0 && f.count.Load() >= f.at.Load() }

// lossy loses a request before it is served, or its answer.
func (f *faults) lossy(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.count.Add(1) == f.at.Load() {
			if f.mode.Load() == faultAfter {
				next.ServeHTTP(httptest.NewRecorder(), r)
			}
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
}

func (f *faults) around(update func(context.Context, func(*store.Tx) error) error) func(context.Context, func(*store.Tx) error) error {
	return func(ctx context.Context, do func(*store.Tx) error) error {
		if f.count.Add(1) != f.at.Load() {
			return update(ctx, do)
		}
		switch f.mode.Load() {
		case faultBefore:
			return errFault
		case faultAfter:
			if err := update(ctx, do); err != nil {
				return err
			}
			return errFault
		default:
			return update(ctx, func(tx *store.Tx) error {
				if err := do(tx); err != nil {
					return err
				}
				return errFault
			})
		}
	}
}

// buffer may be written to by several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
