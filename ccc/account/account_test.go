package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/ccc/store/storetest"
)

const (
	email    = "jo@example.com"
	password = "correct horse battery"
)

// world is an open store with one account.
type world struct {
	*Accounts
	db     *store.DB
	tenant store.TenantID
	user   store.User
	hashes *atomic.Int64 // how often a password was compared
}

func config(db *store.DB) Config {
	return Config{Store: db, Hash: Hash{Memory: 8 << 20, Passes: 1, Lanes: 1}}
}

func openStore(t testing.TB, path string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func newWorld(t testing.TB) *world {
	t.Helper()
	db := openStore(t, storetest.SQLite(t).Path)
	t.Cleanup(func() { _ = db.Close() })
	tenant := store.Tenant{ID: store.NewID[store.TenantID](), Kind: store.KindCustomer, Name: "Example", Created: time.Now()}
	if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateTenant(tenant) }); err != nil {
		t.Fatal(err)
	}
	w := &world{db: db, tenant: tenant.ID}
	w.restart(t, config(db))
	w.user = w.create(t, email, password)
	return w
}

// restart makes new accounts over the same store.
func (w *world) restart(t testing.TB, cfg Config) {
	t.Helper()
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Accounts, w.hashes = a, new(atomic.Int64)
	verify := a.verify
	a.verify = func(password, hash string) (bool, bool, error) {
		w.hashes.Add(1)
		return verify(password, hash)
	}
}

func (w *world) create(t testing.TB, email, password string) store.User {
	t.Helper()
	user, err := w.Create(t.Context(), NewUser{
		Tenant: w.tenant, Email: email, Name: "Jo", Roles: []store.Role{store.RoleOwner}, Language: store.French, Password: password,
	})
	if err != nil {
		t.Fatal(err)
	}
	return user
}

func TestCreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct{ email, password, code string }{
		{"jo", password, "email_invalid"},
		{"", password, "email_invalid"},
		{"a\u202eb@example.com", password, "email_invalid"}, // which turns what is beside it around
		{"Jo <jo2@example.com>", password, "email_invalid"},
		{strings.Repeat("a", 250) + "@x.de", password, "email_invalid"},
		{"a@example.com", "", "password_short"},
		{"a@example.com", "elevenbytes", "password_short"},
		{"a@example.com", strings.Repeat("x", 129), "password_long"},
		{"a@example.com", strings.Repeat("x", 1<<20), "password_long"},
		{"a@example.com", "A@example.com", "password_email"},
		{"a@example.com", password + "\xff", "password_invalid"},
		{"a@example.com", "twelve bytes", ""},
		{" B@Example.COM ", strings.Repeat("x", 128), ""},
	} {
		user, err := w.Create(t.Context(), NewUser{Tenant: w.tenant, Email: tt.email, Roles: []store.Role{store.RoleMonitoring}, Language: store.German, Password: tt.password})
		if invalid, ok := errors.AsType[*InvalidError](err); ok != (tt.code != "") || ok && invalid.Code != tt.code {
			t.Errorf("%.40q %.20q: %v, want %q", tt.email, tt.password, err, tt.code)
		}
		if tt.code == "" && (err != nil || user.Email != strings.ToLower(strings.TrimSpace(tt.email))) {
			t.Errorf("%q: %+v, %v", tt.email, user, err)
		}
		if err != nil && tt.password != "" && strings.Contains(err.Error(), tt.password) {
			t.Error("the error shows the password")
		}
	}
	_, err := w.Create(t.Context(), NewUser{Tenant: w.tenant, Email: "JO@example.com", Roles: []store.Role{store.RoleMonitoring}, Language: store.German, Password: password})
	if c, ok := errors.AsType[*store.ConflictError](err); !ok || c.What != "email" {
		t.Errorf("an address that is there: %v", err)
	}
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, address := range []string{email, " JO@Example.com"} {
		got, err := w.SignIn(t.Context(), address, password, netip.Prefix{})
		if err != nil || !reflect.DeepEqual(got, w.user) {
			t.Errorf("%q: %+v, %v", address, got, err)
		}
	}
	for _, wrong := range []string{"", password + " ", strings.ToUpper(password), w.user.PasswordHash} {
		if _, err := w.SignIn(t.Context(), email, wrong, netip.Prefix{}); !errors.Is(err, ErrCredentials) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// The same letters typed on another system: é as one character or as two.
func TestPasswordsAreNormalised(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "fr@example.com", "pre\u0301ce\u0301demment")
	if _, err := w.SignIn(t.Context(), "fr@example.com", "pr\u00e9c\u00e9demment", netip.Prefix{}); err != nil {
		t.Error(err)
	}
	if _, err := w.SignIn(t.Context(), "fr@example.com", "precedemment", netip.Prefix{}); !errors.Is(err, ErrCredentials) {
		t.Errorf("without accents: %v", err)
	}
}

// Nothing tells an account that is not there from one that is: the error is the same, a
// hash is computed, and the limits are.
func TestNoOracle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create(t, "long@example.com", password)
		disabled := w.create(t, "disabled2@example.com", password)
		if err := w.SetDisabled(t.Context(), w.tenant, disabled.ID, true); err != nil {
			t.Fatal(err)
		}
		var first []string
		for _, tt := range []struct{ email, password string }{
			{email, "wrong password!"},
			{"long@example.com", strings.Repeat("long", 1<<16)},
			{"nobody@example.com", password},
			{"not an address", password},
			{strings.Repeat("x", 1<<16), password},
			{"disabled2@example.com", password},
			{"disabled2@example.com\x00", password},
		} {
			var answers []string
			for range 8 {
				before := w.hashes.Load()
				_, err := w.SignIn(t.Context(), tt.email, tt.password, netip.Prefix{})
				answers = append(answers, fmt.Sprintf("%v after %d hashes", err, w.hashes.Load()-before))
			}
			if first == nil {
				first = answers
			}
			if got, want := strings.Join(answers, "\n"), strings.Join(first, "\n"); got != want {
				t.Errorf("%.30q: got\n%s\nwant\n%s", tt.email, got, want)
			}
		}
		if !strings.Contains(first[0], "after 1 hashes") || !strings.Contains(first[7], "try again in 1s after 0 hashes") {
			t.Errorf("the answers are %q", first)
		}
	})
}

func TestDelaysGrow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		wrong := func() error {
			_, err := w.SignIn(t.Context(), email, "wrong password!", netip.Prefix{})
			return err
		}
		limited := func(want time.Duration) {
			t.Helper()
			_, err := w.SignIn(t.Context(), email, password, netip.Prefix{})
			l, ok := errors.AsType[*LimitedError](err)
			if !ok || !errors.Is(err, ErrLimited) || l.RetryAfter != want {
				t.Fatalf("got %v, want to wait %s", err, want)
			}
		}
		for range 5 {
			if err := wrong(); !errors.Is(err, ErrCredentials) {
				t.Fatal(err)
			}
		}
		for want := time.Second; ; want *= 2 {
			want = min(want, 15*time.Minute)
			limited(want)
			time.Sleep(want - time.Millisecond)
			limited(time.Millisecond) // asking has not made it longer
			time.Sleep(time.Millisecond)
			if err := wrong(); !errors.Is(err, ErrCredentials) {
				t.Fatal(err)
			}
			if want == 15*time.Minute {
				break
			}
		}
		// It holds after a restart, and for another server at the same database.
		w.restart(t, config(w.db))
		limited(15 * time.Minute)
		time.Sleep(15 * time.Minute)
		if _, err := w.SignIn(t.Context(), email, password, netip.Prefix{}); err != nil {
			t.Fatal(err)
		}
		// The right password has forgotten the wrong ones.
		for range 5 {
			if err := wrong(); !errors.Is(err, ErrCredentials) {
				t.Fatal(err)
			}
		}
		limited(time.Second)
		time.Sleep(24 * time.Hour)
		if _, err := w.SignIn(t.Context(), email, password, netip.Prefix{}); err != nil {
			t.Errorf("after the window: %v", err)
		}
	})
}

// Of many tries at once no more are let through than of one after the other.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := config(w.db)
	cfg.Limits.FirstDelay = 15 * time.Minute // longer than the test takes on any machine
	w.restart(t, cfg)
	errs := make(chan error)
	for range 40 {
		go func() {
			_, err := w.SignIn(t.Context(), email, "wrong password!", netip.Prefix{})
			errs <- err
		}()
	}
	wrong := 0
	for range 40 {
		err := <-errs
		switch {
		case errors.Is(err, ErrCredentials):
			wrong++
		case !errors.Is(err, ErrLimited):
			t.Error(err)
		}
	}
	if wrong != 5 || w.hashes.Load() != 5 {
		t.Errorf("%d tries were let through, with %d hashes", wrong, w.hashes.Load())
	}
}

func TestPrefixes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		cfg := config(w.db)
		cfg.Limits.PrefixTries = 3
		w.restart(t, cfg)
		from := Prefix("[2001:db8:1:2:3::4]:5000")
		try := func(who, password string, from netip.Prefix) error {
			_, err := w.SignIn(t.Context(), who, password, from)
			return err
		}
		for i := range 3 {
			if err := try(fmt.Sprintf("%d@example.com", i), password, from); !errors.Is(err, ErrCredentials) {
				t.Fatal(err)
			}
			// An account of his own does not help.
			if i == 1 {
				if err := try(email, password, from); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := try(email, password, Prefix("[2001:db8:1:ff::1]:1")); !errors.Is(err, ErrLimited) {
			t.Errorf("from the same prefix: %v", err)
		}
		if err := try(email, password, Prefix("[2001:db8:1:100::1]:1")); err != nil {
			t.Errorf("from another prefix: %v", err)
		}
		w.restart(t, cfg)
		if err := try(email, password, from); err != nil {
			t.Errorf("with another key: %v", err)
		}
	})
}

// A stranger who guesses does not lock the owner out, nor do many strangers where the
// owner was before; to the others they do.
func TestStrangersLockNobodyOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		cfg := config(w.db)
		cfg.Limits.AccountTries, cfg.Limits.EverywhereTries = 3, 10
		w.restart(t, cfg)
		home, office := Prefix("203.0.113.1:1"), Prefix("203.0.113.2:1")
		try := func(password string, from netip.Prefix) error {
			_, err := w.SignIn(t.Context(), email, password, from)
			return err
		}
		if err := try(password, home); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := try("wrong password!", Prefix("198.51.100.1:1")); !errors.Is(err, ErrCredentials) {
				t.Fatal(err)
			}
		}
		if err := try(password, Prefix("198.51.100.1:1")); !errors.Is(err, ErrLimited) {
			t.Errorf("the stranger goes on: %v", err)
		}
		if err := try(password, office); err != nil {
			t.Errorf("one stranger locks the owner out: %v", err)
		}
		for i := 2; ; i++ {
			err := try("wrong password!", Prefix(fmt.Sprintf("198.51.100.%d:1", i)))
			if errors.Is(err, ErrLimited) {
				if i != 9 { // 3 tries, and 7 of others
					t.Errorf("the delay is there after %d strangers", i-1)
				}
				break
			}
			if i > 20 {
				t.Fatalf("no number of strangers is too many: %v", err)
			}
		}
		for name, from := range map[string]netip.Prefix{"home": home, "office": office} {
			if err := try(password, from); err != nil {
				t.Errorf("many strangers lock the owner out at %s: %v", name, err)
			}
			if err := try("wrong password!", from); !errors.Is(err, ErrCredentials) {
				t.Errorf("at %s: %v", name, err)
			}
		}
		if err := try(password, Prefix("203.0.113.3:1")); !errors.Is(err, ErrLimited) {
			t.Errorf("at another place, while strangers try: %v", err)
		}
		// At the known place guesses end as anywhere.
		for range 2 {
			if err := try("wrong password!", home); !errors.Is(err, ErrCredentials) {
				t.Fatal(err)
			}
		}
		if err := try(password, home); !errors.Is(err, ErrLimited) {
			t.Errorf("guesses at home: %v", err)
		}
		// A new password from an administrator ends what strangers did.
		if err := w.ResetPassword(t.Context(), w.tenant, w.user.ID, password+"2"); err != nil {
			t.Fatal(err)
		}
		if err := try(password+"2", Prefix("203.0.113.3:1")); err != nil {
			t.Errorf("after a reset: %v", err)
		}
	})
}

func TestKnownNetworksAreBounded(t *testing.T) {
	t.Parallel()
	k := &known{most: 2, all: map[string]struct{}{}}
	for _, from := range []string{"a", "b", "c", "c", ""} {
		k.add(from)
	}
	if len(k.all) != 2 || !k.has("c") || k.has("") {
		t.Errorf("known are %v", k.all)
	}
}

// Neither the address of a client nor that of an account which is not there is kept.
func TestNoAddressIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "backup")
	for range 3 {
		if _, err := w.SignIn(t.Context(), "nobody@example.com", password, Prefix("203.0.113.77:5000")); !errors.Is(err, ErrCredentials) {
			t.Fatal(err)
		}
	}
	if _, err := w.SignIn(t.Context(), email, password, Prefix("[2001:db8:77::1]:5000")); err != nil {
		t.Fatal(err)
	}
	if err := store.Backup(t.Context(), w.db, path); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"203.0.113": false, "\xcb\x00\x71\x4d": false, "2001:db8": false, "\x20\x01\x0d\xb8": false, "nobody": false,
		email: true, prefixKind: true, accountKind: true,
	} {
		if got := bytes.Contains(file, []byte(text)); got != want {
			t.Errorf("%q in the store: %v, want %v", text, got, want)
		}
	}
}

func TestPrefix(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"192.0.2.7:80":                 "192.0.2.7/32",
		"192.0.2.7":                    "192.0.2.7/32",
		"[::ffff:192.0.2.7]:80":        "192.0.2.7/32",
		"[2001:db8:1:2ff:3:4:5:6]:80":  "2001:db8:1:200::/56",
		"[fe80::1%eth0]:80":            "fe80::/56",
		"2001:db8::1":                  "2001:db8::/56",
		"":                             "invalid Prefix",
		"pipe":                         "invalid Prefix",
		"@":                            "invalid Prefix",
		"example.com:80":               "invalid Prefix",
		"192.0.2.7.8:80":               "invalid Prefix",
		"[2001:db8:1:2ff:3:4:5:6%]:80": "invalid Prefix",
	} {
		if got := Prefix(addr).String(); got != want {
			t.Errorf("%q: %s, want %s", addr, got, want)
		}
	}
}

// Other parameters: the hash is made anew at the sign-in, and only then.
func TestRehash(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := config(w.db)
	cfg.Hash.Passes = 2
	w.restart(t, cfg)
	if _, err := w.SignIn(t.Context(), email, "wrong password!", netip.Prefix{}); !errors.Is(err, ErrCredentials) {
		t.Fatal(err)
	}
	stored := func() (user store.User) {
		err := w.db.View(t.Context(), func(tx *store.Tx) (err error) {
			user, err = tx.User(w.tenant, w.user.ID)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return user
	}
	if got := stored().PasswordHash; got != w.user.PasswordHash || !strings.Contains(got, "m=8192,t=1,p=1") {
		t.Errorf("after a wrong password the hash is %s", got)
	}
	for range 2 {
		user, err := w.SignIn(t.Context(), email, password, netip.Prefix{})
		if err != nil {
			t.Fatal(err)
		}
		if got := stored(); !reflect.DeepEqual(got, user) || !strings.Contains(got.PasswordHash, "m=8192,t=2,p=1") {
			t.Errorf("after the sign-in: %+v, want %+v", got, user)
		}
	}
}

// What waits for a slot beyond the queue is refused.
func TestQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := config(w.db)
	cfg.Hash.Parallel, cfg.Hash.Queue = 1, 2
	cfg.Limits.AccountTries = 100
	w.restart(t, cfg)
	running, hold := make(chan struct{}), make(chan struct{})
	w.verify = func(string, string) (bool, bool, error) {
		running <- struct{}{}
		<-hold
		return false, false, nil
	}
	errs := make(chan error)
	for range 4 {
		go func() {
			_, err := w.SignIn(t.Context(), email, password, netip.Prefix{})
			errs <- err
		}()
	}
	<-running
	if err := <-errs; !errors.Is(err, ErrLimited) { // one of the four had no place
		t.Errorf("beyond the queue: %v", err)
	}
	close(hold)
	for i := range 3 {
		if i > 0 {
			<-running
		}
		if err := <-errs; !errors.Is(err, ErrCredentials) {
			t.Error(err)
		}
	}
}

// New passwords have slots of their own: however many accounts are to be made, people sign
// in, and what goes beyond these slots is refused.
func TestNewPasswordsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := config(w.db)
	cfg.Hash.Parallel, cfg.Hash.Queue, cfg.Hash.NewParallel, cfg.Hash.NewQueue = 1, 1, 1, 1
	w.restart(t, cfg)
	release, err := w.creates.take(t.Context()) // as one whose hash is being computed
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() {
		_, err := w.creates.take(ctx)
		waiting <- err
	}()
	for w.creates.all.TryAcquire(1) { // until it waits
		w.creates.all.Release(1)
		runtime.Gosched()
	}
	one := NewUser{Tenant: w.tenant, Email: "new@example.com", Roles: []store.Role{store.RoleMonitoring}, Language: store.German, Password: password}
	if _, err := w.Create(t.Context(), one); !errors.Is(err, ErrLimited) {
		t.Errorf("an account beyond the queue: %v", err)
	}
	if _, err := w.SignIn(t.Context(), email, password, netip.Prefix{}); err != nil {
		t.Errorf("a sign-in meanwhile: %v", err)
	}
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	release()
	if _, err := w.Create(t.Context(), one); err != nil {
		t.Errorf("with a free slot: %v", err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
	for want, cfg := range map[string]Config{
		"idle":                 {Idle: time.Second},
		"lifetime":             {Lifetime: time.Minute},
		"second_factor":        {SecondFactor: "sometimes"},
		"fresh":                {Fresh: time.Second},
		"external_url":         {ExternalURL: "ccc.example.com"},
		"hash.memory":          {Hash: Hash{Memory: 1}},
		"hash.passes":          {Hash: Hash{Passes: 101}},
		"hash.lanes":           {Hash: Hash{Lanes: 17}},
		"hash.parallel":        {Hash: Hash{Parallel: -1}},
		"hash.queue":           {Hash: Hash{Queue: -1}},
		"hash.new_parallel":    {Hash: Hash{NewParallel: -1}},
		"hash.new_queue":       {Hash: Hash{NewQueue: -1}},
		"invitation_again":     {InvitationAgain: time.Second},
		"limits.account_tries": {Limits: Limits{AccountTries: -1}},
		"limits.prefix_tries":  {Limits: Limits{PrefixTries: -1}},
		"limits.first_delay":   {Limits: Limits{FirstDelay: time.Hour}},
		"limits.max_delay":     {Limits: Limits{MaxDelay: 48 * time.Hour}},
		"limits.window":        {Limits: Limits{Window: 1000 * time.Hour}},
	} {
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), want+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("accounts without a store")
	}
}
