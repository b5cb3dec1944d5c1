package acmesrv

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/smallstep/nosql/database"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Config of a [Server]. Zero values mean the documented defaults. Roles and what
// has no yaml key are needed, unless it says otherwise.
type Config struct {
	// Roles are the kinds of servers that get certificates here.
	Roles []Role `yaml:"roles"`
	// Lifetime of the certificates. Never beyond that of the intermediate.
	// Default: 720h (30 days).
	Lifetime time.Duration `yaml:"lifetime"`
	// OrdersPerHour is how many orders one account may make, where its role does not say
	// otherwise. Negative: no limit. Default: 20.
	OrdersPerHour int `yaml:"orders_per_hour"`
	// RequestsPerMinute is how many requests one address (IPv4) or /64 (IPv6) may
	// make; one certificate takes about ten. Negative: no limit. Default: 600.
	RequestsPerMinute int `yaml:"requests_per_minute"`
	// Dial says where names are found that this machine does not resolve, or not
	// on the standard ports: "name:443" (tls-alpn-01) or "name:80" (http-01) to
	// the address that is dialled instead; with "*.<domain>" as the name, for every
	// name one label below the domain that is not there itself. Default: none.
	Dial map[string]string `yaml:"dial"`
	// ChallengeTimeout bounds the proof of one name. Default: 10s.
	ChallengeTimeout time.Duration `yaml:"challenge_timeout"`

	// Roots, Issuer and Key sign: the trust bundle and the intermediate for the
	// names of servers.
	Roots  []*x509.Certificate `yaml:"-"`
	Issuer *x509.Certificate   `yaml:"-"`
	// Cross are certificates of the issuer's root by older roots, which every chain
	// ends with.
	Cross []*x509.Certificate `yaml:"-"`
	Key   crypto.Signer       `yaml:"-"`
	// Backdate is how far before its making a certificate is valid. Default: 1h.
	Backdate time.Duration `yaml:"-"`
	// DB keeps the state. It stays open.
	DB database.DB `yaml:"-"`
	// Issued is told about every certificate before the client can have it. An
	// error means that the client never gets it. Default: nobody is told.
	Issued func(context.Context, Issue) error `yaml:"-"`
	// Refused is told about every request that was refused, but for those with a
	// stale nonce, which clients repeat. Default: nobody is told.
	Refused func(context.Context, Refusal) `yaml:"-"`
	// LookupTXT looks for proofs in the DNS (dns-01), which are offered then, and with them
	// wildcards of the names of roles. Default: they are not.
	LookupTXT func(name string) ([]string, error) `yaml:"-"`
	// Blocked is asked before a PBX orders. Default: none is blocked.
	Blocked func(identity.Serial) bool `yaml:"-"`
	// Logger; nil means silence.
	Logger hclog.Logger `yaml:"-"`
}

// Role is one kind of server.
type Role struct {
	// Name is part of the directory's address, e.g. srv-auerproxy. Lower-case
	// letters, digits and '-'.
	Name string `yaml:"name"`
	// Names are what the role may have a certificate for: DNS names,
	// "*.<domain>" for every name one label below a domain, IP addresses and CIDR
	// prefixes. They must be within authority.server_names.
	Names []string `yaml:"names"`
	// WithoutEAB lets everybody who reaches the listener and can prove a name
	// open an account. Default: an external account binding is required.
	WithoutEAB bool `yaml:"without_eab"`
	// Devices makes it the role of PBXs: Names is one "*.<domain>", each account is one
	// PBX's, whose serial the external account binding has, and orders
	// "s<serial>.<domain>" and nothing else.
	Devices bool `yaml:"devices"`
	// OrdersPerHour is how many orders one account of the role may make. Negative: no
	// limit. Default: that of the server; 600 for srv-ara, the gateway of remote access,
	// which orders one for each session.
	OrdersPerHour int `yaml:"orders_per_hour"`
}

const (
	gatewayRole   = "srv-ara"
	gatewayOrders = 600
)

// ordersPerHour of an account of a role.
func (c Config) ordersPerHour(r Role) int {
	switch {
	case r.OrdersPerHour != 0:
		return r.OrdersPerHour
	case r.Name == gatewayRole && c.OrdersPerHour > 0:
		return max(c.OrdersPerHour, gatewayOrders)
	default:
		return c.OrdersPerHour
	}
}

// Issue is a certificate that is about to be handed out.
type Issue struct {
	Role    string
	Account string // the id of the ACME account
	Order   string // the id of the ACME order
	// Certificate is the leaf.
	Certificate *x509.Certificate
}

// Refusal is a request that was refused.
type Refusal struct {
	Role   string
	Path   string // below the role, e.g. new-order
	Type   string // RFC 8555 §6.7, e.g. rejectedIdentifier
	Detail string
}

// DefaultConfig gives the values that stand for the zero value.
func DefaultConfig() Config {
	return Config{
		Lifetime:          30 * 24 * time.Hour,
		OrdersPerHour:     20,
		RequestsPerMinute: 600,
		ChallengeTimeout:  10 * time.Second,
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	c.Lifetime = cmp.Or(c.Lifetime, d.Lifetime)
	c.OrdersPerHour = cmp.Or(c.OrdersPerHour, d.OrdersPerHour)
	c.RequestsPerMinute = cmp.Or(c.RequestsPerMinute, d.RequestsPerMinute)
	c.ChallengeTimeout = cmp.Or(c.ChallengeTimeout, d.ChallengeTimeout)
	c.Backdate = cmp.Or(c.Backdate, time.Hour)
	if c.Issued == nil {
		c.Issued = func(context.Context, Issue) error { return nil }
	}
	if c.Blocked == nil {
		c.Blocked = func(identity.Serial) bool { return false }
	}
	if c.Refused == nil {
		c.Refused = func(context.Context, Refusal) {}
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// leastLifetime keeps a certificate from expiring before its server has noticed.
const leastLifetime = time.Minute

// Validate checks what the file can set, each error a [configs.KeyError] with the
// key below this struct.
func (c Config) Validate() error {
	c = c.withDefaults()
	var all []error
	bad := func(key, hint, format string, args ...any) {
		all = append(all, &configs.KeyError{Key: key, Problem: fmt.Sprintf(format, args...), Hint: hint})
	}
	seen := make(map[string]bool)
	for i, r := range c.Roles {
		key := fmt.Sprintf("roles[%d]", i)
		// A role follows the grammar of a service's name.
		if err := identity.Service(identity.DefaultTrustDomain, r.Name).Validate(); err != nil {
			bad(key+".name", "as in srv-auerproxy", "%v", err)
		}
		if seen[r.Name] {
			bad(key+".name", "", "%q is there twice", r.Name)
		}
		seen[r.Name] = true
		if len(r.Names) == 0 {
			bad(key+".names", "", "is empty: the role could have no certificate")
		}
		if r.Devices && (len(r.Names) != 1 || !strings.HasPrefix(r.Names[0], "*.")) {
			bad(key+".names", `as in ["*.pbx.example.net"]`, "are those of PBXs, want one *.<domain>")
		}
		if r.Devices && r.WithoutEAB {
			bad(key+".without_eab", "", "goes with no devices: nothing would say which PBX an account is of")
		}
		for k, n := range r.Names {
			if _, err := parseName(n); err != nil {
				bad(fmt.Sprintf("%s.names[%d]", key, k), "", "%v", err)
			}
		}
	}
	if c.Lifetime < leastLifetime {
		bad("lifetime", "", "%s, want at least %s", c.Lifetime, leastLifetime)
	}
	if c.ChallengeTimeout < 0 {
		bad("challenge_timeout", "", "is below zero")
	}
	for _, from := range slices.Sorted(maps.Keys(c.Dial)) {
		host, port, err := net.SplitHostPort(from)
		_, _, terr := net.SplitHostPort(c.Dial[from])
		if err != nil || (port != "443" && port != "80") || terr != nil || strings.Contains(strings.TrimPrefix(host, "*."), "*") {
			bad("dial", `as in "relay.localhost:443": "127.0.0.1:7844"`, "%q: %q, want name:443 or name:80, where the name can begin with \"*.\", and an address with a port", from, c.Dial[from])
		}
	}
	return errors.Join(all...)
}

// name is a parsed entry of Role.Names: a prefix, or a DNS name with or without
// "*." in front.
type name struct {
	prefix netip.Prefix
	dns    string
}

func parseName(s string) (name, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return name{prefix: netip.PrefixFrom(addr, addr.BitLen())}, nil
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return name{prefix: p.Masked()}, nil
	}
	// The grammar of a trust domain is that of a DNS name in lower case.
	if _, err := identity.ParseTrustDomain(strings.TrimPrefix(s, "*.")); err != nil {
		return name{}, fmt.Errorf("%q, want a lower-case DNS name, *.<domain>, an IP address or a CIDR prefix", s)
	}
	return name{dns: s}, nil
}

// within checks a name against the name constraints of the issuer, so that a
// mistake shows at the start and not when a server asks.
func (n name) within(issuer *x509.Certificate) error {
	if n.dns == "" {
		ip, bits := net.IP(n.prefix.Addr().AsSlice()), n.prefix.Bits()
		for _, r := range issuer.PermittedIPRanges {
			if ones, size := r.Mask.Size(); size == n.prefix.Addr().BitLen() && ones <= bits && r.Contains(ip) {
				return nil
			}
		}
		return fmt.Errorf("%s is not within the addresses that the intermediate may sign for", n.prefix)
	}
	host := strings.TrimPrefix(n.dns, "*.")
	below := func(d string) bool { return host == d || strings.HasSuffix(host, "."+d) }
	if !slices.ContainsFunc(issuer.PermittedDNSDomains, below) || slices.ContainsFunc(issuer.ExcludedDNSDomains, below) {
		return fmt.Errorf("%s is not within the domains that the intermediate may sign for", n.dns)
	}
	return nil
}
