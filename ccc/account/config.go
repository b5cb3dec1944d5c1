package account

import (
	"cmp"
	"errors"
	"math"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/ccc/mail"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Config of the accounts. Zero values mean the documented defaults.
type Config struct {
	// Idle is how long a session lasts without a request. Use is noted down once in a
	// thirtieth of it, so that a session can end that much earlier. Default: 30m.
	Idle time.Duration `yaml:"idle"`
	// Lifetime of a session, however much it is used. Default: 12h.
	Lifetime time.Duration `yaml:"lifetime"`
	// Hash says how passwords are hashed. Passwords hashed in another way are hashed
	// anew at the next sign-in.
	Hash Hash `yaml:"hash"`
	// Limits of wrong passwords, and in the same way, but counted apart, of wrong second
	// factors.
	Limits Limits `yaml:"limits"`
	// SecondFactor says who needs one. Default: required.
	SecondFactor Policy `yaml:"second_factor"`
	// Fresh is how long after the proof of who somebody is he may change what it is proven
	// with: password, second factor, passkeys, API tokens; and how long he may take for the
	// second step of a sign-in. 1m to 24h. Default: 15m.
	Fresh time.Duration `yaml:"fresh"`
	// ExternalURL is where browsers find the control centre, "https://host[:port]". Passkeys
	// are bound to its host for ever: with another one none of them works any more. Empty:
	// there are no passkeys. At a host of this machine any port will do.
	ExternalURL string `yaml:"external_url"`

	// Invitation is how long an invitation is good. 1h to 720h. Default: 72h.
	Invitation time.Duration `yaml:"invitation"`
	// InvitationAgain is how long after an invitation was mailed to an address the tenant can
	// mail one to it again. 1m to 24h. Default: 10m.
	InvitationAgain time.Duration `yaml:"invitation_again"`
	// Reset is how long a link for a new password is good. 5m to 24h. Default: 30m.
	Reset time.Duration `yaml:"reset"`
	// OIDC are OpenID providers at which people sign in. They are asked when they are
	// needed, so that one that is down keeps nothing from starting. Default: none.
	OIDC []Provider `yaml:"oidc"`
	// OIDCTimeout bounds one request to a provider. 1s to 1m. Default: 10s.
	OIDCTimeout time.Duration `yaml:"oidc_timeout"`

	// Mail sends invitations and what is about passwords. Nil: there is no mail.
	Mail *mail.Outbox `yaml:"-"`
	// Brand gives the brand of mails by the id that a tenant has. Default: COMtrexx.
	Brand func(id string) mail.Brand `yaml:"-"`
	// Keys seal what codes are made with. Nil: nobody can set up an app for codes, and
	// nobody's code is right.
	Keys *seal.Keyring `yaml:"-"`
	// Store is required.
	Store *store.DB `yaml:"-"`
	// Logger; nil means silence. It is told no address and no password.
	Logger hclog.Logger `yaml:"-"`
}

// Policy says who needs a second factor.
type Policy string

// The policies.
const (
	// Required: those with the role owner, administrator or remote can do nothing before they
	// have set one up.
	Required Policy = "required"
	// Offered: who has one needs it; nobody has to have one.
	Offered Policy = "offered"
)

// Hash has the parameters of Argon2id (RFC 9106). The defaults are its second
// recommended option (§4).
type Hash struct {
	// Memory that a hash takes. 8MiB to 1GiB. Default: 64MiB.
	Memory configs.Bytes `yaml:"memory"`
	// Passes over the memory, 1 to 100. Default: 3.
	Passes uint32 `yaml:"passes"`
	// Lanes that are computed at once, 1 to 16. Default: 4.
	Lanes uint8 `yaml:"lanes"`
	// Parallel is how many hashes are computed at once, so that sign-ins do not take
	// all memory. 1 to 64. Default: 2.
	Parallel int `yaml:"parallel"`
	// Queue is how many sign-ins may wait for their hash; more are refused with
	// ErrLimited. 1 to 10000. Default: 64.
	Queue int `yaml:"queue"`
	// NewParallel and NewQueue are the same for the hashes of new passwords, of accounts and
	// of resets, so that these do not keep people from signing in. 1 to 64 and 1 to 10000.
	// Default: 1 and 16.
	NewParallel int `yaml:"new_parallel"`
	NewQueue    int `yaml:"new_queue"`
}

// Limits of wrong passwords. After so many within Window, each further try has to wait
// for a delay after the last one: FirstDelay, and double with each, up to MaxDelay. A
// right password forgets the account's wrong ones.
type Limits struct {
	// Window in which wrong passwords count. Default: 24h.
	Window time.Duration `yaml:"window"`
	// AccountTries for an account, whether it exists or not, from one address prefix before
	// there is a delay. 1 to 1000. Default: 5.
	AccountTries int `yaml:"account_tries"`
	// EverywhereTries for an account from all prefixes before there is a delay, which those
	// do not have from which somebody signed in to it. A right password forgets none of
	// them. At least AccountTries, at most 100000. Default: 100.
	EverywhereTries int `yaml:"everywhere_tries"`
	// KnownNetworks is from how many prefixes, each for one account, it is remembered that
	// somebody signed in, until the program ends. 1 to 10000000. Default: 100000.
	KnownNetworks int `yaml:"known_networks"`
	// PrefixTries for an address prefix (Prefix says which) before there is a delay.
	// They are forgotten when the program starts again. 1 to 100000. Default: 50.
	PrefixTries int `yaml:"prefix_tries"`
	// FirstDelay. Default: 1s.
	FirstDelay time.Duration `yaml:"first_delay"`
	// MaxDelay. Default: 15m.
	MaxDelay time.Duration `yaml:"max_delay"`
}

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{
		Idle: 30 * time.Minute, Lifetime: 12 * time.Hour, SecondFactor: Required, Fresh: 15 * time.Minute,
		Invitation: 72 * time.Hour, InvitationAgain: 10 * time.Minute, Reset: 30 * time.Minute, OIDCTimeout: 10 * time.Second,
		Hash: Hash{Memory: 64 << 20, Passes: 3, Lanes: 4, Parallel: 2, Queue: 64, NewParallel: 1, NewQueue: 16},
		Limits: Limits{
			Window: 24 * time.Hour, AccountTries: 5, EverywhereTries: 100, KnownNetworks: 100_000, PrefixTries: 50,
			FirstDelay: time.Second, MaxDelay: 15 * time.Minute,
		},
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	c.Idle = cmp.Or(c.Idle, d.Idle)
	c.Lifetime = cmp.Or(c.Lifetime, d.Lifetime)
	c.SecondFactor = cmp.Or(c.SecondFactor, d.SecondFactor)
	c.Fresh = cmp.Or(c.Fresh, d.Fresh)
	c.Invitation = cmp.Or(c.Invitation, d.Invitation)
	c.InvitationAgain = cmp.Or(c.InvitationAgain, d.InvitationAgain)
	c.Reset = cmp.Or(c.Reset, d.Reset)
	c.OIDCTimeout = cmp.Or(c.OIDCTimeout, d.OIDCTimeout)
	c.Hash.Memory = cmp.Or(c.Hash.Memory, d.Hash.Memory)
	c.Hash.Passes = cmp.Or(c.Hash.Passes, d.Hash.Passes)
	c.Hash.Lanes = cmp.Or(c.Hash.Lanes, d.Hash.Lanes)
	c.Hash.Parallel = cmp.Or(c.Hash.Parallel, d.Hash.Parallel)
	c.Hash.Queue = cmp.Or(c.Hash.Queue, d.Hash.Queue)
	c.Hash.NewParallel = cmp.Or(c.Hash.NewParallel, d.Hash.NewParallel)
	c.Hash.NewQueue = cmp.Or(c.Hash.NewQueue, d.Hash.NewQueue)
	c.Limits.Window = cmp.Or(c.Limits.Window, d.Limits.Window)
	c.Limits.AccountTries = cmp.Or(c.Limits.AccountTries, d.Limits.AccountTries)
	c.Limits.EverywhereTries = cmp.Or(c.Limits.EverywhereTries, d.Limits.EverywhereTries)
	c.Limits.KnownNetworks = cmp.Or(c.Limits.KnownNetworks, d.Limits.KnownNetworks)
	c.Limits.PrefixTries = cmp.Or(c.Limits.PrefixTries, d.Limits.PrefixTries)
	c.Limits.FirstDelay = cmp.Or(c.Limits.FirstDelay, d.Limits.FirstDelay)
	c.Limits.MaxDelay = cmp.Or(c.Limits.MaxDelay, d.Limits.MaxDelay)
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// Validate checks the values, each error a [configs.KeyError] with the key below
// this struct.
func (c Config) Validate() error {
	c = c.withDefaults()
	var all []error
	check := func(ok bool, key, problem string) {
		if !ok {
			all = append(all, &configs.KeyError{Key: key, Problem: problem})
		}
	}
	check(c.Idle >= time.Minute && c.Idle <= 24*time.Hour, "idle", "is not between 1m and 24h")
	check(c.Lifetime >= c.Idle && c.Lifetime <= 30*24*time.Hour, "lifetime", "is not between idle and 720h")
	check(c.SecondFactor == Required || c.SecondFactor == Offered, "second_factor", "is neither required nor offered")
	check(c.Fresh >= time.Minute && c.Fresh <= 24*time.Hour, "fresh", "is not between 1m and 24h")
	check(c.Invitation >= time.Hour && c.Invitation <= 720*time.Hour, "invitation", "is not between 1h and 720h")
	check(c.InvitationAgain >= time.Minute && c.InvitationAgain <= min(24*time.Hour, c.Limits.Window), "invitation_again", "is not between 1m and 24h, or is longer than limits.window")
	check(c.Reset >= 5*time.Minute && c.Reset <= 24*time.Hour, "reset", "is not between 5m and 24h")
	check(c.OIDCTimeout >= time.Second && c.OIDCTimeout <= time.Minute, "oidc_timeout", "is not between 1s and 1m")
	all = append(all, c.validateOIDC())
	if _, err := newRelyingParty(c.ExternalURL); err != nil {
		check(false, "external_url", err.Error())
	}
	check(c.Hash.Memory >= 8<<20 && c.Hash.Memory <= 1<<30, "hash.memory", "is not between 8MiB and 1GiB")
	check(c.Hash.Passes <= 100, "hash.passes", "is not between 1 and 100")
	check(c.Hash.Lanes <= 16, "hash.lanes", "is not between 1 and 16")
	check(c.Hash.Parallel >= 1 && c.Hash.Parallel <= 64, "hash.parallel", "is not between 1 and 64")
	check(c.Hash.Queue >= 1 && c.Hash.Queue <= 10000, "hash.queue", "is not between 1 and 10000")
	check(c.Hash.NewParallel >= 1 && c.Hash.NewParallel <= 64, "hash.new_parallel", "is not between 1 and 64")
	check(c.Hash.NewQueue >= 1 && c.Hash.NewQueue <= 10000, "hash.new_queue", "is not between 1 and 10000")
	l := c.Limits
	check(l.AccountTries >= 1 && l.AccountTries <= 1000, "limits.account_tries", "is not between 1 and 1000")
	check(l.EverywhereTries >= l.AccountTries && l.EverywhereTries <= 100000, "limits.everywhere_tries", "is not between account_tries and 100000")
	check(l.KnownNetworks >= 1 && l.KnownNetworks <= 10_000_000, "limits.known_networks", "is not between 1 and 10000000")
	check(l.PrefixTries >= 1 && l.PrefixTries <= 100000, "limits.prefix_tries", "is not between 1 and 100000")
	check(l.FirstDelay >= time.Millisecond && l.FirstDelay <= l.MaxDelay, "limits.first_delay", "is not between 1ms and max_delay")
	check(l.MaxDelay <= l.Window, "limits.max_delay", "is longer than window")
	check(l.Window <= 30*24*time.Hour, "limits.window", "is longer than 720h")
	return errors.Join(all...)
}

// params gives them to the library.
func (h Hash) params() *argon2id.Params {
	return &argon2id.Params{
		Memory: uint32(h.Memory / 1024), Iterations: h.Passes, Parallelism: h.Lanes, //nolint:gosec // at most 1 GiB
		SaltLength: 16, KeyLength: 32,
	}
}

// delay after n tries, of which some are free.
func (l Limits) delay(n, free int) time.Duration {
	if n < free {
		return 0
	}
	d := float64(l.FirstDelay) * math.Exp2(float64(n-free))
	return time.Duration(min(d, float64(l.MaxDelay)))
}
