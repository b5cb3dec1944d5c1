package webhook

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"syscall"
)

// special are networks that are not public (IANA's registries of special-purpose
// addresses, RFC 6890), beside those that netip knows: carrier NAT, protocols,
// documentation, benchmarks, what was reserved, and what has an address of IPv4 in it.
var special = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
)

func prefixes(all ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(all))
	for i, text := range all {
		out[i] = netip.MustParsePrefix(text)
	}
	return out
}

// ErrNotPublic: an address is not public, and no configuration lets it be reached.
var ErrNotPublic = errors.New("the address is not public")

// guard decides which addresses are reached.
type guard struct{ allowed []netip.Prefix }

func newGuard(networks []string) (g guard, err error) {
	for _, text := range networks {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return g, err
		}
		g.allowed = append(g.allowed, p.Masked())
	}
	return g, nil
}

func contains(all []netip.Prefix, a netip.Addr) bool {
	for _, p := range all {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// check finds fault with an address.
func (g guard) check(a netip.Addr) error {
	a = a.Unmap().WithZone("")
	if contains(g.allowed, a) {
		return nil
	}
	if !a.IsGlobalUnicast() || a.IsPrivate() || contains(special, a) {
		return ErrNotPublic
	}
	return nil
}

// control is for net.Dialer: it sees the address after the name was resolved, and before
// anything is sent there.
func (g guard) control(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%s: %w", address, ErrNotPublic)
	}
	return g.check(a.Addr())
}

// InvalidURLError says what is wrong with the address of a receiver.
type InvalidURLError struct{ Problem string }

// Error gives it.
func (e *InvalidURLError) Error() string { return e.Problem }

// maxURL is how long an address may be.
const maxURL = 1000

// CheckURL finds fault with the address of a receiver, as far as that can be said before
// its name is resolved; the error is an [*InvalidURLError].
func (s *Service) CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" || len(text) > maxURL {
		return &InvalidURLError{"is not an address, such as https://example.com/hook"}
	}
	if u.User != nil || u.Fragment != "" {
		return &InvalidURLError{"has a password or a fragment"}
	}
	a, literal := netip.ParseAddr(u.Hostname())
	if literal == nil && s.guard.check(a) != nil {
		return &InvalidURLError{"leads to an address that is not public"}
	}
	switch {
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && literal == nil && a.IsLoopback(): // and allowed
		return nil
	}
	return &InvalidURLError{"does not begin with https://"}
}

// dialer connects to public addresses alone.
func (s *Service) dialer() *net.Dialer {
	d := &net.Dialer{Timeout: s.cfg.Timeout, Resolver: s.cfg.Resolver, Control: s.guard.control}
	if s.cfg.Proxy != "" {
		d.Control = nil // it is the proxy that is reached, which the operator has named
	}
	return d
}
