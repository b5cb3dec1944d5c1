package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/flow"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// ownPages are the paths of the gateway on the origin of a session that somebody is
// signed in to.
func (g *Gateway) ownPages() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(http.ResponseWriter, *http.Request, *session)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { f(w, r, sessionOf(r.Context())) })
	}
	handle("GET "+own+"{$}", func(w http.ResponseWriter, r *http.Request, s *session) { g.control(w, r, s, http.StatusOK, note{}) })
	handle("GET "+pathOpen, func(w http.ResponseWriter, r *http.Request, s *session) {
		to := s.pages(s.settled(r.Context()))
		if to == "" || s.grant.Service == grant.TLS {
			// Pages of another host get a tab of their own. And the control centre's page,
			// from which the browser comes, lets forms lead to the gateway only.
			to = own
		}
		g.redirect(w, r, to)
	})
	handle("GET "+own+"events", g.events)
	handle("GET "+flow.PathConnect, g.connect)
	handle("GET "+pathTerminal, g.terminal)
	handle("GET "+pathShell, g.shell)
	handle("POST "+own+"pin", g.act(func(ctx context.Context, s *session, r *http.Request) error {
		pin := strings.ReplaceAll(strings.TrimSpace(r.PostForm.Get("pin")), " ", "")
		return s.pbx.PIN(ctx, pin)
	}))
	handle("POST "+own+"extend", g.act(func(ctx context.Context, s *session, r *http.Request) error {
		minutes, err := strconv.Atoi(r.PostForm.Get("minutes"))
		if err != nil {
			return remote.ErrMalformed
		}
		return s.pbx.Extend(ctx, minutes)
	}))
	handle("POST "+own+"end", g.act(func(ctx context.Context, s *session, _ *http.Request) error {
		err := s.pbx.End(ctx)
		s.end(grant.CauseUser) // here at least, whatever the PBX knows of it
		return err
	}))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { g.refuse(w, r, refusedUnknown) })
	return mux
}

// serveOwn is what is the gateway's on the origin of a session.
func (g *Gateway) serveOwn(w *response, r *http.Request, label string) {
	switch {
	case r.URL.Path == pathBegin && r.Method == http.MethodGet:
		g.bind(w, r, label)
		return
	case r.URL.Path == pathRedeem && r.Method == http.MethodPost:
		g.redeem(w, r, label)
		return
	case r.URL.Path == pathBegin, r.URL.Path == pathRedeem:
		g.refuse(w, r, refusedMethod)
		return
	}
	if serveFile(w, r) {
		return
	}
	s := g.owned(w, r, label)
	if s == nil {
		return
	}
	if g.foreign(r) {
		g.refuse(w, r, refusedOrigin)
		return
	}
	g.own.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), sessionKey{}, s)))
}

// owned gives the session of a label to the browser that it belongs to; nil: it has
// answered.
func (g *Gateway) owned(w http.ResponseWriter, r *http.Request, label string) *session {
	s := g.sessions.session(label)
	switch {
	case s == nil:
		g.refuse(w, r, refusedLabel)
		return nil
	case !hasCookie(r, cookieSession, s.cookie):
		g.refuse(w, r, refusedBrowser)
		return nil
	}
	s.places.see(r.RemoteAddr)
	return s
}

// act does what a form asks for, and shows the page with what became of it.
func (g *Gateway) act(do func(context.Context, *session, *http.Request) error) func(http.ResponseWriter, *http.Request, *session) {
	return func(w http.ResponseWriter, r *http.Request, s *session) {
		if !g.form(w, r) {
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), g.cfg.Timing.Open)
		defer cancel()
		err := do(ctx, s, r)
		if err == nil || s.ctx.Err() != nil {
			g.redirect(w, r, own)
			return
		}
		t := textOf(r)
		switch {
		case errors.Is(err, remote.ErrPIN):
			g.control(w, r, s, http.StatusForbidden, t.WrongPIN)
		case errors.Is(err, remote.ErrTries):
			g.control(w, r, s, http.StatusForbidden, t.Tries)
		case errors.Is(err, remote.ErrMalformed):
			g.control(w, r, s, http.StatusBadRequest, t.Malformed)
		case errors.Is(err, remote.ErrState):
			g.control(w, r, s, http.StatusConflict, t.State)
		case errors.Is(err, remote.ErrUnknown):
			s.end("")
			g.redirect(w, r, own)
		default:
			g.control(w, r, s, http.StatusBadGateway, t.Unreachable)
		}
	}
}

// event is what the control page gets of a view.
type event struct {
	State     grant.State      `json:"state"`
	Remaining int64            `json:"remaining"` // seconds
	Warn      bool             `json:"warn"`
	Lost      bool             `json:"lost"`
	Extension remote.Extension `json:"extension"`
	Text      string           `json:"text"`
}

func (v view) event(t *texts) event {
	left := v.remaining(time.Now())
	return event{
		State: v.State, Remaining: int64(left / time.Second), Warn: v.State == grant.Active && left <= remote.Warning,
		Lost: v.lost, Extension: v.Extension, Text: t.state(v),
	}
}

// events tells the control page how the session stands, as Server-Sent Events.
func (g *Gateway) events(w http.ResponseWriter, r *http.Request, s *session) {
	defer s.events.Add(-1)
	if int(s.events.Add(1)) > g.cfg.Limits.Events {
		g.refuse(w, r, refusedStreams)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	t := textOf(r)
	tick := time.NewTicker(remote.Heartbeat)
	defer tick.Stop()
	for {
		v, changed := s.look()
		text, err := json.Marshal(v.event(t))
		if err != nil {
			return
		}
		_ = rc.SetWriteDeadline(time.Now().Add(remote.Heartbeat)) // not with every writer
		if _, err := fmt.Fprintf(w, "retry: 3000\nevent: state\ndata: %s\n\n", text); err != nil {
			return
		}
		if rc.Flush() != nil || !v.ended.IsZero() {
			return
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-g.ctx.Done():
			return
		}
	}
}
