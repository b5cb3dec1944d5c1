package api

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// proxied takes the address of the client, and whether it came by https, from what a
// trusted proxy says in X-Forwarded-For and X-Forwarded-Proto. What others say there
// counts for nothing. Forwarded (RFC 7239) is not read: a proxy that sets one of both
// lets through what the client says in the other.
func (a *API) proxied(next http.Handler) http.Handler {
	trusted := a.cfg.proxies()
	if len(trusted) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if proxy, ok := parseAddr(r.RemoteAddr); ok && isIn(trusted, proxy) {
			r = r.Clone(r.Context())
			client := clientOf(proxy, r.Header.Values("X-Forwarded-For"), trusted)
			r.RemoteAddr = netip.AddrPortFrom(client, 0).String()
			if proto := r.Header.Values("X-Forwarded-Proto"); r.TLS == nil && len(proto) == 1 && strings.EqualFold(proto[0], "https") {
				r.TLS = &tls.ConnectionState{} // for all who ask whether it came by https
			}
		}
		next.ServeHTTP(w, r)
	})
}

// clientOf goes back from the proxy, through those that are trusted, to whom they name.
// Each proxy adds at the end; what stands before is what it was told.
func clientOf(proxy netip.Addr, forwarded []string, trusted []netip.Prefix) netip.Addr {
	client := proxy
	for _, text := range slices.Backward(strings.Split(strings.Join(forwarded, ","), ",")) {
		addr, ok := parseAddr(strings.TrimSpace(text))
		if !ok {
			break
		}
		client = addr
		if !isIn(trusted, addr) {
			break
		}
	}
	return client
}

// parseAddr reads an address with or without port.
func parseAddr(text string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return addr.Unmap().WithZone(""), err == nil
}

func isIn(all []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// parseProxy reads an address, or a prefix such as 192.0.2.0/24.
func parseProxy(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		addr = addr.Unmap()
		return addr.Prefix(addr.BitLen())
	}
	return netip.ParsePrefix(text)
}

// proxies gives TrustedProxies, which are valid.
func (c Config) proxies() (all []netip.Prefix) {
	for _, text := range c.TrustedProxies {
		if p, err := parseProxy(text); err == nil {
			all = append(all, p)
		}
	}
	return all
}
