package pbx

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx/calls"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/pages"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/password"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// waitQuery asks for a page that reloads by itself.
const waitQuery = "wait"

// langCookie keeps the language that somebody has picked.
const langCookie = "ctx_language"

// act does what a form asks for, and gives the message for the next page. An error is
// shown on that page where it is a notice, see noticeOf.
type act func(p *PBX, r *http.Request, l login) (pages.Notice, error)

// show fills in a page.
type show func(p *PBX, r *http.Request, l login, pg *pages.Page)

// routePages adds the pages.
func routePages(mux *http.ServeMux) {
	mux.HandleFunc("GET /style.css", serveStyle)
	handle(mux, "GET /login", (*PBX).webLogin)
	handle(mux, "POST /login", (*PBX).webSignIn)
	handle(mux, "POST /language", (*PBX).webLanguage)
	handle(mux, "POST /logout", (*PBX).webLogout)
	page := func(path, name string, a access, data show) {
		handle(mux, "GET "+path, person(a, func(p *PBX, w http.ResponseWriter, r *http.Request, l login) {
			pg := p.page(r, l, name)
			data(p, r, l, &pg)
			p.render(w, r, http.StatusOK, pg)
		}))
	}
	page("/{$}", "status", people, (*PBX).webStatus)
	page("/ccc", "ccc", people, (*PBX).webCCC)
	page("/users", "users", people, (*PBX).webUsers)
	page("/remote", "remote", administrators, (*PBX).webRemote)
	handle(mux, "GET /remote/recordings/{name}", person(administrators, func(p *PBX, w http.ResponseWriter, r *http.Request, l login) {
		if err := p.apiRecording(w, r, l); err != nil {
			p.refuse(w, r, err)
		}
	}))
	page("/switches", "switches", administrators, (*PBX).webSwitches)
	page("/settings", "settings", administrators, (*PBX).webSettings)
	page("/reset", "reset", onSite, (*PBX).webResetPage)
	form := func(path, next string, a access, f act) {
		handle(mux, "POST "+path, person(a, func(p *PBX, w http.ResponseWriter, r *http.Request, l login) {
			n, err := f(p, r, l)
			if err != nil {
				var ok bool
				if n, ok = noticeOf(p.language(r), err); !ok {
					p.refuse(w, r, err)
					return
				}
			}
			p.sessions.notice(l.cookie, n)
			to := next
			if to == "/ccc" && p.store.View().Phase() == state.PhaseCompleting {
				to += "?" + waitQuery // who has typed a token wants to see what comes of it
			}
			http.Redirect(w, r, to, http.StatusSeeOther)
		}))
	}
	form("/ccc/enable", "/ccc", onSite, (*PBX).webEnable)
	form("/ccc/reject", "/ccc", onSite, (*PBX).webReject)
	form("/ccc/disable", "/ccc", onSite, (*PBX).webDisable)
	form("/remote/allow", "/remote", onSite, (*PBX).webAllow)
	form("/remote/refuse", "/remote", onSite, (*PBX).webRefuse)
	form("/remote/end", "/remote", onSite, (*PBX).webEndRemote)
	form("/remote/pin", "/remote", onSite, (*PBX).webPIN)
	form("/remote/settings", "/remote", onSite, (*PBX).webSetRemote)
	form("/users/password", "/users", people, (*PBX).webPassword)
	form("/users/add", "/users", administrators, (*PBX).webAddUser)
	form("/users/delete", "/users", administrators, (*PBX).webDeleteUser)
	form("/switches", "/switches", onSite, (*PBX).webSetSwitches)
	form("/settings", "/settings", administrators, (*PBX).webSetSettings)
	form("/settings/restart", "/settings", administrators, (*PBX).webRestart)
	form("/settings/rollback", "/settings", administrators, (*PBX).webRollback)
	handle(mux, "POST /reset", person(onSite, (*PBX).webReset))
	handle(mux, "/", func(p *PBX, w http.ResponseWriter, r *http.Request) { p.errorPage(w, r, http.StatusNotFound) })
}

// person lets those in who have signed in as somebody who may; others sign in first.
func person(a access, f func(*PBX, http.ResponseWriter, *http.Request, login)) route {
	return func(p *PBX, w http.ResponseWriter, r *http.Request) {
		l, ok := p.signedIn(r)
		if !ok || l.Role == state.RoleCloud {
			to := "/login"
			if r.Method == http.MethodGet && r.URL.Path != "/" {
				to += "?" + url.Values{"next": {r.URL.Path}}.Encode()
			}
			http.Redirect(w, r, to, http.StatusSeeOther)
			return
		}
		if err := a.admit(r, l); err != nil {
			p.refuse(w, r, err)
			return
		}
		f(p, w, r, l)
	}
}

// page is the frame of a page for somebody who has signed in.
func (p *PBX) page(r *http.Request, l login, name string) pages.Page {
	pg := pages.Page{
		Name: name, Lang: p.language(r), Serial: string(p.Serial()), System: p.store.View().Settings.Name,
		User: string(l.Name), Administrator: l.administrator(),
	}
	if l.cookie != "" && name != "message" {
		pg.Notice = p.sessions.takeNotice(l.cookie)
	}
	return pg
}

// language is the one that was picked, or that the browser asks for.
func (p *PBX) language(r *http.Request) string {
	accept := r.Header.Get("Accept-Language")
	if c, err := r.Cookie(langCookie); err == nil {
		accept = c.Value + "," + accept
	}
	return pages.Match(accept, p.store.View().Settings.Language)
}

func (p *PBX) render(w http.ResponseWriter, r *http.Request, status int, pg pages.Page) {
	var body bytes.Buffer
	if err := pages.Render(&body, pg); err != nil {
		p.log.Error("page", "path", r.URL.Path, "error", err)
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Language", pg.Lang)
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // the browser may be gone
}

// errorPage shows what a status means.
func (p *PBX) errorPage(w http.ResponseWriter, r *http.Request, status int) {
	l, _ := p.signedIn(r)
	pg := p.page(r, l, "message")
	key := "message.failed"
	switch status {
	case http.StatusNotFound:
		key = "message.notfound"
	case http.StatusForbidden:
		key = "message.forbidden"
	}
	pg.Data = pages.Message{Title: key + ".title", Text: key + ".text"}
	p.render(w, r, status, pg)
}

var styleTag = fmt.Sprintf(`"%x"`, sha256.Sum256(pages.Style))

func serveStyle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache") // ask whether it has changed
	w.Header().Set("ETag", styleTag)
	http.ServeContent(w, r, "style.css", time.Time{}, bytes.NewReader(pages.Style))
}

func (p *PBX) loginPage(w http.ResponseWriter, r *http.Request, status int, d pages.Login, n pages.Notice) {
	pg := p.page(r, login{}, "login")
	_, d.First = p.FirstPassword()
	pg.Data, pg.Notice = d, n
	p.render(w, r, status, pg)
}

func (p *PBX) webLogin(w http.ResponseWriter, r *http.Request) {
	if l, ok := p.signedIn(r); ok && l.Role != state.RoleCloud {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	var n pages.Notice
	if r.URL.Query().Has("out") {
		n.Key = "login.out"
	}
	p.loginPage(w, r, http.StatusOK, pages.Login{Next: localPath(r.URL.Query().Get("next"))}, n)
}

// localPath gives a path of this PBX, "/" for everything else.
func localPath(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, "/") ||
		strings.HasPrefix(u.Path, "//") || strings.Contains(u.Path, `\`) {
		return "/"
	}
	return u.EscapedPath()
}

func (p *PBX) webSignIn(w http.ResponseWriter, r *http.Request) {
	name, next := strings.TrimSpace(r.PostFormValue("name")), localPath(r.PostFormValue("next"))
	u, err := p.check(r, name, r.PostFormValue("password"))
	if err == nil && u.Role == state.RoleCloud {
		err = errCredentials // the pages are for people
	}
	if err != nil {
		n, ok := noticeOf(p.language(r), err)
		if !ok {
			p.refuse(w, r, err)
			return
		}
		pr, _ := errors.AsType[*Problem](err) // noticeOf has seen it
		p.loginPage(w, r, pr.Status, pages.Login{Name: name, Next: next}, n)
		return
	}
	p.signIn(w, r, p.pageCookie(), u)
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (p *PBX) webLogout(w http.ResponseWriter, r *http.Request) {
	if l, ok := p.signedIn(r); ok {
		p.signOut(w, r, l)
	}
	http.Redirect(w, r, "/login?out", http.StatusSeeOther)
}

// webLanguage keeps a language and goes back to the page where it was picked.
func (p *PBX) webLanguage(w http.ResponseWriter, r *http.Request) {
	lang := pages.Match(r.PostFormValue("lang"), "")
	p.setCookie(w, r, langCookie, lang, deviceLife)
	back := "/"
	if from, err := url.Parse(r.Referer()); err == nil && from.Host == r.Host {
		back = localPath(from.Path)
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}

func (p *PBX) webStatus(_ *http.Request, l login, pg *pages.Page) {
	s := p.store.View()
	d := pages.Status{
		Model: p.cfg.Model, Firmware: p.firmwareVersion(), Started: p.life.started(), Paired: s.Pairing, Offers: len(s.Offers), Tunnel: p.tunnel(),
		Now: time.Now(),
	}
	if s.Pairing != nil {
		d.New = time.Since(s.Pairing.Since) < 24*time.Hour
	}
	if f, err := p.host(); err == nil {
		d.Facts = &f
	}
	if l.administrator() {
		_, d.First = p.FirstPassword()
		for _, one := range p.remote.View().Sessions {
			switch one.State {
			case grant.Active:
				d.Remote = append(d.Remote, one)
			case grant.Pending:
				d.Asking++
			}
		}
	}
	pg.Data = d
}

// tunnel shows the first tunnel that is up, or the first.
func (p *PBX) tunnel() pages.Tunnel {
	t := pages.Tunnel{Expires: p.cfg.Credentials.Leaf().NotAfter}
	agent := p.Agent()
	if agent == nil {
		return t
	}
	t.Configured = true
	for _, slot := range agent.Status().Slots {
		t.Online, t.Since, t.Error = slot.State.Online(), slot.Since, slot.LastError
		if t.Online {
			t.Relay, t.Transport, t.RTT = slot.RelayID, strings.ToUpper(string(slot.Transport)), slot.RTT.Round(100*time.Microsecond)
			return t
		}
	}
	return t
}

func (p *PBX) webUsers(_ *http.Request, l login, pg *pages.Page) {
	d := pages.Users{Self: l.Name, Subscribers: calls.Subscribers, MinLen: password.MinLen, Administrator: l.administrator()}
	for _, u := range p.store.View().Users {
		if d.Administrator || u.Name == l.Name {
			d.Users = append(d.Users, u)
		}
	}
	pg.Data = d
}

func (p *PBX) webSwitches(_ *http.Request, _ login, pg *pages.Page) {
	s := p.store.View()
	pg.Data = pages.Switches{Switches: s.Switches, Phase: s.Phase()}
}

func (p *PBX) webResetPage(_ *http.Request, _ login, pg *pages.Page) {
	pg.Data = pages.Reset{Paired: p.store.View().Pairing}
}
