package agent

import (
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// The values of [Service.Identity].
const (
	IdentityNone    = "none"
	IdentityProxyV2 = "proxy-v2"
	IdentityHeader  = "header"
)

// The values of [Service.CallerAuth].
const (
	CallerAuthTLS   = "tls"
	CallerAuthRelay = "relay"
)

// Service is one named thing on the device that callers can reach.
type Service struct {
	// Name is what callers ask for, e.g. "web": 1 to 63 of a-z, 0-9 and '-'.
	Name string `yaml:"name"`

	// Target is where calls go: "tcp:host:port", "host:port" or "unix:/path".
	// Empty: the program takes them itself, from [Agent.Listen].
	Target string `yaml:"target"`

	// Identity says how the target learns who calls: "none" (default);
	// "proxy-v2", a PROXY protocol v2 header whose TLV 0xE0 holds the caller's
	// SPIFFE ID, 0xE1 the request id and 0xE2 the purpose; or "header", for an
	// HTTP/1.1 target, the request headers X-Auer-Caller, X-Auer-Request-Id and
	// X-Auer-Purpose, of which a caller's own are removed.
	Identity string `yaml:"identity"`

	// Allow lists the services of the data centre that may call, e.g. [ara, ccc].
	// Empty: every one that the relay's policy lets through and, where raw, the
	// relay's own static entries, whose caller is relay/<id>.
	Allow []string `yaml:"allow"`

	// CallerAuth says who authenticates callers: "tls" (default), the agent, by
	// the certificate in the end-to-end TLS; or "relay", which lets a caller
	// without a certificate in and believes what the relay says about it. A
	// certificate that is shown is checked in both.
	CallerAuth string `yaml:"caller_auth"`

	// Raw allows calls without end-to-end TLS of ours, for a protocol that brings
	// its own, such as SSH. The relay can read what such a protocol does not
	// encrypt, and the caller is who the relay says.
	Raw bool `yaml:"raw"`

	// Bulk lets a call have a TCP connection of its own to the relay, which moves
	// much data faster and at a third of the relay's cost. The calls are end-to-end
	// encrypted as all others; that a call runs, and how much it carries, is seen on
	// the wire. For backups, recordings, firmware.
	Bulk bool `yaml:"bulk"`

	// Streams is how many calls run at once. Default 128.
	Streams int `yaml:"streams"`

	// CallIdle replaces limits.call_idle for this service. Default: that.
	CallIdle time.Duration `yaml:"call_idle"`
}

func (s *Service) fill() {
	def(&s.Identity, IdentityNone)
	def(&s.CallerAuth, CallerAuthTLS)
	def(&s.Streams, 128)
}

func (s Service) validate(key string, bad func(key, format string, args ...any)) {
	// A service of a device follows the grammar of a service's identity.
	if err := identity.Service(identity.DefaultTrustDomain, s.Name).Validate(); err != nil {
		bad(key+".name", "%v", err)
	}
	if s.Target != "" {
		if _, _, err := parseTarget(s.Target); err != nil {
			bad(key+".target", "%v", err)
		}
	}
	switch s.Identity {
	case "", IdentityNone:
	case IdentityProxyV2, IdentityHeader:
		if s.Target == "" {
			bad(key+".identity", "%q needs a target", s.Identity)
		}
		if s.Identity == IdentityHeader && s.Raw {
			bad(key+".raw", "a raw service cannot have headers added")
		}
	default:
		bad(key+".identity", "%q, want none, proxy-v2 or header", s.Identity)
	}
	switch s.CallerAuth {
	case "", CallerAuthTLS, CallerAuthRelay:
	default:
		bad(key+".caller_auth", "%q, want tls or relay", s.CallerAuth)
	}
	for i, name := range s.Allow {
		if err := identity.Service(identity.DefaultTrustDomain, name).Validate(); err != nil {
			bad(fmt.Sprintf("%s.allow[%d]", key, i), "%v", err)
		}
	}
	if s.Streams < 0 {
		bad(key+".streams", "%d is negative", s.Streams)
	}
	if s.CallIdle < 0 {
		bad(key+".call_idle", "%s is negative", s.CallIdle)
	}
}

// allows reports whether the caller may open the service with this inside: a
// service of the same trust domain, on the list if there is one. Devices never
// call devices. A relay calls for a static entry of its own, whose clients have
// no identity; that is raw and nothing else, and no list can name it.
func (s Service) allows(self, caller identity.ID, inner tunnelpb.Inner) bool {
	if caller.TrustDomain != self.TrustDomain {
		return false
	}
	switch caller.Kind {
	case identity.KindService:
		return len(s.Allow) == 0 || slices.Contains(s.Allow, caller.Name)
	case identity.KindRelay:
		return len(s.Allow) == 0 && inner == tunnelpb.Inner_INNER_RAW
	default:
		return false
	}
}

// parseTarget splits a target into network and address for net.Dialer.
func parseTarget(target string) (network, address string, err error) {
	if p, ok := strings.CutPrefix(target, "unix:"); ok {
		if !path.IsAbs(p) {
			return "", "", fmt.Errorf("%q, want unix:/absolute/path", target)
		}
		return "unix", p, nil
	}
	address = strings.TrimPrefix(target, "tcp:")
	return "tcp", address, checkHostPort(address)
}

func checkHostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		if n, perr := strconv.Atoi(port); perr != nil || n < 1 || n > 65535 || host == "" {
			err = errors.New("bad host or port")
		}
	}
	if err != nil {
		return fmt.Errorf("%q, want host:port", s)
	}
	return nil
}
