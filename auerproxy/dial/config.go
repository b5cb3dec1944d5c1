package dial

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// The values of [Config.Transport].
const (
	// TransportAuto starts with TCP, which carries more per CPU second in a data
	// centre, and tries QUIC where TCP does not get through.
	TransportAuto = "auto"
	// TransportRace starts with QUIC, as devices do.
	TransportRace = "race"
	TransportQUIC = "quic"
	TransportTCP  = "tcp"
)

// Config is everything that a dialer can be told. Fields with a yaml key may come
// from a file; the others come from the program. A zero value stands for the
// default.
type Config struct {
	// Relays are the relays to connect to, "host:port"; UDP and TCP use the same
	// port. At least one is needed, and those that share no registry are all
	// needed.
	Relays []string `yaml:"relays"`

	// Transport is "auto" (default), "race", "quic" or "tcp".
	Transport string `yaml:"transport"`

	// Ports maps the port of a URL or of a CONNECT request to a service, for
	// [Dialer.Transport] and package connect. Default 443 to web, 22 to ssh.
	Ports map[int]string `yaml:"ports"`

	Timing Timing `yaml:"timing"`
	Limits Limits `yaml:"limits"`

	// Credentials are the service's certificate and key, and the trusted roots.
	// They may be swapped at any time; later handshakes use the new ones.
	Credentials *enrol.Credentials `yaml:"-"`

	// Program is name and version of the program, for people. Default
	// "auerproxy/dial".
	Program string `yaml:"-"`

	// Logger gets what happens to the sessions with relays; never a call's
	// content. Default: none.
	Logger hclog.Logger `yaml:"-"`

	// QUIC and TCP replace the dialers that are made from Credentials, e.g. to dial
	// in memory in a test.
	QUIC tunnel.Dialer `yaml:"-"`
	TCP  tunnel.Dialer `yaml:"-"`
}

// Timing holds the deadlines and delays of a dialer.
type Timing struct {
	// ConnectTimeout bounds one attempt to get a welcome from a relay, all
	// transports included. Default 5 s.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	// TransportDelay is the head start of the first transport over the second.
	// After one has failed, the other has three times as long. Default 400 ms.
	TransportDelay time.Duration `yaml:"transport_delay"`
	// BackoffBase and BackoffCap bound the wait before attempt n after a failure:
	// uniform between 0 and min(cap, base * 2^n). A call does not wait for its end
	// but has the attempt made at once, at most once per base. Default 200 ms and
	// 15 s.
	BackoffBase time.Duration `yaml:"backoff_base"`
	BackoffCap  time.Duration `yaml:"backoff_cap"`

	// OpenTimeout bounds the opening of a call whose context has no deadline.
	// Default 15 s.
	OpenTimeout time.Duration `yaml:"open_timeout"`
	// SessionTimeout bounds the making of an end-to-end session over all relays,
	// which goes on when the call that caused it gives up. Default 15 s.
	SessionTimeout time.Duration `yaml:"session_timeout"`
	// SessionIdle ends an end-to-end session without a call. Default 4 min.
	SessionIdle time.Duration `yaml:"session_idle"`
	// Retire is how long the calls of a draining relay's session may go on, where
	// the relay sets no deadline. Default 10 min.
	Retire time.Duration `yaml:"retire"`
	// PresenceRetry is about how long [Dialer.WatchPresence] waits before it asks a
	// relay again that does not let it watch. Default 1 min.
	PresenceRetry time.Duration `yaml:"presence_retry"`
}

// Limits bound what the dialer holds.
type Limits struct {
	// Opens is how many calls are being opened at once; more wait. Default 1024.
	Opens int `yaml:"opens"`
	// Incoming is how many streams one relay session carries from devices at once.
	// Default 4096.
	Incoming int `yaml:"incoming"`
	// IncomingCalls is how many calls one device's end-to-end session carries at
	// once. Default 64.
	IncomingCalls int `yaml:"incoming_calls"`
	// Backlog is how many calls of devices wait for one listener's Accept; more
	// are refused with [tunnel.CodeTooManyStreams]. Default 128.
	Backlog int `yaml:"backlog"`
	// HandshakeTimeout bounds an end-to-end TLS handshake that a device began.
	// Default 10 s.
	HandshakeTimeout time.Duration `yaml:"handshake_timeout"`
	// PresenceSessions is how many sessions one relay may tell of in a snapshot.
	// Default 1000000.
	PresenceSessions int `yaml:"presence_sessions"`
}

// Default is what an empty configuration means.
func Default() Config {
	return Config{
		Transport: TransportAuto,
		Ports:     map[int]string{443: "web", 22: "ssh"},
		Timing: Timing{
			ConnectTimeout: 5 * time.Second, TransportDelay: 400 * time.Millisecond,
			BackoffBase: 200 * time.Millisecond, BackoffCap: 15 * time.Second,
			OpenTimeout: 15 * time.Second, SessionTimeout: 15 * time.Second,
			SessionIdle: 4 * time.Minute, Retire: 10 * time.Minute, PresenceRetry: time.Minute,
		},
		Limits: Limits{
			Opens: 1024, Incoming: 4096, IncomingCalls: 64, Backlog: 128, HandshakeTimeout: 10 * time.Second,
			PresenceSessions: 1_000_000,
		},
		Program: "auerproxy/dial",
	}
}

// Clone copies the configuration deeply enough that neither copy sees changes of
// the other's slices and maps.
func (c Config) Clone() Config {
	c.Relays = slices.Clone(c.Relays)
	c.Ports = maps.Clone(c.Ports)
	return c
}

// fill replaces zero values by their defaults.
func (c *Config) fill() {
	d := Default()
	def(&c.Transport, d.Transport)
	if c.Ports == nil {
		c.Ports = d.Ports
	}
	t, dt := &c.Timing, d.Timing
	def(&t.ConnectTimeout, dt.ConnectTimeout)
	def(&t.TransportDelay, dt.TransportDelay)
	def(&t.BackoffBase, dt.BackoffBase)
	def(&t.BackoffCap, dt.BackoffCap)
	def(&t.OpenTimeout, dt.OpenTimeout)
	def(&t.SessionTimeout, dt.SessionTimeout)
	def(&t.SessionIdle, dt.SessionIdle)
	def(&t.Retire, dt.Retire)
	def(&t.PresenceRetry, dt.PresenceRetry)
	l, dl := &c.Limits, d.Limits
	def(&l.Opens, dl.Opens)
	def(&l.Incoming, dl.Incoming)
	def(&l.IncomingCalls, dl.IncomingCalls)
	def(&l.Backlog, dl.Backlog)
	def(&l.HandshakeTimeout, dl.HandshakeTimeout)
	def(&l.PresenceSessions, dl.PresenceSessions)
	def(&c.Program, d.Program)
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// KeyError is one value of a [Config] that cannot be used.
type KeyError struct {
	// Key is the yaml path, e.g. "relays[1]".
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
		if host, port, err := net.SplitHostPort(r); err != nil || host == "" || port == "" {
			bad(key, "%q, want host:port", r)
		}
		if slices.Index(c.Relays, r) < i {
			bad(key, "%q is there twice", r)
		}
	}
	switch c.Transport {
	case "", TransportAuto, TransportRace, TransportQUIC, TransportTCP:
	default:
		bad("transport", "%q, want auto, race, quic or tcp", c.Transport)
	}
	for port, service := range c.Ports {
		if port < 1 || port > 65535 || service == "" {
			bad("ports", "%d: %q, want a port from 1 to 65535 and the name of a service", port, service)
		}
	}
	t := c.Timing
	for key, d := range map[string]time.Duration{
		"connect_timeout": t.ConnectTimeout, "transport_delay": t.TransportDelay,
		"backoff_base": t.BackoffBase, "backoff_cap": t.BackoffCap, "open_timeout": t.OpenTimeout,
		"session_timeout": t.SessionTimeout, "session_idle": t.SessionIdle, "retire": t.Retire,
		"presence_retry": t.PresenceRetry,
	} {
		if d < 0 {
			bad("timing."+key, "%s is negative", d)
		}
	}
	l := c.Limits
	for key, n := range map[string]int{
		"opens": l.Opens, "incoming": l.Incoming, "incoming_calls": l.IncomingCalls, "backlog": l.Backlog,
		"presence_sessions": l.PresenceSessions,
	} {
		if n < 0 {
			bad("limits."+key, "%d is negative", n)
		}
	}
	if l.HandshakeTimeout < 0 {
		bad("limits.handshake_timeout", "%s is negative", l.HandshakeTimeout)
	}
	return errors.Join(errs...)
}

// checkRuntime checks what only the program can give.
func (c Config) checkRuntime() error {
	if c.Credentials == nil {
		return errors.New("dial: no credentials")
	}
	if id := c.Credentials.ID(); id.Kind != identity.KindService {
		return fmt.Errorf("dial: the certificate names %s, want a service", id)
	}
	return nil
}
