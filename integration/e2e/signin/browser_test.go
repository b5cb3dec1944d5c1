package signin

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/remote"
	"github.com/comtrexx-cloud/comtrexx/ccc/rollout"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/ccc/web"
	"github.com/comtrexx-cloud/comtrexx/integration/e2e/browser"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const musterfirma store.TenantID = "musterfirma"

const password = "correct horse battery"

// nobody is a fleet without PBXs.
type nobody struct{ known chan struct{} }

func (nobody) Status(identity.Serial) (fleet.Status, bool)   { return fleet.Status{}, false }
func (nobody) IsOnline(identity.Serial) bool                 { return false }
func (n nobody) Known() <-chan struct{}                      { return n.known }
func (nobody) Subscribe(context.Context) <-chan fleet.Change { return make(chan fleet.Change) }
func unreachable(context.Context, identity.Serial, string) (net.Conn, error) {
	return nil, errors.New("there is no PBX")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// parts are what a test may change before a control centre starts.
type parts struct {
	url  string // its own address
	db   *store.DB
	keys *seal.Keyring
	account.Config
}

// centre starts a control centre with the real pages and two owners, and gives its
// address.
func centre(t *testing.T, dist string, change func(*parts)) string {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	db, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "ccc.db")})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	keys, err := seal.New(seal.NewKey())
	must(t, err)
	p := parts{db: db, keys: keys, url: "http://" + strings.Replace(server.Listener.Addr().String(), "127.0.0.1", "localhost", 1)}
	p.Config = account.Config{Store: db, Keys: keys, ExternalURL: p.url, Hash: account.Hash{Memory: 8 << 20, Passes: 1, Lanes: 1}}
	change(&p)
	accounts, err := account.New(p.Config)
	must(t, err)
	creds := pkitest.New(t, identity.DefaultTrustDomain).Credentials(identity.Service(identity.DefaultTrustDomain, "ccc"))
	var a *api.API
	service, err := pairing.New(pairing.Config{
		Store: db, Keys: keys, Credentials: creds, Dial: unreachable, Notify: func(c pairing.Change) { a.PairingChanged(c) },
	})
	must(t, err)
	broker, err := remote.New(remote.Config{
		Store: db, Credentials: creds, PBX: service, Notify: func(tenant store.TenantID, system store.SystemID) { a.RemoteChanged(tenant, system) },
	})
	must(t, err)
	pages, err := web.Handler(web.Config{Files: os.DirFS(dist)})
	must(t, err)
	n := nobody{make(chan struct{})}
	close(n.known)
	rollouts, err := rollout.New(rollout.Config{
		Store: db, Keys: keys, Online: n.IsOnline, Notify: func(tenant store.TenantID) { a.RolloutChanged(tenant) },
		Connect: func(store.Pairing) rollout.PBX { return nil }, // there is no PBX
	})
	must(t, err)
	a, err = api.New(api.Config{Rollouts: rollouts, Store: db, Keys: keys, Accounts: accounts, Pairing: service, Remote: broker, Fleet: n, Pages: pages})
	must(t, err)

	tenant := store.Tenant{ID: musterfirma, Kind: store.KindCustomer, Name: "Musterfirma", LegalName: "Musterfirma GmbH", Created: time.Now()}
	must(t, db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateTenant(tenant) }))
	for email, language := range map[string]store.Language{"anna@example.com": store.English, "benoit@example.com": store.French} {
		_, err := accounts.Create(t.Context(), account.NewUser{
			Tenant: tenant.ID, Email: email, Name: "Anna Example", Roles: []store.Role{store.RoleOwner}, Language: language, Password: password,
		})
		must(t, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	accountsDone := make(chan error, 1)
	go func() { accountsDone <- accounts.Run(ctx) }()
	server.Config.Handler = a.Handler()
	server.Start()
	t.Cleanup(func() {
		must(t, a.Drain(ctx))
		server.Close()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run gives %v", err)
		}
		must(t, <-accountsDone)
	})
	return p.url
}

// TestBrowser signs in in every way. With AUER_TEST_SCREENSHOTS it leaves pictures in that
// directory.
func TestBrowser(t *testing.T) {
	t.Parallel()
	browse(t, "testdata/browser.mjs", func(*parts) {}, nil)
}

// browse runs a script with a real browser at a control centre. What more is told to it is
// added to the world.
func browse(t *testing.T, script string, change func(*parts), more map[string]any) {
	t.Helper()
	b := browser.Find(t)
	told := map[string]any{"ccc": centre(t, b.Dist, change), "password": password}
	maps.Copy(told, more)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	b.Run(ctx, t, script, told)
}
