package gateway

import (
	"context"
	"net/http"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

const (
	pathTerminal = own + "terminal"
	pathShell    = own + "shell"
)

// terminal is the page of a terminal.
func (g *Gateway) terminal(w http.ResponseWriter, r *http.Request, s *session) {
	v := s.settled(r.Context())
	if s.grant.Service != grant.SSH || v.State != grant.Active || !v.ended.IsZero() {
		g.redirect(w, r, own) // which says why
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), g.cfg.Timing.Open)
	defer cancel()
	targets, err := s.pbx.Targets(ctx)
	if err != nil {
		g.failed(w, r, err)
		return
	}
	t := textOf(r)
	nonce, _ := newSecret()
	g.page(w, r, http.StatusOK, page{
		name: "terminal.html", State: t.state(v), Serial: string(s.grant.Serial), View: v.event(t), Target: s.grant.Target, Nonce: nonce,
		Recorded: targets.Recording != "",
	})
}

// terminalPolicy lets the page of a terminal load its files and talk to the gateway. The
// terminal styles by elements that it makes, with the nonce, and by attributes, neither of
// which the target has in its hands.
func terminalPolicy(at, nonce string) string {
	return "default-src 'none'; script-src " + at + "xterm.js " + at + "addon-fit.js " + at + "terminal.js" +
		"; style-src " + at + "control.css " + at + "xterm.css " + at + "terminal.css 'nonce-" + nonce + "'; style-src-attr 'unsafe-inline'" +
		"; connect-src " + at + "events " + "wss" + at[len("https"):] + "shell"
}
