package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/flow"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Config of a [Gateway]. Fields with a yaml key may come from a file; the others come
// from the program. Zero values mean the documented defaults.
type Config struct {
	// Domain is the host of the gateway, a lower-case DNS name; sessions are one label
	// below it. It has to be of another registrable domain than CCCURL. Needed.
	Domain string `yaml:"domain"`
	// PublicPort is the port under which browsers find the gateway. Default: 443.
	PublicPort int `yaml:"public_port"`
	// PBXDomain is a lower-case DNS name that PBXs are one label below, "s<serial>": of
	// sessions in which TLS ends in the PBX, see [Gateway.Sealed]. It may be below Domain
	// and has to be of another registrable domain than CCCURL. Default: there are no such
	// sessions.
	PBXDomain string `yaml:"pbx_domain"`
	// CCCURL is the address of the control centre for browsers, "https://host[:port]".
	// Needed.
	CCCURL string `yaml:"ccc_url"`

	Timing Timing `yaml:"timing"`
	Limits Limits `yaml:"limits"`

	// Credentials are those of service/ara. Needed.
	Credentials *enrol.Credentials `yaml:"-"`
	// Dial opens a call to a service of a PBX with a purpose. ctx bounds the opening
	// only. Needed.
	Dial func(ctx context.Context, serial identity.Serial, service, purpose string) (net.Conn, error) `yaml:"-"`
	// Logger gets what happens to the gateway as a whole. nil means silence.
	Logger hclog.Logger `yaml:"-"`
	// Metrics; nil means that none are registered.
	Metrics prometheus.Registerer `yaml:"-"`
}

// Timing holds the deadlines of a gateway.
type Timing struct {
	// Begin is how long a browser has from /begin to the grant. Default: 5m.
	Begin time.Duration `yaml:"begin"`
	// Idle ends a session in which nothing moves either way. Default: 30m.
	Idle time.Duration `yaml:"idle"`
	// Header is how long the header of a request, and the body of one to the gateway
	// itself, may take. Default: 10s.
	Header time.Duration `yaml:"header"`
	// Open bounds the opening of a call to a PBX. Default: 15s.
	Open time.Duration `yaml:"open"`
	// Answer is how long a PBX may take to begin its answer. Default: 5m.
	Answer time.Duration `yaml:"answer"`
	// Queue is how long a request waits for another of its session to end, where there
	// are limits.streams. Default: 10s.
	Queue time.Duration `yaml:"queue"`
	// FlowIdle ends a terminal, or a flow to a target, in which nothing moves either way.
	// Default: 30m.
	FlowIdle time.Duration `yaml:"flow_idle"`
	// Login is how long the way from a terminal's page to a shell may take, with typing.
	// Default: 2m.
	Login time.Duration `yaml:"login"`
	// RetryMin and RetryMax bound the wait before a PBX that was lost is asked again
	// how a session stands. Default: 1s and 30s.
	RetryMin time.Duration `yaml:"retry_min"`
	RetryMax time.Duration `yaml:"retry_max"`
}

// Limits bound what the gateway holds.
type Limits struct {
	// Connections of browsers at once, by TCP. Default: 20000.
	Connections int `yaml:"connections"`
	// HeaderBytes bounds the header of a request and of an answer. Default: 64KiB.
	HeaderBytes configs.Bytes `yaml:"header_bytes"`
	// Begun is how many sessions wait for their grant; with one more the oldest is
	// dropped. Default: 4096.
	Begun int `yaml:"begun"`
	// BeginsPerMinute is how often one network, /24 or /56, may begin; 64 times as often
	// all may. Default: 30.
	BeginsPerMinute int `yaml:"begins_per_minute"`
	// Sessions at once: in all, to one PBX, and of one user. Default: 4000, 8 and 16.
	Sessions          int `yaml:"sessions"`
	SessionsPerSerial int `yaml:"sessions_per_serial"`
	SessionsPerUser   int `yaml:"sessions_per_user"`
	// Streams are requests of one session at once, with those that have become
	// something else, such as WebSockets. Default: 64.
	Streams int `yaml:"streams"`
	// Upgrades are those that have become something else. Default: 32.
	Upgrades int `yaml:"upgrades"`
	// Events are the control pages of one session that show how it stands. Default: 8.
	Events int `yaml:"events"`
	// Terminals are those of one session at once. Default: 8.
	Terminals int `yaml:"terminals"`
	// Flows to a target are those of one session at once. Default: 32.
	Flows int `yaml:"flows"`
	// MessageBytes bounds one message of a terminal or a flow, 32KiB or more: those that
	// clients send. Default: 64KiB.
	MessageBytes configs.Bytes `yaml:"message_bytes"`
	// Grants that are remembered as used. Default: 65536.
	Grants int `yaml:"grants"`
	// ChallengesPerMinute is how often one PBX may be asked to prove its name to a
	// certificate authority. One network may ask 20 times as often, for the cloud's own CA
	// is one. Default: 30.
	ChallengesPerMinute int `yaml:"challenges_per_minute"`
}

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{
		PublicPort: 443,
		Timing: Timing{
			Begin: 5 * time.Minute, Idle: 30 * time.Minute, Header: 10 * time.Second, Open: 15 * time.Second,
			Answer: 5 * time.Minute, Queue: 10 * time.Second,
			FlowIdle: 30 * time.Minute, Login: 2 * time.Minute, RetryMin: time.Second, RetryMax: 30 * time.Second,
		},
		Limits: Limits{
			Connections: 20_000, HeaderBytes: 64 << 10, Begun: 4096, BeginsPerMinute: 30,
			Sessions: 4000, SessionsPerSerial: 8, SessionsPerUser: 16,
			Streams: 64, Upgrades: 32, Events: 8, Terminals: 8, Flows: 32, MessageBytes: 64 << 10, Grants: 65_536, ChallengesPerMinute: 30,
		},
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	c.PublicPort = cmp.Or(c.PublicPort, d.PublicPort)
	t, dt := &c.Timing, d.Timing
	t.Begin = cmp.Or(t.Begin, dt.Begin)
	t.Idle = cmp.Or(t.Idle, dt.Idle)
	t.Header = cmp.Or(t.Header, dt.Header)
	t.Open = cmp.Or(t.Open, dt.Open)
	t.Answer = cmp.Or(t.Answer, dt.Answer)
	t.Queue = cmp.Or(t.Queue, dt.Queue)
	t.FlowIdle = cmp.Or(t.FlowIdle, dt.FlowIdle)
	t.Login = cmp.Or(t.Login, dt.Login)
	t.RetryMin = cmp.Or(t.RetryMin, dt.RetryMin)
	t.RetryMax = cmp.Or(t.RetryMax, dt.RetryMax)
	l, dl := &c.Limits, d.Limits
	l.Connections = cmp.Or(l.Connections, dl.Connections)
	l.HeaderBytes = cmp.Or(l.HeaderBytes, dl.HeaderBytes)
	l.Begun = cmp.Or(l.Begun, dl.Begun)
	l.BeginsPerMinute = cmp.Or(l.BeginsPerMinute, dl.BeginsPerMinute)
	l.Sessions = cmp.Or(l.Sessions, dl.Sessions)
	l.SessionsPerSerial = cmp.Or(l.SessionsPerSerial, dl.SessionsPerSerial)
	l.SessionsPerUser = cmp.Or(l.SessionsPerUser, dl.SessionsPerUser)
	l.Streams = cmp.Or(l.Streams, dl.Streams)
	l.Upgrades = cmp.Or(l.Upgrades, dl.Upgrades)
	l.Events = cmp.Or(l.Events, dl.Events)
	l.Terminals = cmp.Or(l.Terminals, dl.Terminals)
	l.Flows = cmp.Or(l.Flows, dl.Flows)
	l.MessageBytes = cmp.Or(l.MessageBytes, dl.MessageBytes)
	l.Grants = cmp.Or(l.Grants, dl.Grants)
	l.ChallengesPerMinute = cmp.Or(l.ChallengesPerMinute, dl.ChallengesPerMinute)
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// Validate checks what a file can set, each error a [configs.KeyError].
func (c Config) Validate() error {
	var all []error
	bad := func(key, hint, format string, args ...any) {
		all = append(all, &configs.KeyError{Key: key, Problem: fmt.Sprintf(format, args...), Hint: hint})
	}
	if !isHost(c.Domain) {
		bad("domain", "as in ara.example.net", "%q, want a lower-case DNS name of at most %d bytes", c.Domain, maxDomain)
	}
	u, err := url.Parse(c.CCCURL)
	switch {
	case err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		bad("ccc_url", "as in https://ccc.example.com", "%q, want an https address without a path", c.CCCURL)
	case isHost(c.Domain) && grant.SameSite(c.Domain, u.Hostname()):
		bad("domain", "a script of a PBX could plant cookies at the control centre; take another registrable domain",
			"%s and %s of ccc_url belong to the same domain", c.Domain, u.Hostname())
	}
	switch {
	case c.PBXDomain == "":
	case !isHost(c.PBXDomain) || c.PBXDomain == c.Domain || strings.HasSuffix(c.Domain, "."+c.PBXDomain):
		bad("pbx_domain", "as in pbx.example.net", "%q, want a lower-case DNS name which domain is not, and is not below", c.PBXDomain)
	case err == nil && grant.SameSite(c.PBXDomain, u.Hostname()):
		bad("pbx_domain", "a script of a PBX could plant cookies at the control centre; take another registrable domain",
			"%s and %s of ccc_url belong to the same domain", c.PBXDomain, u.Hostname())
	}
	if c.PublicPort < 0 || c.PublicPort > 65535 {
		bad("public_port", "", "%d is no port", c.PublicPort)
	}
	t := c.Timing
	for key, d := range map[string]time.Duration{
		"begin": t.Begin, "idle": t.Idle, "header": t.Header, "open": t.Open, "answer": t.Answer, "queue": t.Queue,
		"flow_idle": t.FlowIdle, "login": t.Login, "retry_min": t.RetryMin, "retry_max": t.RetryMax,
	} {
		if d < 0 {
			bad("timing."+key, "", "is below zero")
		}
	}
	l := c.Limits
	for key, n := range map[string]int{
		"connections": l.Connections, "header_bytes": int(l.HeaderBytes), "begun": l.Begun, "begins_per_minute": l.BeginsPerMinute,
		"sessions": l.Sessions, "sessions_per_serial": l.SessionsPerSerial, "sessions_per_user": l.SessionsPerUser,
		"streams": l.Streams, "upgrades": l.Upgrades, "events": l.Events,
		"terminals": l.Terminals, "flows": l.Flows, "message_bytes": int(l.MessageBytes), "grants": l.Grants,
		"challenges_per_minute": l.ChallengesPerMinute,
	} {
		if n < 0 {
			bad("limits."+key, "", "is below zero")
		}
	}
	if n := l.MessageBytes; n > 0 && n < flow.MaxMessage {
		bad("limits.message_bytes", "a client sends messages of that size", "%d, want %d or more", n, flow.MaxMessage)
	}
	return errors.Join(all...)
}

// maxDomain leaves room for a label: a DNS name has at most 253 bytes (RFC 1035 §2.3.4).
const maxDomain = 253 - labelLen - 1

// isHost reports whether s is a lower-case DNS name of two labels or more.
func isHost(s string) bool {
	if len(s) > maxDomain || !strings.Contains(s, ".") {
		return false
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
		}) {
			return false
		}
	}
	return true
}

// checkRuntime checks what only the program can give.
func (c Config) checkRuntime() error {
	if c.Credentials == nil {
		return errors.New("gateway: no credentials")
	}
	if id := c.Credentials.ID(); id.Kind != identity.KindService {
		return fmt.Errorf("gateway: the certificate names %s, want a service", id)
	}
	if c.Dial == nil {
		return errors.New("gateway: nothing to dial with")
	}
	return nil
}

// authority gives host with the port for browsers.
func (c Config) authority(host string) string {
	if c.PublicPort == 443 {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(c.PublicPort))
}
