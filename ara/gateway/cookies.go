package gateway

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/flow"
)

// The gateway's own cookies. With the prefix no other host can set them (RFC 6265bis
// §4.1.3.2).
const (
	cookiePrefix  = flow.CookieSession
	cookieSession = flow.CookieSession
	cookieBrowser = flow.CookieBrowser
)

// ownCookie makes a cookie of the gateway; life 0 lets it end with the browser, below 0
// deletes it.
func ownCookie(name, value string, life int, sameSite http.SameSite) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: life, Secure: true, HttpOnly: true, SameSite: sameSite}
}

// hasCookie reports whether a request brings the secret. There may be several cookies of
// the name, as browsers have let other hosts plant one.
func hasCookie(r *http.Request, name string, secret hash) bool {
	found := false
	for _, c := range r.CookiesNamed(name) {
		// Hashes are compared: how many bytes are equal tells nothing about the secret.
		found = found || hashOf(c.Value) == secret
	}
	return found
}

func isOwnCookie(name string) bool {
	return len(name) >= len(cookiePrefix) && strings.EqualFold(name[:len(cookiePrefix)], cookiePrefix)
}

const (
	maxNames  = 256 // cookies of a PBX that are remembered
	maxValues = 16  // … and values of each: one for each path
)

// jar knows which cookies a PBX has set in a session, so that a browser's cookie for the
// whole domain, which any other session's page can plant, does not pass for one.
type jar struct {
	mu    sync.Mutex
	names map[string]*setCookie // guarded by mu
}

type setCookie struct {
	hidden bool     // from scripts: HttpOnly
	values []string // the newest last
}

// fromPBX notes what a PBX sets, and gives the header as the browser gets it: without
// Domain, and without cookies that have a name of the gateway's.
func (j *jar) fromPBX(h http.Header) {
	lines := h["Set-Cookie"]
	kept := lines[:0]
	for _, line := range lines {
		parts := strings.Split(line, ";")
		name, value, named := strings.Cut(parts[0], "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !named || name == "" || isOwnCookie(name) {
			continue // browsers may take a cookie without a name for one with
		}
		hidden := false
		attributes := parts[:1]
		for _, a := range parts[1:] {
			key, _, _ := strings.Cut(a, "=")
			key = strings.TrimSpace(key)
			hidden = hidden || strings.EqualFold(key, "HttpOnly")
			if !strings.EqualFold(key, "Domain") {
				attributes = append(attributes, a)
			}
		}
		j.note(name, value, hidden)
		kept = append(kept, strings.Join(attributes, ";"))
	}
	if len(kept) == 0 {
		delete(h, "Set-Cookie")
		return
	}
	h["Set-Cookie"] = kept
}

func (j *jar) note(name, value string, hidden bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.names[name]
	if c == nil {
		if len(j.names) >= maxNames {
			return
		}
		if j.names == nil {
			j.names = make(map[string]*setCookie)
		}
		c = &setCookie{}
		j.names[name] = c
	}
	c.hidden = hidden
	if i := slices.Index(c.values, value); i >= 0 {
		c.values = slices.Delete(c.values, i, i+1)
	} else if len(c.values) == maxValues {
		c.values = slices.Delete(c.values, 0, 1)
	}
	c.values = append(c.values, value)
}

// toPBX leaves in a request what the PBX may have set: none of the gateway's own; of a
// name that the PBX hides from scripts only its values; of two with one name those that
// the PBX has set, or else the first.
func (j *jar) toPBX(h http.Header) {
	lines := h["Cookie"]
	if len(lines) == 0 {
		return
	}
	var pairs []pair
	for _, line := range lines {
		for text := range strings.SplitSeq(line, ";") {
			if text = strings.TrimSpace(text); text == "" {
				continue
			}
			name, value, _ := strings.Cut(text, "=")
			if name = strings.TrimSpace(name); !isOwnCookie(name) && !isOwnCookie(strings.TrimSpace(value)) {
				pairs = append(pairs, pair{name: name, text: text, set: j.has(name, strings.TrimSpace(value))})
			}
		}
	}
	kept := make([]string, 0, len(pairs))
	for i, p := range pairs {
		if p.set == yes || p.set == unknown && !slices.ContainsFunc(pairs, func(o pair) bool { return o.name == p.name && o.set == yes }) &&
			!slices.ContainsFunc(pairs[:i], func(o pair) bool { return o.name == p.name }) {
			kept = append(kept, p.text)
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = []string{strings.Join(kept, "; ")}
}

// pair is one cookie of a request.
type pair struct {
	name, text string
	set        verdict
}

// verdict says whether the PBX has set a value.
type verdict uint8

const (
	unknown verdict = iota // a script may have
	yes
	no
)

func (j *jar) has(name, value string) verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.names[name]
	switch {
	case c != nil && slices.Contains(c.values, value):
		return yes
	case c != nil && c.hidden:
		return no
	default:
		return unknown
	}
}
