package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// fake is a control centre and a PBX as "ccc pair" sees them. How says what happens.
type fake struct {
	how    string
	script *testscript.TestScript

	mu      sync.Mutex // guards what follows
	state   store.State
	streams int
	typed   chan struct{} // closed when the token was typed
}

const (
	fakeToken = "7HQ2-M9KD-4TXW"
	fakeCode  = "123 456"
)

// fakeCCC starts one: "fake-ccc HOW" sets CCC and PBX to its addresses.
func fakeCCC(ts *testscript.TestScript, _ bool, args []string) {
	f := &fake{how: args[0], script: ts, state: store.StateOffered, typed: make(chan struct{})}
	ccc, pbx := httptest.NewServer(f.ccc()), httptest.NewServer(f.pbx())
	ts.Defer(func() {
		ccc.CloseClientConnections()
		ccc.Close()
		pbx.Close()
	})
	ts.Setenv("CCC", ccc.URL)
	ts.Setenv("PBX", pbx.URL)
}

func (f *fake) system() api.System {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := api.System{ID: "s1", Serial: "0123456789", Name: "Office", State: f.state, Tags: []string{}, Groups: []api.Group{}}
	if f.state == store.StateError {
		s.ErrorCode = "proof"
	}
	return s
}

func (f *fake) set(s store.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = s
}

func offer() api.Offer {
	return api.Offer{ID: "o1", Token: fakeToken, QR: "CCC1:o1:" + fakeToken, Code: fakeCode, ExpiresAt: time.Now().Add(time.Hour), State: "open"}
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, code string) {
	reply(w, status, map[string]any{"title": "Refused", "status": status, "code": code})
}

func (f *fake) ccc() http.Handler {
	mux := http.NewServeMux()
	signedIn := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if c, err := r.Cookie("ccc"); err != nil || c.Value != "alive" {
				refuse(w, http.StatusUnauthorized, "unauthenticated")
				return
			}
			h(w, r)
		}
	}
	mux.HandleFunc("POST /api/v1/session", func(w http.ResponseWriter, r *http.Request) {
		var in api.Credentials
		if json.NewDecoder(r.Body).Decode(&in) != nil || in.Email != "anna@example.com" || in.Password != "correct horse battery" {
			refuse(w, http.StatusUnauthorized, "bad_credentials")
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "ccc", Value: "alive", Path: "/", HttpOnly: true})
		reply(w, http.StatusOK, api.Me{})
	})
	mux.HandleFunc("DELETE /api/v1/session", signedIn(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	mux.HandleFunc("POST /api/v1/systems", signedIn(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Idempotency-Key") == "":
			refuse(w, http.StatusBadRequest, "malformed")
		case f.how == "taken":
			refuse(w, http.StatusConflict, "serial_taken_by_you")
		case f.how == "viewer":
			refuse(w, http.StatusForbidden, "forbidden")
		default:
			reply(w, http.StatusCreated, api.SystemOffer{System: f.system(), Offer: offer()})
		}
	}))
	mux.HandleFunc("GET /api/v1/systems", signedIn(func(w http.ResponseWriter, _ *http.Request) {
		other := f.system()
		other.ID, other.Serial = "s0", "9999999999"
		reply(w, http.StatusOK, api.SystemList{Items: []api.System{other, f.system()}, Total: 2})
	}))
	mux.HandleFunc("POST /api/v1/systems/s1/offer", signedIn(func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusCreated, offer()) }))
	mux.HandleFunc("GET /api/v1/systems/s1", signedIn(func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, f.system()) }))
	mux.HandleFunc("GET /api/v1/events", signedIn(f.events))
	return mux
}

// events tells of the steps of a pairing; the token has to be typed in between.
func (f *fake) events(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.streams++
	again := f.streams > 1
	f.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(event string, v any) {
		text, _ := json.Marshal(v)
		_, _ = fmt.Fprintf(w, ": alive\n\nevent: %s\ndata: %s\n\n", event, text)
		_ = http.NewResponseController(w).Flush()
	}
	become := func(s store.State) {
		f.set(s)
		send("system", f.system())
	}
	send("summary", api.Summary{Total: 1})
	other := f.system()
	other.ID, other.State = "s0", store.StatePaired
	send("system", other) // somebody else's is not taken for it
	if f.how == "broken" && !again {
		f.set(store.StateReceived)
		return // the rest is seen by looking
	}
	become(store.StateReceived)
	switch f.how {
	case "declined":
		become(store.StateDeclined)
	case "wrong":
		become(store.StateError)
	case "removed":
		send("removed", api.Removed{ID: "s0"})
		send("removed", api.Removed{ID: "s1"})
	default:
		select {
		case <-f.typed:
		case <-r.Context().Done():
			return
		}
		become(store.StateProving)
		become(store.StatePaired)
	}
	<-r.Context().Done()
}

// pbx is its own API.
func (f *fake) pbx() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/login", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "admin" || password != "pbx password" {
			refuse(w, http.StatusUnauthorized, "unauthenticated")
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "ctx_sessionid", Value: "1", Path: "/"})
	})
	mux.HandleFunc("GET /api/v1/ccc", func(w http.ResponseWriter, _ *http.Request) {
		code := fakeCode
		if f.how == "code" {
			code = "654 321"
		}
		reply(w, http.StatusOK, map[string]any{"offers": []map[string]any{{"id": "o0", "code": "000 000"}, {"id": "o1", "code": code}}})
	})
	mux.HandleFunc("POST /api/v1/ccc/enable", func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		_, err := r.Cookie("ctx_sessionid")
		if err != nil || json.NewDecoder(r.Body).Decode(&in) != nil || in["token"] != fakeToken || in["password"] != "pbx password" || in["offer"] != "o1" {
			refuse(w, http.StatusUnprocessableEntity, "wrong_token")
			return
		}
		close(f.typed)
		reply(w, http.StatusOK, map[string]any{})
	})
	return mux
}
