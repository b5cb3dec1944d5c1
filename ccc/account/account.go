// Package account knows who may use the control centre: users with passwords, and their
// sessions.
//
//	accounts, err := account.New(account.Config{Store: db})
//	handler := accounts.Middleware(mux)
//
// and in the handlers
//
//	user, err := accounts.SignIn(ctx, email, password, account.Prefix(r.RemoteAddr))
//	cookie, err := accounts.Begin(ctx, user) // into Set-Cookie
//	…
//	user, err := accounts.Current(ctx)
//	cookie, err := accounts.End(ctx)
//
// # Second factor
//
// A session says what it was proven with ([Proof]), and [Accounts.Standing] what it is good
// for: that of somebody with a second factor who has given the password alone is good for
// the second step alone. Second factors are codes by time (TOTP, RFC 6238), of which each is
// taken once, and passkeys (WebAuthn), which stand for the password too. Recovery codes,
// of which the store has hashes, help where both are lost. At each step of a proof the
// session gets a new token.
//
// At an OpenID provider of his tenant somebody signs in with an authorisation code (OpenID
// Connect Core §3.1), PKCE (RFC 7636), and state and nonce that are bound to his browser.
// Who he is follows from issuer and subject. The first link is made by an invitation, just
// in time, or by himself while he is signed in; never by an e-mail address. One that he has
// made he can end; an account that was made there stays the provider's.
//
// # Links
//
// Invitations and links for a new password have 256 random bits, of which the store has
// the hash, and are good once and for a while. Whether an address has an account is not
// told by asking for a link: what is asked for is looked at later.
//
// # API tokens
//
// [Accounts.NewToken] makes one for a program; the store has its hash. It does what its
// user may, as far as its scopes say so, and nothing of what this package is about.
//
// # Passwords
//
// Passwords are hashed with Argon2id. Whether an account exists cannot be told from
// the answer of a sign-in, from the time it takes or from its limits. No IP address is
// kept: a prefix is counted under a hash whose key is made at the start and only in
// memory.
//
// Wrong passwords are counted for an account and a network together, so that a stranger
// who guesses does not lock the owner out, and for each of them alone, where more is
// let through. Where an account was signed in to before, tries from elsewhere do not
// count.
//
// The token of a session is in its cookie alone; the store has its SHA-256. A session is
// made at each sign-in, never taken over from before it.
package account

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

var (
	// ErrCredentials: there is no such account, it is disabled, or the password is
	// another.
	ErrCredentials = errors.New("wrong e-mail address or password")
	// ErrLimited: too many wrong passwords; see [LimitedError].
	ErrLimited = errors.New("too many tries")
	// ErrNoSession: nobody is signed in, or no longer.
	ErrNoSession = errors.New("not signed in")
)

// LimitedError says when to try again. It wraps [ErrLimited].
type LimitedError struct{ RetryAfter time.Duration }

// Error gives the message.
func (e *LimitedError) Error() string {
	return fmt.Sprintf("%v; try again in %s", ErrLimited, e.RetryAfter.Round(time.Second))
}

// Is makes it an [ErrLimited].
func (e *LimitedError) Is(target error) bool { return target == ErrLimited }

// Accounts can be used by several goroutines at once.
type Accounts struct {
	cfg      Config
	db       *store.DB
	sessions *scs.SessionManager
	key      [32]byte // of the hashes of prefixes
	known    *known
	checks   slots         // for passwords that are tried
	creates  slots         // for new ones
	party    *relyingParty // nil: there are no passkeys
	// providers are those of Config.OIDC, asked with web.
	providers []*provider
	web       *http.Client
	resets    chan struct{} // wakes what answers requests for new passwords
	dummy     string        // the hash that the password of no account is compared with
	verify    func(password, hash string) (ok, old bool, err error)
}

// New makes the accounts of a store.
func New(cfg Config) (*Accounts, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Store == nil {
		return nil, errors.New("account: no store")
	}
	cfg.ExternalURL = strings.TrimSuffix(cfg.ExternalURL, "/")
	if cfg.Mail.Enabled() && cfg.ExternalURL == "" {
		return nil, &configs.KeyError{Key: "external_url", Problem: "is missing", Hint: "the links in mails lead there"}
	}
	cfg = cfg.withDefaults()
	a := &Accounts{
		cfg: cfg, db: cfg.Store,
		known:  &known{most: cfg.Limits.KnownNetworks, all: map[string]struct{}{}},
		checks: newSlots(cfg.Hash.Parallel, cfg.Hash.Queue), creates: newSlots(cfg.Hash.NewParallel, cfg.Hash.NewQueue),
	}
	_, _ = rand.Read(a.key[:]) // never fails
	a.resets = make(chan struct{}, 1)
	a.web = &http.Client{Timeout: cfg.OIDCTimeout}
	for _, p := range cfg.OIDC {
		a.providers = append(a.providers, &provider{Provider: p})
	}
	a.sessions = newManager(cfg)
	a.verify = a.compare
	var err error
	if a.party, err = newRelyingParty(cfg.ExternalURL); err != nil {
		return nil, err
	}
	a.dummy, err = a.hash(context.Background(), rand.Text())
	return a, err
}

// NewUser is what an account is made of.
type NewUser struct {
	Tenant   store.TenantID
	Email    string
	Name     string
	Roles    []store.Role // for the whole tenant
	Language store.Language
	Password string
	// Add adds it to the store, perhaps with something else. Default: tx.CreateUser.
	Add func(tx *store.Tx, user store.User) error
}

// Create makes an account. The errors are [InvalidError], those of the store for a wrong
// role or language, store.ErrConflict "email", and store.ErrNotFound for the tenant.
func (a *Accounts) Create(ctx context.Context, v NewUser) (store.User, error) {
	email, err := NormalizeEmail(v.Email)
	if err != nil {
		return store.User{}, err
	}
	password, err := checkPassword(v.Password, email)
	if err != nil {
		return store.User{}, err
	}
	hash, err := a.hash(ctx, password)
	if err != nil {
		return store.User{}, err
	}
	user := store.User{
		ID: store.NewID[store.UserID](), Tenant: v.Tenant, Email: email, Name: v.Name, Roles: v.Roles,
		Language: v.Language, PasswordHash: hash, Created: time.Now().UTC().Truncate(time.Millisecond),
	}
	add := v.Add
	if add == nil {
		add = (*store.Tx).CreateUser
	}
	return user, a.db.Update(ctx, func(tx *store.Tx) error { return add(tx, user) })
}

// SignIn checks a password. It fails with [ErrCredentials] or a [LimitedError]. The
// prefix is that of the client's address; without one only the account is limited.
func (a *Accounts) SignIn(ctx context.Context, email, password string, prefix netip.Prefix) (store.User, error) {
	normal, invalid := NormalizeEmail(email)
	t := a.newTry(signInTries, cmp.Or(normal, email), prefix)
	if err := a.begin(ctx, t); err != nil {
		return store.User{}, err
	}
	var user store.User
	err := invalid
	if err == nil {
		err = a.db.View(ctx, func(tx *store.Tx) (err error) {
			user, err = tx.UserByEmail(normal)
			return err
		})
	}
	// What is known by now must not change what follows, up to the answer.
	hash := user.PasswordHash
	switch {
	case invalid != nil, errors.Is(err, store.ErrNotFound):
		hash = a.dummy
	case err != nil:
		return store.User{}, err
	}
	ok, old, err := a.check(ctx, password, hash)
	if err != nil {
		return store.User{}, err
	}
	if !ok || hash == a.dummy || user.Disabled {
		store.Concern(ctx, user)
		return store.User{}, ErrCredentials
	}
	return a.signedIn(ctx, t, user, password, old)
}

// signedIn forgets the wrong tries, and hashes the password anew where it has to be.
func (a *Accounts) signedIn(ctx context.Context, t *try, user store.User, password string, old bool) (store.User, error) {
	was := user.PasswordHash
	if old {
		hash, err := a.hashAt(ctx, a.checks, normalizePassword(password)) // a part of the sign-in
		if err != nil {
			return store.User{}, err
		}
		user.PasswordHash = hash
	}
	err := a.db.Update(store.Aside(ctx), func(tx *store.Tx) error {
		current, err := tx.User(user.Tenant, user.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if current.PasswordHash != was || current.Disabled {
			return ErrCredentials // changed in the meantime
		}
		if old {
			if err := tx.SetPassword(user.Tenant, user.ID, user.PasswordHash); err != nil {
				return err
			}
		}
		return t.forget(tx)
	})
	if err != nil {
		return store.User{}, err
	}
	a.known.add(t.from)
	return user, nil
}

// try is an attempt to sign in.
type try struct {
	at      time.Time
	counted []count
	from    string // the account and the network; empty without a network
}

// count is what a try is counted under.
type count struct {
	kind, subject string
	free          int
	// at is when the try is counted.
	at time.Time
	// cleared: a right password forgets all tries of the subject, and otherwise its own
	// try alone; no other is counted at the same time then.
	cleared bool
	// open: it is counted and has no delay.
	open bool
}

// What is tried: each is counted by itself, so that a right password forgets no wrong
// second factor.
const (
	signInTries = "sign-in" // a password
	secondTries = "second"  // a second factor
)

// The kinds of attempts in the store, after what is tried.
const (
	accountKind = " account"    // on an account from one network
	anyKind     = " everywhere" // on an account
	prefixKind  = " prefix"     // from a network
)

// newTry: the hash of an address is of one that may not be that of an account, so that
// the store does not show who was tried.
func (a *Accounts) newTry(what, email string, prefix netip.Prefix) *try {
	sum := sha256.Sum256([]byte("ccc account " + email))
	account, l := hex.EncodeToString(sum[:16]), a.cfg.Limits
	t := &try{at: time.Now()}
	if !prefix.IsValid() {
		t.counted = []count{{kind: what + accountKind, subject: account, free: l.AccountTries, cleared: true}}
		return t
	}
	t.from = a.keyed(what + " " + account + " " + prefix.String())
	t.counted = []count{
		{kind: what + accountKind, subject: t.from, free: l.AccountTries, cleared: true},
		// Or whoever has many networks could lock the account's owner out.
		{kind: what + anyKind, subject: account, free: l.EverywhereTries, open: a.known.has(t.from)},
		// Not cleared, or somebody with an account could clear it for tries on others.
		{kind: what + prefixKind, subject: a.keyed(prefix.String()), free: l.PrefixTries},
	}
	return t
}

// keyed hides what few guesses would find in a plain hash.
func (a *Accounts) keyed(text string) string {
	mac := hmac.New(sha256.New, a.key[:])
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// begin counts a try before the password is looked at, so that of many at once not more
// are let through than one after the other.
func (a *Accounts) begin(ctx context.Context, t *try) error {
	return a.db.Update(store.Aside(ctx), func(tx *store.Tx) error {
		var longest time.Duration
		for i := range t.counted {
			c := &t.counted[i]
			wait, last, err := t.wait(tx, a.cfg.Limits, *c)
			if err != nil {
				return err
			}
			if !c.open {
				longest = max(longest, wait)
			}
			if c.at = t.at; !c.cleared {
				c.at = later(t.at, last)
			}
			if err := tx.AddAttempt(c.kind, c.subject, c.at); err != nil {
				return err
			}
		}
		if longest > 0 {
			return &LimitedError{RetryAfter: longest} // undoes what was added: it was no try
		}
		return nil
	})
}

// wait tells how long a subject has to wait, and when its last try was.
func (t *try) wait(tx *store.Tx, limits Limits, c count) (time.Duration, time.Time, error) {
	n, last, err := tx.CountAttempts(c.kind, c.subject, t.at.Add(-limits.Window))
	if d := limits.delay(n, c.free); d > 0 {
		return last.Add(d).Sub(t.at), last, err
	}
	return 0, last, err
}

// later gives at, or what is just after last.
func later(at, last time.Time) time.Time {
	if at = at.Truncate(time.Millisecond); at.After(last) {
		return at
	}
	return last.Add(time.Millisecond)
}

// forget is for a right password.
func (t *try) forget(tx *store.Tx) error {
	for _, c := range t.counted {
		err := error(nil)
		if c.cleared {
			err = tx.ClearAttempts(c.kind, c.subject)
		} else {
			err = tx.DeleteAttempt(c.kind, c.subject, c.at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forgetAll forgets the tries on an account, but those from a network, which end by
// themselves.
func (a *Accounts) forgetAll(tx *store.Tx, email string) error {
	t := a.newTry(signInTries, email, noPrefix)
	return errors.Join(t.forget(tx), tx.ClearAttempts(signInTries+anyKind, t.counted[0].subject))
}

// known remembers from where accounts were signed in to: there nothing counts that
// strangers do elsewhere. It is in memory alone.
type known struct {
	most int

	mu  sync.Mutex // guards all
	all map[string]struct{}
}

func (k *known) has(from string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, there := k.all[from]
	return there
}

// add makes room by forgetting any other.
func (k *known) add(from string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, there := k.all[from]; from == "" || there {
		return
	}
	for other := range k.all {
		if len(k.all) < k.most {
			break
		}
		delete(k.all, other)
	}
	k.all[from] = struct{}{}
}

// Prefix gives what addresses are counted together: an IPv4 address alone, and the /56 of
// an IPv6 address, as one customer has one. Addr is as in http.Request.RemoteAddr, with
// or without port. It is the zero prefix where there is no address.
func Prefix(addr string) netip.Prefix {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		addr = host
	}
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.Prefix{}
	}
	ip = ip.Unmap().WithZone("")
	bits := 56
	if ip.Is4() {
		bits = 32
	}
	return netip.PrefixFrom(ip, bits).Masked()
}

// Run sends the links for new passwords, and removes expired sessions and forgotten tries, every now and then, until ctx ends. At
// its start, and then as often, it takes secrets to the newest of the keys.
func (a *Accounts) Run(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { a.answerResets(ctx) })
	for {
		if err := a.reseal(ctx); err != nil && ctx.Err() == nil {
			a.cfg.Logger.Warn("secrets were not taken to the newest key", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		err := a.db.Update(ctx, func(tx *store.Tx) error {
			_, err1 := tx.SweepSessions(time.Now())
			_, err2 := tx.SweepAttempts(time.Now().Add(-a.cfg.Limits.Window))
			_, err3 := tx.SweepChallenges(time.Now())
			_, err4 := tx.SweepAPITokens(time.Now().Add(-expiredTokens))
			_, err5 := tx.SweepInvitations(time.Now().Add(-expiredInvitations))
			_, err6 := tx.SweepPasswordResets(time.Now())
			return errors.Join(err1, err2, err3, err4, err5, err6)
		})
		if err != nil && ctx.Err() == nil {
			a.cfg.Logger.Warn("expired sessions were not removed", "err", err)
		}
	}
}

const sweepEvery = 10 * time.Minute
