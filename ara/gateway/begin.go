package gateway

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/flow"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

const (
	pathBegin  = own + "begin"
	pathRedeem = flow.PathRedeem
	pathOpen   = own + "open"
	// maxForm bounds a body that is for the gateway, in bytes.
	maxForm = 16 << 10
)

// begin draws the label of a session, and sends the browser there.
func (g *Gateway) begin(w http.ResponseWriter, r *http.Request) {
	id := grant.SessionID(r.URL.Query().Get("session"))
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	switch {
	case !id.Valid():
		g.refuse(w, r, refusedUnknown)
		return
	case err != nil || !g.begins.allow(addr.Addr()):
		w.Header().Set("Retry-After", "60")
		g.refuse(w, r, refusedOften)
		return
	}
	label := g.sessions.begin(id, time.Now())
	g.redirect(w, r, "https://"+g.cfg.authority(label+"."+g.cfg.Domain)+pathBegin)
}

// bind gives the browser the secret that the grant will be bound to, and sends it to the
// control centre with the hash of that.
func (g *Gateway) bind(w http.ResponseWriter, r *http.Request, label string) {
	now := time.Now()
	var id grant.SessionID
	secret, browser := newSecret()
	b, ok := g.sessions.waiting(label, now)
	switch {
	case !ok:
		g.refuse(w, r, refusedLabel)
		return
	case hasCookie(r, cookieBrowser, b.browser): // it comes again
		id, browser = b.session, b.browser
	default:
		if id, ok = g.sessions.claim(label, browser, now); !ok {
			g.refuse(w, r, refusedBrowser)
			return
		}
		// The grant comes in a form of another site, where a stricter cookie is not sent.
		http.SetCookie(w, ownCookie(cookieBrowser, secret, int(g.cfg.Timing.Begin/time.Second), http.SameSiteNoneMode))
	}
	query := url.Values{"label": {label}, "browser": {base64.RawURLEncoding.EncodeToString(browser[:])}}
	g.redirect(w, r, g.cfg.CCCURL+"/remote/"+string(id)+"?"+query.Encode())
}

// redeem takes the grant.
func (g *Gateway) redeem(w http.ResponseWriter, r *http.Request, label string) {
	now := time.Now()
	b, ok := g.sessions.waiting(label, now)
	if !ok {
		g.refuse(w, r, refusedLabel)
		return
	}
	if b.browser == (hash{}) || !hasCookie(r, cookieBrowser, b.browser) {
		g.refuse(w, r, refusedBrowser)
		return
	}
	if !g.form(w, r) {
		return
	}
	gr, err := grant.Verify(g.cfg.Credentials, now, g.issuer, label+"."+g.cfg.Domain, r.PostForm.Get("grant"))
	if err == nil && (gr.Session != b.session || gr.Browser != b.browser) {
		err = grant.ErrGrant
	}
	if err == nil {
		err = g.used.Use(gr, now)
	}
	if err != nil {
		g.refuse(w, r, refusedGrant)
		return
	}
	secret, cookie := newSecret()
	s := g.newSession(label, gr, cookie)
	s.places.see(r.RemoteAddr)
	switch err := g.sessions.redeem(s); {
	case err == nil:
	case errors.Is(err, errSessions):
		s.cancel()
		g.refuse(w, r, refusedSessions)
		return
	default:
		s.cancel()
		g.refuse(w, r, refusedLabel)
		return
	}
	if !g.enter() {
		s.end("")
		g.refuse(w, r, refusedEnded)
		return
	}
	go func() {
		defer g.watches.Done()
		s.watch()
	}()
	http.SetCookie(w, ownCookie(cookieSession, secret, 0, http.SameSiteLaxMode))
	http.SetCookie(w, ownCookie(cookieBrowser, "", -1, http.SameSiteNoneMode))
	g.redirect(w, r, pathOpen)
}

// form reads a form that is for the gateway; false: it has answered.
func (g *Gateway) form(w http.ResponseWriter, r *http.Request) bool {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(g.cfg.Timing.Header)) // where it cannot, the connection's own counts
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		g.refuse(w, r, refusedForm)
		return false
	}
	_ = rc.SetReadDeadline(time.Time{})
	return true
}

// redirect sends the browser on with GET; nothing of the address is told there.
func (g *Gateway) redirect(w http.ResponseWriter, r *http.Request, to string) {
	h := w.Header()
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusSeeOther)
}
