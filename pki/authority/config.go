package authority

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.step.sm/crypto/kms/apiv1"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Config of an [Authority]. Zero values mean the documented defaults; StateDir
// has none.
type Config struct {
	// StateDir holds keys and store; see the package doc.
	StateDir string `yaml:"state_dir"`
	// TrustDomain that the authority issues for. Default: comtrexx.test.
	// It cannot change after "pki init".
	TrustDomain identity.TrustDomain `yaml:"trust_domain"`
	// PassphraseFile decrypts the keys. Default: passphrase in StateDir, which
	// "pki init" makes. Better: a systemd credential or another disk.
	PassphraseFile configs.SecretFile `yaml:"passphrase_file"`
	// PlainKeys keeps the keys without encryption, for state that is thrown
	// away: tests, demonstrations. Unless it is set, a key that is not
	// encrypted is refused.
	PlainKeys bool `yaml:"plain_keys"`
	// KMS is the URI of a key management system (https://pkg.go.dev/go.step.sm/crypto/kms)
	// where keys are made and used instead of in files, e.g.
	// pkcs11:module-path=/usr/lib/softhsm/libsofthsm2.so;token=pki?pin-source=/etc/pki/pin.
	// All but softkms need a build tag: pkcs11 (with cgo), awskms, azurekms or
	// cloudkms. Default: softkms, which is files in StateDir.
	KMS string `yaml:"kms"`
	// KMSKey is the name of a new key there, with {name} and {id}, 16 hexadecimal
	// digits, in it. Default: pkcs11:id={id};object={name} and, for awskms,
	// {name}; azurekms and cloudkms have none.
	KMSKey string `yaml:"kms_key"`
	// Lifetimes of the certificates issued from now on.
	Lifetimes Lifetimes `yaml:"lifetimes"`
	// Backdate is how far before its making a certificate is valid, for
	// clocks that are behind. Default: 1h.
	Backdate time.Duration `yaml:"backdate"`
	// TokenTTL is how long an enrolment token can be used, unless it is made
	// with another. Default: 24h.
	TokenTTL time.Duration `yaml:"token_ttl"`
	// RecoverFor is how long after its expiry a device's certificate is still
	// good for getting a new one, on the recovery listener. Default: 9600h (400
	// days).
	RecoverFor time.Duration `yaml:"recover_for"`
	// KeepExpired is how long an expired certificate stays in the index. The
	// audit log keeps its line for ever. At least recover_for. Default: 9840h
	// (410 days).
	KeepExpired time.Duration `yaml:"keep_expired"`
	// ExtraDNS are domains beyond the trust domain that certificates of
	// services and relays may name, e.g. localhost. "pki init" writes them
	// into the name constraints of the intermediates. Default: localhost.
	ExtraDNS []string `yaml:"extra_dns"`
	// Rollout is how many percent of each kind of endpoint have to know a root
	// before it can be activated. Default: 99.
	Rollout float64 `yaml:"rollout_percent"`
	// ServerNames are the names that servers can be certified for over ACME: DNS
	// domains with all that is below them, IP addresses and CIDR prefixes. "pki
	// init" writes them into the name constraints of the intermediate for servers;
	// the names of devices, services and relays are never among them. Default: the
	// trust domain, localhost, 127.0.0.0/8 and ::1.
	ServerNames []string `yaml:"server_names"`

	// Store says where everything but the keys is kept.
	Store StoreConfig `yaml:"store"`

	// FactoryRoots are PEM files with the manufacturers' roots: their factory
	// certificates (IEEE 802.1AR IDevID) enrol at server.factory_listen. Default:
	// none.
	FactoryRoots []string `yaml:"factory_roots"`
	// FactoryBlocklist is a file with factory certificates that do not enrol; its
	// form is in configs/pki.yaml. It is read again when it changes. Default:
	// none.
	FactoryBlocklist string `yaml:"factory_blocklist"`

	// Limits of what devices may ask for.
	Limits Limits `yaml:"limits"`

	// PublicURL is where third parties reach the revocation lists; certificates say
	// so unless it is empty. See [crl.Links].
	PublicURL string `yaml:"-"`
	// Logger; nil means silence.
	Logger hclog.Logger `yaml:"-"`

	keys func() (apiv1.KeyManager, error) // set by withDefaults
}

// Lifetimes of certificates, from issuing to expiry. A leaf never outlives its
// intermediate.
type Lifetimes struct {
	// Device certificates. Default: 720h (30 days).
	Device time.Duration `yaml:"device"`
	// Service certificates. Default: 720h.
	Service time.Duration `yaml:"service"`
	// Relay certificates. Default: 720h.
	Relay time.Duration `yaml:"relay"`
	// Root, used by "pki init" only. Default: 175200h (20 years).
	Root time.Duration `yaml:"root"`
	// Intermediate, used by "pki init" only. Default: 43800h (5 years).
	Intermediate time.Duration `yaml:"intermediate"`
}

// Limits are per device. Negative numbers: no limit.
type Limits struct {
	// PerHour and PerDay are how many certificates a device gets, renewals
	// included; the administrator's do not count. Defaults: 5 and 20.
	PerHour int `yaml:"per_hour"`
	PerDay  int `yaml:"per_day"`
	// SecretTries is how often a factory secret may be tried within SecretPause.
	// Defaults: 5 within 15m.
	SecretTries int           `yaml:"secret_tries"`
	SecretPause time.Duration `yaml:"secret_pause"`
	// SecretRetry is how long a device that lost the answer may ask again with the
	// secret that it used, and the same key. Default: 24h.
	SecretRetry time.Duration `yaml:"secret_retry"`
}

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	const day = 24 * time.Hour
	return Config{
		TrustDomain: identity.DefaultTrustDomain,
		Lifetimes: Lifetimes{
			Device: 30 * day, Service: 30 * day, Relay: 30 * day,
			Root: 20 * 365 * day, Intermediate: 5 * 365 * day,
		},
		Backdate:    time.Hour,
		TokenTTL:    day,
		RecoverFor:  400 * day,
		KeepExpired: 410 * day,
		Store:       StoreConfig{Kind: StoreFile, Postgres: store.DefaultPostgresConfig()},
		Limits:      Limits{PerHour: 5, PerDay: 20, SecretTries: 5, SecretPause: 15 * time.Minute, SecretRetry: day},
		ExtraDNS:    []string{"localhost"},
		Rollout:     99,
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.TrustDomain == "" {
		c.TrustDomain = d.TrustDomain
	}
	if c.PassphraseFile == "" {
		c.PassphraseFile = configs.SecretFile(filepath.Join(c.StateDir, passphraseFile))
	}
	if c.ExtraDNS == nil {
		c.ExtraDNS = d.ExtraDNS
	}
	if c.keys == nil {
		c.keys = c.openKMS()
	}
	if c.Rollout == 0 {
		c.Rollout = d.Rollout
	}
	if len(c.ServerNames) == 0 {
		c.ServerNames = []string{string(c.TrustDomain), "localhost", "127.0.0.0/8", "::1"}
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	for _, f := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&c.Lifetimes.Device, d.Lifetimes.Device},
		{&c.Lifetimes.Service, d.Lifetimes.Service},
		{&c.Lifetimes.Relay, d.Lifetimes.Relay},
		{&c.Lifetimes.Root, d.Lifetimes.Root},
		{&c.Lifetimes.Intermediate, d.Lifetimes.Intermediate},
		{&c.Backdate, d.Backdate},
		{&c.TokenTTL, d.TokenTTL},
		{&c.RecoverFor, d.RecoverFor},
		{&c.KeepExpired, d.KeepExpired},
		{&c.Limits.SecretPause, d.Limits.SecretPause},
		{&c.Limits.SecretRetry, d.Limits.SecretRetry},
	} {
		if *f.v == 0 {
			*f.v = f.def
		}
	}
	for _, f := range []struct {
		v   *int
		def int
	}{
		{&c.Limits.PerHour, d.Limits.PerHour},
		{&c.Limits.PerDay, d.Limits.PerDay},
		{&c.Limits.SecretTries, d.Limits.SecretTries},
	} {
		if *f.v == 0 {
			*f.v = f.def
		}
	}
	return c
}

// Validate checks the values, each error a [configs.KeyError] with the key below
// this struct.
func (c Config) Validate() error {
	c = c.withDefaults()
	var all []error
	if c.StateDir == "" {
		all = append(all, &configs.KeyError{Key: "state_dir", Problem: "is required", Hint: "as in /var/lib/pki"})
	}
	if _, err := identity.ParseTrustDomain(string(c.TrustDomain)); err != nil {
		all = append(all, &configs.KeyError{Key: "trust_domain", Problem: "is not a DNS name", Hint: "as in cloud.example.com", Cause: err})
	}
	if _, err := profile.ServerIntermediate(c.TrustDomain, c.ServerNames...); err != nil {
		all = append(all, &configs.KeyError{Key: "server_names", Problem: err.Error(), Cause: err})
	}
	for key, d := range map[string]time.Duration{
		"lifetimes.device": c.Lifetimes.Device, "lifetimes.service": c.Lifetimes.Service, "lifetimes.relay": c.Lifetimes.Relay,
		"lifetimes.root": c.Lifetimes.Root, "lifetimes.intermediate": c.Lifetimes.Intermediate,
		"token_ttl": c.TokenTTL, "keep_expired": c.KeepExpired, "recover_for": c.RecoverFor, "backdate": c.Backdate,
		"limits.secret_pause": c.Limits.SecretPause, "limits.secret_retry": c.Limits.SecretRetry,
	} {
		if d < 0 {
			all = append(all, &configs.KeyError{Key: key, Problem: "is below zero"})
		}
	}
	all = append(all, configs.Under("store", c.Store.validate()))
	if c.KeepExpired < c.RecoverFor {
		all = append(all, &configs.KeyError{Key: "keep_expired", Problem: "is below recover_for", Hint: "a certificate that is forgotten cannot be recovered"})
	}
	if c.Lifetimes.Intermediate > c.Lifetimes.Root {
		all = append(all, &configs.KeyError{Key: "lifetimes.intermediate", Problem: "is above lifetimes.root"})
	}
	if err := c.checkKMS(); err != nil {
		all = append(all, err)
	}
	if _, err := profile.ServerIntermediate(c.TrustDomain, c.ServerNames...); err != nil {
		all = append(all, &configs.KeyError{Key: "server_names", Problem: err.Error(), Hint: "as in example.com or 10.0.0.0/8", Cause: err})
	}
	if c.Rollout < 0 || c.Rollout > 100 {
		all = append(all, &configs.KeyError{Key: "rollout_percent", Problem: "is not between 0 and 100"})
	}
	return errors.Join(all...)
}

// of gives the lifetime of a kind's leaves.
func (l Lifetimes) of(k identity.Kind) time.Duration {
	switch k {
	case identity.KindDevice:
		return l.Device
	case identity.KindService:
		return l.Service
	default:
		return l.Relay
	}
}
