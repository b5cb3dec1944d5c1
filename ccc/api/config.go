package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
)

// Config is everything that the API can be told. Fields with a yaml key may come from a
// file; the others come from the program. A zero value stands for the default.
type Config struct {
	// Hosts are the names, without ports, that clients may ask for; requests for others
	// are refused, and those of this machine never are. Default: any.
	Hosts []string `yaml:"hosts"`
	// TrustedProxies are the addresses, or prefixes such as 192.0.2.0/24, of proxies that
	// end https before this server and set X-Forwarded-For and X-Forwarded-Proto: from
	// these the address of the client is taken, and whether it came by https. A proxy that
	// is not named here is the client itself. Default: none.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// Limits bound what one client can have the server do.
	Limits Limits `yaml:"limits"`
	// Streams are the live events.
	Streams Streams `yaml:"streams"`

	// Brands are the names under which the control centre is offered; the first one
	// where the host has none. Default: DefaultBrands.
	Brands []BrandConfig `yaml:"-"`

	// Store keeps everything. Needed, as the next five.
	Store *store.DB `yaml:"-"`
	// Keys seal the answers that are kept for repeats.
	Keys *seal.Keyring `yaml:"-"`
	// Accounts know who is signed in.
	Accounts *account.Accounts `yaml:"-"`
	// Pairing does what is asked for. Its Notify is to be [API.PairingChanged].
	Pairing Pairing `yaml:"-"`
	// Remote does what is asked for about remote access. Its Notify is to be
	// [API.RemoteChanged].
	Remote RemoteAccess `yaml:"-"`
	// Fleet tells who is connected.
	Fleet Fleet `yaml:"-"`
	// Webhooks deliver what happens. Needed.
	Webhooks Webhooks `yaml:"-"`
	// History knows why PBXs are offline. Default: as far as Fleet does.
	History History `yaml:"-"`
	// Rollouts configure PBXs. Needed. Its Notify is to be [API.RolloutChanged].
	Rollouts Rollouts `yaml:"-"`
	// Audit is how the audit log is kept.
	Audit audit.Config `yaml:"-"`
	// Credentials are those of service/ccc, which heads of the audit log are signed with.
	// Nil: none is signed, and nothing is exported or removed.
	Credentials *enrol.Credentials `yaml:"-"`
	// Statistics are what the servers have counted. Default: nothing is shown.
	Statistics Statistics `yaml:"-"`
	// Pages answer what is not for the API. Default: nothing is found.
	Pages http.Handler `yaml:"-"`
	// Logger; nil means silence. No token, password, address or name is logged.
	Logger hclog.Logger `yaml:"-"`
	// AccessLog notes every request; nil means that none is.
	AccessLog *accesslog.Log `yaml:"-"`
	// Metrics; nil means that none are registered.
	Metrics prometheus.Registerer `yaml:"-"`
}

// Pairing does what users ask for; a [*pairing.Service].
type Pairing interface {
	Save(ctx context.Context, who pairing.Actor, system pairing.NewSystem) (store.System, pairing.OfferView, error)
	Update(ctx context.Context, who pairing.Actor, id store.SystemID, version int64, fields store.Fields) (store.System, error)
	Remove(ctx context.Context, who pairing.Actor, id store.SystemID) error
	View(ctx context.Context, who pairing.Actor, id store.SystemID) (pairing.OfferView, error)
	Regenerate(ctx context.Context, who pairing.Actor, id store.SystemID) (pairing.OfferView, error)
	Withdraw(ctx context.Context, who pairing.Actor, id store.SystemID) error
	SaveAll(ctx context.Context, who pairing.Actor, systems []pairing.NewSystem) ([]pairing.Saved, error)
	Importable(ctx context.Context, who pairing.Actor) (int, error)
	Tokens(ctx context.Context, who pairing.Actor, systems []store.SystemID) (map[store.SystemID]pairing.OfferView, error)
}

// Limits bound what one client can have the server do.
type Limits struct {
	// Body is how large a request's body may be. Default: 64KiB.
	Body configs.Bytes `yaml:"body"`
	// BodyTimeout is how long a body may take to arrive. Default: 10s.
	BodyTimeout time.Duration `yaml:"body_timeout"`
	// AnswerTimeout is how long an answer may take to be made and sent; live events are
	// not bound by it. Default: 30s.
	AnswerTimeout time.Duration `yaml:"answer_timeout"`
	// Requests is how many requests one user, or one network (as account.Prefix says) where
	// nobody is signed in, may send in Window. Default: 600 in 1m.
	Requests int           `yaml:"requests"`
	Window   time.Duration `yaml:"window"`
	// NetworkRequests is how many requests one network may send in Window, whoever is
	// signed in: more are refused before their session is looked up. Default: 6000.
	NetworkRequests int `yaml:"network_requests"`
	// Idempotency is how long answers are kept for repeats with the same
	// Idempotency-Key. Default: 1h.
	Idempotency time.Duration `yaml:"idempotency"`
	// Users is how many users one tenant may have. Default: 1000.
	Users int `yaml:"users"`
	// Tenants is how many tenants may be right below one. Default: 10000.
	Tenants int `yaml:"tenants"`
	// ImportLines is how many systems a list may have that is imported. Default: 500.
	ImportLines int `yaml:"import_lines"`
	// ImportBody is how large such a list may be. Default: 1MiB.
	ImportBody configs.Bytes `yaml:"import_body"`
}

// Streams are the live events.
type Streams struct {
	// PerUser is how many one user may have open. Default: 16.
	PerUser int `yaml:"per_user"`
	// Queue is how many events may wait for one reader; with more it is told to load
	// everything anew. Default: 1000.
	Queue int `yaml:"queue"`
	// Coalesce is how long changes are collected after some were sent, so that several of
	// one thing are one event. Default: 250ms.
	Coalesce time.Duration `yaml:"coalesce"`
	// Heartbeat is how often a reader hears something though nothing happens, and how
	// often its session is looked at. Default: 15s.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// WriteTimeout is how long one event may take to be sent. Default: 20s.
	WriteTimeout time.Duration `yaml:"write_timeout"`
	// ResetEvery is how often one reader is told to load everything anew, at most.
	// Default: 15s.
	ResetEvery time.Duration `yaml:"reset_every"`
	// ResetSpread is the time in which readers are told so that have to load everything
	// anew at once, each at a random moment of it. Default: 2s.
	ResetSpread time.Duration `yaml:"reset_spread"`
}

// BrandConfig is a name under which the control centre is offered.
type BrandConfig struct {
	// ID is what the pages know the brand by: auerswald or fontevo.
	ID string `yaml:"id"`
	// Name is shown at the top of the pages.
	Name string `yaml:"name"`
	// Legal is who is responsible, shown at the foot of the pages.
	Legal string `yaml:"legal"`
	// Hosts are the names of the server that show this brand.
	Hosts []string `yaml:"hosts"`
}

func (b BrandConfig) public() Brand { return Brand{ID: b.ID, Name: b.Name, Legal: b.Legal} }

// DefaultBrands are those of the privacy policy: FONtevo is a brand of the same company.
func DefaultBrands() []BrandConfig {
	const legal = "Auerswald GmbH & Co. KG"
	return []BrandConfig{
		{ID: "auerswald", Name: "Auerswald", Legal: legal},
		{ID: "fontevo", Name: "FONtevo", Legal: legal, Hosts: []string{"ccc.fontevo.test"}},
	}
}

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{
		Limits: Limits{
			Body: 64 << 10, BodyTimeout: 10 * time.Second, AnswerTimeout: 30 * time.Second,
			Requests: 600, Window: time.Minute, NetworkRequests: 6000, Idempotency: time.Hour,
			Users: 1000, Tenants: 10000, ImportLines: 500, ImportBody: 1 << 20,
		},
		Streams: Streams{
			PerUser: 16, Queue: 1000, Coalesce: 250 * time.Millisecond, Heartbeat: 15 * time.Second, WriteTimeout: 20 * time.Second,
			ResetEvery: 15 * time.Second, ResetSpread: 2 * time.Second,
		},
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	l, dl := &c.Limits, d.Limits
	l.Body = cmp.Or(l.Body, dl.Body)
	l.BodyTimeout = cmp.Or(l.BodyTimeout, dl.BodyTimeout)
	l.AnswerTimeout = cmp.Or(l.AnswerTimeout, dl.AnswerTimeout)
	l.Requests = cmp.Or(l.Requests, dl.Requests)
	l.Window = cmp.Or(l.Window, dl.Window)
	l.NetworkRequests = cmp.Or(l.NetworkRequests, dl.NetworkRequests)
	l.Idempotency = cmp.Or(l.Idempotency, dl.Idempotency)
	l.Users = cmp.Or(l.Users, dl.Users)
	l.Tenants = cmp.Or(l.Tenants, dl.Tenants)
	l.ImportLines = cmp.Or(l.ImportLines, dl.ImportLines)
	l.ImportBody = cmp.Or(l.ImportBody, dl.ImportBody)
	s, ds := &c.Streams, d.Streams
	s.PerUser = cmp.Or(s.PerUser, ds.PerUser)
	s.Queue = cmp.Or(s.Queue, ds.Queue)
	s.Coalesce = cmp.Or(s.Coalesce, ds.Coalesce)
	s.Heartbeat = cmp.Or(s.Heartbeat, ds.Heartbeat)
	s.WriteTimeout = cmp.Or(s.WriteTimeout, ds.WriteTimeout)
	s.ResetEvery = cmp.Or(s.ResetEvery, ds.ResetEvery)
	s.ResetSpread = cmp.Or(s.ResetSpread, ds.ResetSpread)
	c.Audit = c.Audit.WithDefaults()
	if len(c.Brands) == 0 {
		c.Brands = DefaultBrands()
	}
	if c.History == nil {
		c.History = noHistory{}
	}
	if c.Pages == nil {
		c.Pages = http.NotFoundHandler()
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// Validate checks what a file can set, each error a [configs.KeyError] with the key below
// this struct.
func (c Config) Validate() error {
	c = c.withDefaults()
	var all []error
	wrong := func(key, problem, hint string) {
		all = append(all, &configs.KeyError{Key: key, Problem: problem, Hint: hint})
	}
	for _, h := range c.Hosts {
		if !isHost(h) {
			wrong("hosts", "has "+h+", which is not a name in small letters", "without scheme and port, as in ccc.example.com")
		}
	}
	for _, text := range c.TrustedProxies {
		if _, err := parseProxy(text); err != nil {
			wrong("trusted_proxies", "has "+text+", which is neither an address nor a prefix", "as in 127.0.0.1 or 192.0.2.0/24")
		}
	}
	if c.Limits.Body < 4<<10 || c.Limits.Body > 1<<20 {
		wrong("limits.body", "is not between 4KiB and 1MiB", "")
	}
	if c.Limits.ImportBody < 4<<10 || c.Limits.ImportBody > 16<<20 {
		wrong("limits.import_body", "is not between 4KiB and 16MiB", "")
	}
	for _, n := range []struct {
		key string
		v   int
	}{{"limits.requests", c.Limits.Requests}, {"limits.network_requests", c.Limits.NetworkRequests}, {"limits.users", c.Limits.Users}, {"limits.tenants", c.Limits.Tenants}, {"limits.import_lines", c.Limits.ImportLines}, {"streams.per_user", c.Streams.PerUser}, {"streams.queue", c.Streams.Queue}} {
		if n.v < 1 || n.v > 1_000_000 {
			wrong(n.key, "is not between 1 and 1000000", "")
		}
	}
	for _, d := range []struct {
		key      string
		v, least time.Duration
	}{
		{"limits.body_timeout", c.Limits.BodyTimeout, time.Second},
		{"limits.answer_timeout", c.Limits.AnswerTimeout, time.Second},
		{"limits.window", c.Limits.Window, time.Second},
		{"limits.idempotency", c.Limits.Idempotency, time.Minute},
		{"streams.coalesce", c.Streams.Coalesce, time.Millisecond},
		{"streams.heartbeat", c.Streams.Heartbeat, time.Second},
		{"streams.write_timeout", c.Streams.WriteTimeout, time.Second},
		{"streams.reset_every", c.Streams.ResetEvery, time.Second},
		{"streams.reset_spread", c.Streams.ResetSpread, time.Millisecond},
	} {
		if d.v < d.least || d.v > 24*time.Hour {
			wrong(d.key, "is not between "+d.least.String()+" and 24h", "")
		}
	}
	return errors.Join(all...)
}

// ValidateBrands checks the brands, each error a [configs.KeyError] with the key below
// the list.
func ValidateBrands(brands []BrandConfig) error {
	var all []error
	seen := map[string]bool{}
	for _, b := range brands {
		for key, v := range map[string]string{"id": b.ID, "name": b.Name, "legal": b.Legal} {
			if strings.TrimSpace(v) == "" {
				all = append(all, &configs.KeyError{Problem: "has a brand without " + key, Hint: "each has id, name and legal"})
			}
		}
		for _, h := range b.Hosts {
			switch {
			case !isHost(h):
				all = append(all, &configs.KeyError{Problem: "has the host " + h + ", which is not a name in small letters", Hint: "without scheme and port"})
			case seen[h]:
				all = append(all, &configs.KeyError{Problem: "has the host " + h + " twice"})
			}
			seen[h] = true
		}
	}
	return errors.Join(all...)
}

// isHost tells whether a host is written as [hostOf] gives it.
func isHost(h string) bool {
	return h != "" && h == hostOf(&http.Request{Host: h}) && !slices.Contains(strings.Split(h, "."), "")
}
