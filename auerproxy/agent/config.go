package agent

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// The values of [Config.Transport].
const (
	TransportAuto = "auto" // QUIC, and TCP where QUIC does not get through
	TransportQUIC = "quic"
	TransportTCP  = "tcp"
)

// Config is everything that an agent can be told. Fields with a yaml key may come
// from a file; the others come from the program. A zero value stands for the
// default.
type Config struct {
	// Relays are the relays to connect to, "host:port"; UDP and TCP use the same
	// port. The order does not matter: each device starts at another one. At least
	// one is needed.
	Relays []string `yaml:"relays"`

	// Services are what callers can reach. Names are unique.
	Services []Service `yaml:"services"`

	// Transport is "auto" (default), "quic" or "tcp". Auto is QUIC, and TCP where QUIC
	// does not connect, falls silent, or is measured to carry less.
	Transport string `yaml:"transport"`

	// TCPCongestion is the congestion control of the tunnel's TCP connections, and of
	// those of bulk calls, on Linux: one of net.ipv4.tcp_allowed_congestion_control, or
	// any that the kernel has for root. "bbr" keeps its rate on lines that lose packets.
	// It is about what the device sends; the relay has a key of its own. Default: the
	// system's.
	TCPCongestion string `yaml:"tcp_congestion"`

	// Proxy is an HTTP proxy for the TCP transport, "http://host:port"; it is asked
	// to CONNECT (RFC 9110 §9.3.6). Default: none.
	Proxy string `yaml:"proxy"`

	// ProxyAuth is "user:password" for the proxy. A secret never stands in a
	// configuration file, so programs read it from one of its own.
	ProxyAuth string `yaml:"-"`

	// Slots is how many tunnels are held at once, to different relays where there
	// are several. Default 1, at most 4.
	Slots int `yaml:"slots"`

	Timing Timing `yaml:"timing"`
	Limits Limits `yaml:"limits"`

	// Credentials are the device's certificate and key, and the trusted roots.
	// They may be swapped at any time; each slot then moves to a new session.
	Credentials *enrol.Credentials `yaml:"-"`

	// InstanceID tells two holders of one certificate apart: 16 random bytes that
	// the program makes at enrolment ([NewInstanceID]) and keeps beside the key.
	// Nil makes one per Agent, which a relay takes for a copy of the device if
	// another holder is still connected.
	InstanceID []byte `yaml:"-"`

	// Name and version of the program, for people. Default "auerproxy/agent".
	Program string `yaml:"-"`

	// Logger gets what happens to the tunnels; never a call's content. Default:
	// none.
	Logger hclog.Logger `yaml:"-"`

	// OnStatus, where set, is called after every change of a slot's state, from
	// one goroutine at a time per slot. It must not block.
	OnStatus func(SlotStatus) `yaml:"-"`

	// QUIC and TCP replace the dialers that the agent makes from Credentials, e.g.
	// to share one socket among many agents, or to dial in memory in a test.
	QUIC tunnel.Dialer `yaml:"-"`
	TCP  tunnel.Dialer `yaml:"-"`
}

// Timing holds the delays and deadlines of the tunnels.
type Timing struct {
	// BackoffBase and BackoffCap bound the wait before attempt n after a failure:
	// uniform between 0 and min(cap, base * 2^n). Default 500 ms and 60 s.
	BackoffBase time.Duration `yaml:"backoff_base"`
	BackoffCap  time.Duration `yaml:"backoff_cap"`
	// Stable is how long a session must live after its welcome before the next
	// back-off starts from the base again. Default 30 s.
	Stable time.Duration `yaml:"stable"`
	// LongBackoff is the least wait after an answer that only a person can change:
	// blocked, clone, quarantine, certificate refused. Default 5 min.
	LongBackoff time.Duration `yaml:"long_backoff"`

	// TCPDelay is the head start of QUIC over TCP. Default 300 ms.
	TCPDelay time.Duration `yaml:"tcp_delay"`
	// ConnectTimeout bounds the transport handshake with one relay. Default 10 s.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	// WelcomeTimeout bounds the wait for the welcome. Default 5 s.
	WelcomeTimeout time.Duration `yaml:"welcome_timeout"`

	// ReprobeMin and ReprobeMax bound the time between two tries of QUIC while a
	// slot runs over TCP; it doubles, with 20 % jitter, also where QUIC connects and
	// falls silent again. Default 10 min and 60 min.
	ReprobeMin time.Duration `yaml:"reprobe_min"`
	ReprobeMax time.Duration `yaml:"reprobe_max"`

	// Retire is how long the calls of a session that was replaced may go on, where
	// the relay sets no deadline. Default 10 min.
	Retire time.Duration `yaml:"retire"`
}

// Limits bound what callers can cost.
type Limits struct {
	// Streams is how many streams one relay session carries towards the device at
	// once. Default 256.
	Streams int `yaml:"streams"`
	// Calls is how many calls one end-to-end session carries at once. Default 256.
	Calls int `yaml:"calls"`
	// PreambleTimeout bounds the time to a whole preamble. Default 5 s.
	PreambleTimeout time.Duration `yaml:"preamble_timeout"`
	// HandshakeTimeout bounds an end-to-end TLS handshake with hello and welcome.
	// Default 10 s.
	HandshakeTimeout time.Duration `yaml:"handshake_timeout"`
	// TargetTimeout bounds the connect to a local target, and the wait for Accept
	// on a listener. Default 5 s.
	TargetTimeout time.Duration `yaml:"target_timeout"`
	// SessionIdle ends an end-to-end session without a call. Default 5 min.
	SessionIdle time.Duration `yaml:"session_idle"`
	// CallIdle ends a forwarded call that carried nothing. Default 15 min.
	CallIdle time.Duration `yaml:"call_idle"`
}

// Default is what an empty configuration means.
func Default() Config {
	return Config{
		Transport: TransportAuto,
		Slots:     1,
		Timing: Timing{
			BackoffBase: 500 * time.Millisecond, BackoffCap: time.Minute,
			Stable: 30 * time.Second, LongBackoff: 5 * time.Minute,
			TCPDelay: 300 * time.Millisecond, ConnectTimeout: 10 * time.Second, WelcomeTimeout: 5 * time.Second,
			ReprobeMin: 10 * time.Minute, ReprobeMax: time.Hour,
			Retire: 10 * time.Minute,
		},
		Limits: Limits{
			Streams: 256, Calls: 256,
			PreambleTimeout: 5 * time.Second, HandshakeTimeout: 10 * time.Second, TargetTimeout: 5 * time.Second,
			SessionIdle: 5 * time.Minute, CallIdle: 15 * time.Minute,
		},
	}
}

// Clone copies the configuration deeply enough that neither copy sees changes of
// the other's slices.
func (c Config) Clone() Config {
	c.Relays = slices.Clone(c.Relays)
	c.InstanceID = slices.Clone(c.InstanceID)
	c.Services = slices.Clone(c.Services)
	for i, s := range c.Services {
		c.Services[i].Allow = slices.Clone(s.Allow)
	}
	return c
}

// fill replaces zero values by their defaults.
func (c *Config) fill() {
	d := Default()
	def(&c.Transport, d.Transport)
	def(&c.Slots, d.Slots)
	t := &c.Timing
	def(&t.BackoffBase, d.Timing.BackoffBase)
	def(&t.BackoffCap, d.Timing.BackoffCap)
	def(&t.Stable, d.Timing.Stable)
	def(&t.LongBackoff, d.Timing.LongBackoff)
	def(&t.TCPDelay, d.Timing.TCPDelay)
	def(&t.ConnectTimeout, d.Timing.ConnectTimeout)
	def(&t.WelcomeTimeout, d.Timing.WelcomeTimeout)
	def(&t.ReprobeMin, d.Timing.ReprobeMin)
	def(&t.ReprobeMax, max(d.Timing.ReprobeMax, t.ReprobeMin))
	def(&t.Retire, d.Timing.Retire)
	l := &c.Limits
	def(&l.Streams, d.Limits.Streams)
	def(&l.Calls, d.Limits.Calls)
	def(&l.PreambleTimeout, d.Limits.PreambleTimeout)
	def(&l.HandshakeTimeout, d.Limits.HandshakeTimeout)
	def(&l.TargetTimeout, d.Limits.TargetTimeout)
	def(&l.SessionIdle, d.Limits.SessionIdle)
	def(&l.CallIdle, d.Limits.CallIdle)
	if c.InstanceID == nil {
		c.InstanceID = NewInstanceID()
	}
	def(&c.Program, "auerproxy/agent")
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	for i := range c.Services {
		c.Services[i].fill()
	}
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// NewInstanceID makes a value for [Config.InstanceID].
func NewInstanceID() []byte { return tunnel.NewID() }

// KeyError is one value of a [Config] that cannot be used.
type KeyError struct {
	// Key is the yaml path, e.g. "services[1].target".
	Key string
	// Problem says what is wrong and what would be right.
	Problem string
}

// Error gives key and problem in one line.
func (e *KeyError) Error() string { return e.Key + ": " + e.Problem }

// Validate checks every value that a file can set. The error joins one
// [*KeyError] per problem (see errors.Join).
func (c Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, &KeyError{Key: key, Problem: fmt.Sprintf(format, args...)})
	}
	if len(c.Relays) == 0 {
		bad("relays", "no relay, want at least one host:port")
	}
	for i, r := range c.Relays {
		key := fmt.Sprintf("relays[%d]", i)
		if err := checkHostPort(r); err != nil {
			bad(key, "%v", err)
		}
		if slices.Contains(c.Relays[:i], r) {
			bad(key, "%s is there twice", r)
		}
	}
	switch c.Transport {
	case "", TransportAuto, TransportQUIC, TransportTCP:
	default:
		bad("transport", "%q, want auto, quic or tcp", c.Transport)
	}
	if c.Proxy != "" {
		if u, err := url.Parse(c.Proxy); err != nil || u.Scheme != "http" || u.Host == "" || u.User != nil {
			// Without the text, which may hold a password.
			bad("proxy", "not a proxy address, want http://host:port without user and password")
		}
	}
	if c.Slots < 0 || c.Slots > 4 {
		bad("slots", "%d, want 1 to 4", c.Slots)
	}
	t, l := c.Timing, c.Limits
	for _, d := range []struct {
		key string
		d   time.Duration
	}{
		{"timing.backoff_base", t.BackoffBase},
		{"timing.backoff_cap", t.BackoffCap},
		{"timing.stable", t.Stable},
		{"timing.long_backoff", t.LongBackoff},
		{"timing.tcp_delay", t.TCPDelay},
		{"timing.connect_timeout", t.ConnectTimeout},
		{"timing.welcome_timeout", t.WelcomeTimeout},
		{"timing.reprobe_min", t.ReprobeMin},
		{"timing.reprobe_max", t.ReprobeMax},
		{"timing.retire", t.Retire},
		{"limits.preamble_timeout", l.PreambleTimeout},
		{"limits.handshake_timeout", l.HandshakeTimeout},
		{"limits.target_timeout", l.TargetTimeout},
		{"limits.session_idle", l.SessionIdle},
		{"limits.call_idle", l.CallIdle},
	} {
		if d.d < 0 {
			bad(d.key, "%s is negative", d.d)
		}
	}
	if l.Streams < 0 || l.Calls < 0 {
		bad("limits", "streams %d, calls %d: negative", l.Streams, l.Calls)
	}
	seen := make(map[string]bool)
	for i, s := range c.Services {
		key := fmt.Sprintf("services[%d]", i)
		if seen[s.Name] {
			bad(key+".name", "%q is there twice", s.Name)
		}
		seen[s.Name] = true
		s.validate(key, bad)
	}
	return errors.Join(errs...)
}

// checkRuntime checks what only the program can give.
func (c Config) checkRuntime() error {
	if c.Credentials == nil {
		return errors.New("agent: no credentials")
	}
	if id := c.Credentials.ID(); id.Kind != identity.KindDevice {
		return fmt.Errorf("agent: the certificate names %s, want a device", id)
	}
	if len(c.InstanceID) != tunnel.IDLen {
		return fmt.Errorf("agent: the instance id has %d bytes, want %d", len(c.InstanceID), tunnel.IDLen)
	}
	return nil
}
