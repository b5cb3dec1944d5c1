package gateway

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

//go:embed html
var files embed.FS

var templates = template.Must(template.ParseFS(files, "html/*.html"))

// media are the files that every host of the gateway has below /.ara/.
var media = map[string]struct{ file, kind string }{
	"control.css":  {"control.css", mediaCSS},
	"control.js":   {"control.js", mediaJS},
	"terminal.css": {"terminal.css", mediaCSS},
	"terminal.js":  {"terminal.js", mediaJS},
	"xterm.css":    {"xterm/xterm.css", mediaCSS},
	"xterm.js":     {"xterm/xterm.js", mediaJS},
	"addon-fit.js": {"xterm/addon-fit.js", mediaJS},
}

const (
	mediaCSS = "text/css; charset=utf-8"
	mediaJS  = "text/javascript; charset=utf-8"
)

// serveFile gives one of the files; false: it is none.
func serveFile(w http.ResponseWriter, r *http.Request) bool {
	name := strings.TrimPrefix(r.URL.Path, own)
	m, ok := media[name]
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	text, err := files.ReadFile("html/" + m.file)
	if err != nil {
		return false
	}
	h := w.Header()
	h.Set("Content-Type", m.kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "max-age=300")
	if r.Method == http.MethodGet {
		_, _ = w.Write(text) // the browser has gone
	}
	return true
}

// page is what a template shows.
type page struct {
	name  string // of the template
	Lang  string
	T     *texts
	Note  note
	Code  string // of an error
	CCC   string
	State string // in words

	// Of the control page.
	User, Tenant, Serial string
	View                 event
	Open                 string // where the PBX's pages are; empty: not for such a session, or not yet
	Waits, Active        bool
	Sealed               bool // TLS ends in the PBX

	// Of the page of a terminal.
	Target   string
	Nonce    string // empty: it is another page
	Recorded bool
}

// message is a page that says one thing.
func message(n note, code string) page { return page{name: "message.html", Note: n, Code: code} }

// control shows a session: who, how long, and what can be done.
func (g *Gateway) control(w http.ResponseWriter, r *http.Request, s *session, status int, n note) {
	v, _ := s.look()
	t := textOf(r)
	g.page(w, r, status, page{
		name: "control.html", Note: n, State: t.state(v),
		User: s.grant.User, Tenant: s.grant.Tenant, Serial: string(s.grant.Serial), View: v.event(t),
		Open: s.pages(v), Sealed: s.grant.Service == grant.TLS,
		Waits: v.State == grant.Pending, Active: v.State == grant.Active,
	})
}

// page answers with a page of the gateway. Nothing but its own files is loaded, and
// nothing of it can be shown in a frame.
func (g *Gateway) page(w http.ResponseWriter, r *http.Request, status int, p page) {
	p.T, p.CCC = textOf(r), g.cfg.CCCURL
	p.Lang = p.T.Lang
	var body bytes.Buffer
	if err := templates.ExecuteTemplate(&body, p.name, p); err != nil {
		panic(err) // embedded, and tested
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", p.Lang)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", policy(r.Host, p.Nonce))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Vary", "Accept-Language")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = body.WriteTo(w) // the browser has gone
	}
}

// policy lets a page load the gateway's files and nothing of the PBX's, which are on the
// same origin. A host that is not a plain name loads nothing.
func policy(host, nonce string) string {
	const rest = "; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	if host == "" || strings.ContainsFunc(host, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != ':'
	}) {
		return "default-src 'none'" + rest
	}
	at := "https://" + host + own
	if nonce != "" {
		return terminalPolicy(at, nonce) + rest
	}
	return "default-src 'none'; script-src " + at + "control.js; style-src " + at + "control.css; connect-src " + at + "events" + rest
}
