package pairing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Config of a [Service]. Store, Keys, Credentials and Dial are needed.
type Config struct {
	Limits `yaml:",inline"`

	Store *store.DB `yaml:"-"`
	// Keys seal token, user and password.
	Keys *seal.Keyring `yaml:"-"`
	// Credentials of service/ccc sign what PBXs are told, and say whom to trust.
	Credentials *enrol.Credentials `yaml:"-"`
	// Dial opens a call to a service of a PBX, encrypted end to end, with exactly that
	// PBX at the other end: DialContext of a dial.Dialer.
	Dial func(ctx context.Context, serial identity.Serial, service string) (net.Conn, error) `yaml:"-"`
	// Online tells whether a PBX is connected; the service does not call one that is
	// not. Nil: all are called. See [Service.CameOnline].
	Online func(identity.Serial) bool `yaml:"-"`
	// Notify is told of every change after it was made. It must not block. Nil: nobody.
	Notify func(Change) `yaml:"-"`
	// Remote takes what PBXs report about remote access; the serial is that of the
	// connection. Nil: they are told that there is no such session.
	Remote func(context.Context, identity.Serial, wire.RemoteReport) error `yaml:"-"`
	// Logger; nil means silence.
	Logger hclog.Logger `yaml:"-"`
	// Metrics; nil means none.
	Metrics prometheus.Registerer `yaml:"-"`

	// update replaces the store's, to fail in tests.
	update func(context.Context, func(*store.Tx) error) error
}

// Limits are the numbers of a [Config]. Zero values mean the documented defaults.
type Limits struct {
	// TokenLife is how long a token can be typed. 10m to 24h. Default: 24h.
	TokenLife time.Duration `yaml:"token_life"`
	// Tries is how many wrong proofs make an offer void. Default: 5.
	Tries int `yaml:"tries"`
	// OffersPerHour is how many offers a tenant makes in an hour. Default: 20.
	OffersPerHour int `yaml:"offers_per_hour"`
	// OffersPerSerial is how many offers a tenant makes to one PBX in a day. Default: 20.
	OffersPerSerial int `yaml:"offers_per_serial"`
	// ImportsPerDay is how many systems a tenant adds by importing lists in a day, which do
	// not count for OffersPerHour. Default: 2000.
	ImportsPerDay int `yaml:"imports_per_day"`
	// OffersPerPBX is how many open offers of all tenants are brought to one PBX, the
	// oldest first; the others wait. Default: 3.
	OffersPerPBX int `yaml:"offers_per_pbx"`
	// RequestsPerMinute is how many requests one PBX may send: completions, declined
	// offers and syncs. Default: 60.
	RequestsPerMinute int `yaml:"requests_per_minute"`
	// MaxBody bounds bodies from and to PBXs. Default: 16KiB.
	MaxBody configs.Bytes `yaml:"max_body"`
	// SyncEvery is how often a PBX that is connected tells what it has. Default: 15m.
	SyncEvery time.Duration `yaml:"sync_every"`

	// Calls is how many PBXs are called at once. Default: 32.
	Calls int `yaml:"calls"`
	// CallsPerSecond paces the calls where many PBXs connect at once. Default: 200.
	CallsPerSecond float64 `yaml:"calls_per_second"`
	// CallTimeout bounds one request to a PBX. Default: 20s.
	CallTimeout time.Duration `yaml:"call_timeout"`
	// RetryMin and RetryMax bound the wait after a call that failed; it doubles from
	// the one to the other. Default: 1s and 10m.
	RetryMin time.Duration `yaml:"retry_min"`
	RetryMax time.Duration `yaml:"retry_max"`

	// ProofTries is how often the PBX refuses its own user before the pairing is
	// dissolved. Default: 3.
	ProofTries int `yaml:"proof_tries"`
	// ProofGrace is how long a refusal does not count while the PBX has not said that
	// it knows of the pairing: the answer that enables the user may have been lost, and
	// the PBX asks for it for up to 10 minutes. Default: 11m.
	ProofGrace time.Duration `yaml:"proof_grace"`

	// TombstoneKeep is how long a PBX that does not connect is to be told of the end of
	// its pairing. After that it is told when it names the pairing. Default: 8760h, a
	// year.
	TombstoneKeep time.Duration `yaml:"tombstone_keep"`
	// EventsKeep is how long the lines of the systems' histories are kept. Default: 8760h,
	// a year.
	EventsKeep time.Duration `yaml:"events_keep"`
}

// DefaultLimits gives the values that stand for the zero value.
func DefaultLimits() Limits {
	return Limits{
		TokenLife: wire.MaxLife, Tries: 5, OffersPerHour: 20, OffersPerSerial: 20, ImportsPerDay: 2000, OffersPerPBX: 3,
		RequestsPerMinute: 60, MaxBody: wire.DefaultMaxBody, SyncEvery: 15 * time.Minute,
		Calls: 32, CallsPerSecond: 200, CallTimeout: 20 * time.Second, RetryMin: time.Second, RetryMax: 10 * time.Minute,
		ProofTries: 3, ProofGrace: 11 * time.Minute, TombstoneKeep: 365 * 24 * time.Hour, EventsKeep: 365 * 24 * time.Hour,
	}
}

// numbers and durations list the fields with their bounds.
func (l *Limits) numbers(d *Limits) []bounded[int] {
	return []bounded[int]{
		{"tries", &l.Tries, d.Tries, 1, 100},
		{"offers_per_hour", &l.OffersPerHour, d.OffersPerHour, 1, 1_000_000},
		{"offers_per_serial", &l.OffersPerSerial, d.OffersPerSerial, 1, 1_000_000},
		{"imports_per_day", &l.ImportsPerDay, d.ImportsPerDay, 1, 1_000_000},
		{"offers_per_pbx", &l.OffersPerPBX, d.OffersPerPBX, 1, wire.MaxOffers},
		{"requests_per_minute", &l.RequestsPerMinute, d.RequestsPerMinute, 1, 1_000_000},
		{"calls", &l.Calls, d.Calls, 1, 10_000},
		{"proof_tries", &l.ProofTries, d.ProofTries, 1, 100},
	}
}

func (l *Limits) durations(d *Limits) []bounded[time.Duration] {
	return []bounded[time.Duration]{
		{"token_life", &l.TokenLife, d.TokenLife, 10 * time.Minute, wire.MaxLife},
		{"sync_every", &l.SyncEvery, d.SyncEvery, time.Minute, 24 * time.Hour},
		{"call_timeout", &l.CallTimeout, d.CallTimeout, time.Second, 10 * time.Minute},
		{"retry_min", &l.RetryMin, d.RetryMin, 10 * time.Millisecond, time.Hour},
		{"retry_max", &l.RetryMax, d.RetryMax, 10 * time.Millisecond, 24 * time.Hour},
		{"proof_grace", &l.ProofGrace, d.ProofGrace, time.Second, 24 * time.Hour},
		{"events_keep", &l.EventsKeep, d.EventsKeep, 24 * time.Hour, 10 * 365 * 24 * time.Hour},
		{"tombstone_keep", &l.TombstoneKeep, d.TombstoneKeep, time.Hour, 10 * 365 * 24 * time.Hour},
	}
}

// bounded is a field, its default and its bounds.
type bounded[T int | time.Duration] struct {
	key      string
	field    *T
	def      T
	min, max T
}

func (b bounded[T]) fill() {
	if *b.field == 0 {
		*b.field = b.def
	}
}

func (b bounded[T]) check() error {
	if *b.field < b.min || *b.field > b.max {
		return &configs.KeyError{Key: b.key, Problem: fmt.Sprintf("is not from %v to %v", b.min, b.max)}
	}
	return nil
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	for _, f := range l.numbers(&d) {
		f.fill()
	}
	for _, f := range l.durations(&d) {
		f.fill()
	}
	if l.MaxBody == 0 {
		l.MaxBody = d.MaxBody
	}
	if l.CallsPerSecond == 0 {
		l.CallsPerSecond = d.CallsPerSecond
	}
	return l
}

// Validate checks the values, each error a [configs.KeyError] with the key below this
// struct.
func (l Limits) Validate() error {
	l = l.withDefaults()
	var all []error
	for _, f := range l.numbers(&l) {
		all = append(all, f.check())
	}
	for _, f := range l.durations(&l) {
		all = append(all, f.check())
	}
	if l.RetryMax < l.RetryMin {
		all = append(all, &configs.KeyError{Key: "retry_max", Problem: "is below retry_min"})
	}
	if l.MaxBody < wire.DefaultMaxBody || l.MaxBody > 1<<20 {
		all = append(all, &configs.KeyError{Key: "max_body", Problem: "is not from 16KiB to 1MiB", Hint: "the messages need 16KiB"})
	}
	if l.CallsPerSecond < 0.1 || l.CallsPerSecond > 1e6 {
		all = append(all, &configs.KeyError{Key: "calls_per_second", Problem: "is not from 0.1 to 1000000"})
	}
	return errors.Join(all...)
}

// check looks at what only a program can get wrong.
func (c Config) check() error {
	if c.Store == nil || c.Keys == nil || c.Credentials == nil || c.Dial == nil {
		return errors.New("pairing: Store, Keys, Credentials and Dial are needed")
	}
	return c.Validate()
}
