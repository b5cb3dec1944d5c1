package pbx

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// Bounds of wrong passwords.
const (
	guardTries   = 5                // wrong passwords until a source has to wait
	guardForget  = 10 * time.Minute // after the last wrong password
	guardWait    = time.Minute      // the first wait; it doubles
	guardWaitMax = 5 * time.Minute
	guardEntries = 1024 // sources that are known at once
)

// source is who guesses: a browser in which this very user has signed in before, a
// caller of the tunnel, or a part of the network. Each has a count of its own, so that
// nobody can lock a user out anywhere but at his own place.
type source struct {
	name string
	own  bool // it is such a browser
}

// guard counts wrong passwords by source, whatever the user: what happens after a wrong
// password must not tell whether there is a user of that name. The zero value is empty.
type guard struct {
	mu      sync.Mutex
	entries map[source]*guardEntry // guarded by mu
}

type guardEntry struct {
	wrong int
	last  time.Time
	until time.Time // of the wait
}

// try takes one try, and says how long to wait where there is none. A try counts as
// wrong until right takes it back, so that tries at once do not pass the bound.
func (g *guard) try(from source) (wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	e := g.entries[from]
	if e == nil || now.Sub(e.last) >= guardForget {
		g.makeRoom(now)
		e = new(guardEntry)
		g.entries[from] = e
	}
	if now.Before(e.until) {
		return e.until.Sub(now) // which does not make the wait longer
	}
	e.wrong++
	e.last = now
	if e.wrong%guardTries == 0 {
		e.until = now.Add(nthWait(e.wrong / guardTries))
	}
	return 0
}

// nthWait is the nth wait of a source.
func nthWait(n int) time.Duration { return min(guardWait<<min(n-1, 8), guardWaitMax) }

// right takes back a try whose password was right. Of a browser that is its user's own
// everything is forgotten; elsewhere it would let somebody guess at others without end
// who signs in himself between.
func (g *guard) right(from source) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.entries[from]
	switch {
	case e == nil: // forgotten
	case from.own, e.wrong <= 1:
		delete(g.entries, from)
	default:
		if e.wrong%guardTries == 0 {
			e.until = time.Time{} // it was this try that made it wait
		}
		e.wrong--
	}
}

func (g *guard) clear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.entries)
}

// makeRoom removes what is forgotten, and where that is not enough the entry that was
// last used longest ago. mu is held.
func (g *guard) makeRoom(now time.Time) {
	if g.entries == nil {
		g.entries = make(map[source]*guardEntry)
	}
	if len(g.entries) < guardEntries {
		return
	}
	var oldest source
	var last time.Time
	for key, e := range g.entries {
		if now.Sub(e.last) >= guardForget {
			delete(g.entries, key)
			continue
		}
		if last.IsZero() || e.last.Before(last) {
			oldest, last = key, e.last
		}
	}
	if len(g.entries) >= guardEntries {
		delete(g.entries, oldest)
	}
}

// sourceOf tells who sends a request that signs in as user.
func (p *PBX) sourceOf(r *http.Request, user state.UserName) source {
	if c, err := r.Cookie(p.deviceCookie()); err == nil {
		if id, ok := p.readDevice(c.Value, user); ok {
			return source{"browser " + id, true}
		}
	}
	if id := callerOf(r.Context()); !id.IsZero() {
		return source{name: id.Path()}
	}
	return source{name: "net " + network(r.RemoteAddr)}
}

// network is the part of the network that an address is in: the /24 of IPv4, the /48 of
// IPv6.
func network(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	addr = addr.Unmap().WithZone("")
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return ""
	}
	return prefix.String()
}

// newDevice makes the value of the cookie that marks a browser in which user has signed
// in: an id and its HMAC.
func (p *PBX) newDevice(user state.UserName) string {
	id := rand.Text()
	return id + "." + p.deviceMAC(id, user)
}

func (p *PBX) readDevice(value string, user state.UserName) (id string, ok bool) {
	id, mac, _ := strings.Cut(value, ".")
	return id, hmac.Equal([]byte(mac), []byte(p.deviceMAC(id, user)))
}

func (p *PBX) deviceMAC(id string, user state.UserName) string {
	h := hmac.New(sha256.New, p.store.View().DeviceKey)
	_, _ = h.Write([]byte(id + "\x00" + string(user))) // never fails
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
