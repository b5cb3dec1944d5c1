package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// fakeAccess is a control centre, a PBX and a gateway as "ccc remote" sees them. How says
// what the PBX does: allow, refuse, wait, or off.
type fakeAccess struct {
	how string

	mu    sync.Mutex // guards what follows
	state grant.State
	cause grant.Cause
	hash  string
}

const (
	fakeLabel   = "abcdefghijklmnopqrstuvwx23"
	fakeBrowser = "c2VjcmV0LW9mLXRoZS1nYXRld2F5"
)

// fakeRemote starts one: "fake-remote HOW" sets CCC and ARA to its addresses, and writes
// the gateway's certificate to gateway.pem.
func fakeRemote(ts *testscript.TestScript, _ bool, args []string) {
	f := &fakeAccess{how: args[0], state: grant.Pending}
	ccc, ara := httptest.NewServer(f.ccc()), httptest.NewTLSServer(f.gateway())
	ts.Defer(func() {
		ccc.CloseClientConnections()
		ccc.Close()
		ara.Close()
	})
	ts.Setenv("CCC", ccc.URL)
	ts.Setenv("ARA", ara.Listener.Addr().String())
	ts.Check(os.WriteFile(ts.MkAbs("gateway.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ara.Certificate().Raw}), 0o600))
}

func (f *fakeAccess) session() api.RemoteSession {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := api.RemoteSession{
		ID: "r1", SystemID: "s1", Serial: "0123456789", User: api.Actor{ID: "u1", Name: "Anna"}, Own: true, Reason: "no dial tone",
		Service: grant.SSH, Target: "shell", State: f.state, Cause: f.cause, RequestedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
	}
	if !f.state.Final() {
		s.StartURL = "https://example.com/begin?session=r1"
	}
	return s
}

func (f *fakeAccess) set(s grant.State, c grant.Cause) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state, f.cause = s, c
}

func (f *fakeAccess) ccc() http.Handler {
	mux := http.NewServeMux()
	proven := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if c, err := r.Cookie("ccc"); err != nil || c.Value != "proven" {
				refuse(w, http.StatusUnauthorized, "unauthenticated")
				return
			}
			h(w, r)
		}
	}
	mux.HandleFunc("POST /api/v1/session", func(w http.ResponseWriter, r *http.Request) {
		var in api.Credentials
		if json.NewDecoder(r.Body).Decode(&in) != nil || in.Password != "correct horse battery" {
			refuse(w, http.StatusUnauthorized, "bad_credentials")
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "ccc", Value: "half", Path: "/", HttpOnly: true})
		reply(w, http.StatusOK, map[string]any{"proof": map[string]any{"need": "second"}})
	})
	mux.HandleFunc("POST /api/v1/session/second-factor", func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		if c, err := r.Cookie("ccc"); err != nil || c.Value != "half" || json.NewDecoder(r.Body).Decode(&in) != nil || in["totp"] != "123456" {
			refuse(w, http.StatusUnauthorized, "bad_credentials")
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "ccc", Value: "proven", Path: "/", HttpOnly: true})
		reply(w, http.StatusOK, map[string]any{})
	})
	mux.HandleFunc("DELETE /api/v1/session", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /api/v1/systems", proven(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, api.SystemList{Items: []api.System{{ID: "s0", Serial: "9999999999"}, {ID: "s1", Serial: "0123456789"}}, Total: 2})
	}))
	mux.HandleFunc("POST /api/v1/systems/s1/remote", proven(func(w http.ResponseWriter, r *http.Request) {
		var in api.NewRemote
		switch {
		case f.how == "off":
			refuse(w, http.StatusConflict, "remote_off")
		case r.Header.Get("Idempotency-Key") == "" || json.NewDecoder(r.Body).Decode(&in) != nil || in.Service != grant.SSH || in.Target != "shell" || in.Reason != "no dial tone":
			refuse(w, http.StatusBadRequest, "malformed")
		default:
			reply(w, http.StatusCreated, f.session())
		}
	}))
	mux.HandleFunc("GET /api/v1/remote/r1", proven(func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, f.session()) }))
	mux.HandleFunc("GET /api/v1/remote", proven(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, api.RemoteList{Items: []api.RemoteSession{f.session()}})
	}))
	mux.HandleFunc("DELETE /api/v1/systems/s1/remote/r1", proven(func(w http.ResponseWriter, _ *http.Request) {
		f.set(grant.Ended, grant.CauseUser)
		w.WriteHeader(http.StatusNoContent)
	}))
	mux.HandleFunc("POST /api/v1/systems/s1/remote/r1/grant", proven(func(w http.ResponseWriter, r *http.Request) {
		var in api.RemoteBrowser
		f.mu.Lock()
		defer f.mu.Unlock()
		if json.NewDecoder(r.Body).Decode(&in) != nil || in.Label != fakeLabel || in.Browser != f.hash {
			refuse(w, http.StatusBadRequest, "malformed")
			return
		}
		reply(w, http.StatusOK, api.RemoteTicket{Grant: "gra.nt.x", URL: "https://" + fakeLabel + ".example.com/.ara/redeem", ExpiresAt: time.Now().Add(time.Minute)})
	}))
	mux.HandleFunc("GET /api/v1/events", proven(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		send := func(event string) {
			_, _ = fmt.Fprintf(w, "event: %s\ndata: {}\n\n", event)
			_ = http.NewResponseController(w).Flush()
		}
		send("summary")
		send("system")
		switch f.how {
		case "allow":
			f.set(grant.Active, "")
		case "refuse":
			f.set(grant.Refused, grant.CauseAdmin)
		}
		send("remote")
		<-r.Context().Done()
	}))
	return mux
}

func (f *fakeAccess) gateway() http.Handler {
	hash := sha256.Sum256([]byte(fakeBrowser))
	f.hash = base64.RawURLEncoding.EncodeToString(hash[:])
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Ara-Refused", "unknown")
		switch {
		case r.Host == "example.com" && r.URL.Path == "/begin" && r.URL.Query().Get("session") == "r1":
			http.Redirect(w, r, "https://"+fakeLabel+".example.com/.ara/begin", http.StatusSeeOther)
		case r.Host == fakeLabel+".example.com" && r.URL.Path == "/.ara/begin":
			http.SetCookie(w, &http.Cookie{Name: "__Host-ara-browser", Value: fakeBrowser, Path: "/", Secure: true, HttpOnly: true})
			http.Redirect(w, r, "https://ccc.example.net/remote/r1?label="+fakeLabel+"&browser="+f.hash, http.StatusSeeOther)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
}
