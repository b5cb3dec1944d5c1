package gateway

import (
	"net/http"
	"slices"
	"strings"
)

// foreign reports whether a page of another origin makes the request, other than to show
// a page of this one. Pages of two sessions are of the same site, so that cookies alone
// keep nothing apart.
func (g *Gateway) foreign(r *http.Request) bool {
	if g.cross.Check(r) != nil {
		return true
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "": // an old browser, or none
		origin := r.Header.Get("Origin")
		return origin != "" && origin != "https://"+r.Host
	default:
		return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document" ||
			r.Method != http.MethodGet && r.Method != http.MethodHead
	}
}

// serviceWorker reports whether a browser wants to install a service worker, which would
// outlive the session and stand before /.ara/.
func serviceWorker(r *http.Request) bool {
	return r.Header.Get("Service-Worker") != "" || r.Header.Get("Sec-Fetch-Dest") == "serviceworker"
}

// hsts is for every host of the gateway (RFC 6797 §6.1).
var hsts = []string{"max-age=31536000"}

// reaching are fields of an answer that reach beyond the origin or the session.
var reaching = []string{
	"Alt-Svc", "Clear-Site-Data", "Public-Key-Pins", "Public-Key-Pins-Report-Only",
	"Service-Worker-Allowed", "Strict-Transport-Security",
}

// answer changes the header of a PBX's answer.
func (s *session) answer(h http.Header) {
	for _, name := range reaching {
		delete(h, name)
	}
	s.jar.fromPBX(h)
	if _, there := h["Referrer-Policy"]; !there {
		h["Referrer-Policy"] = sameOriginPolicy
	}
	// Two sessions cannot become one origin by document.domain.
	h["Origin-Agent-Cluster"] = agentCluster
	if to, ok := h["Location"]; ok && len(to) == 1 {
		h["Location"] = []string{s.secure(to[0])}
	}
}

var (
	sameOriginPolicy = []string{"same-origin"}
	agentCluster     = []string{"?1"}
)

// secure makes https of http in an address of the session's own host: a PBX does not
// always know how it was asked.
func (s *session) secure(address string) string {
	const http = "http://"
	if len(address) < len(http) || !strings.EqualFold(address[:len(http)], http) {
		return address
	}
	host, path := address[len(http):], ""
	if i := strings.IndexAny(host, "/?#"); i >= 0 {
		host, path = host[:i], host[i:]
	}
	if !strings.EqualFold(host, s.authority) && !strings.EqualFold(host, s.host) {
		return address
	}
	return "https://" + s.authority + path
}

// interim keeps of an interim answer (RFC 9110 §15.2) the links that may be fetched
// early, and nothing else.
func interim(h http.Header) {
	for name := range h {
		if name != "Link" {
			delete(h, name)
		}
	}
}

// trailers takes out of the trailers of an answer what may not be in its header either.
func trailers(h http.Header) {
	for name := range h {
		if short, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && (short == "Set-Cookie" || slices.Contains(reaching, short)) {
			delete(h, name)
		}
	}
	delete(h, "Set-Cookie")
}
