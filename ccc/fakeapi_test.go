package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

const (
	fakeSystem = "0199f0a2-0000-7000-8000-000000000001"
	fakeSite   = "0199f0a2-0000-7000-8000-000000000002"
	fakeAPIKey = "ccc_token_of_a_test"
)

// fakeOperations starts a control centre as the commands made from its operations see it:
// "fake-api" sets CCC to its address.
func fakeOperations(ts *testscript.TestScript, _ bool, _ []string) {
	server := httptest.NewServer(fakeHandler())
	ts.Defer(server.Close)
	ts.Setenv("CCC", server.URL)
}

// fakeHandler answers as the operations do that the scripts run.
func fakeHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/session", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), "correct horse battery") {
			refuse(w, http.StatusUnauthorized, "bad_credentials")
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "ccc", Value: "half", Path: "/", HttpOnly: true})
		reply(w, http.StatusOK, map[string]any{"proof": map[string]any{"need": "second"}})
	})
	mux.HandleFunc("POST /api/v1/session/second-factor", func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		if json.NewDecoder(r.Body).Decode(&in) != nil || in["totp"] != "123456" && in["recovery"] != "ABCD-EFGH-IJKL-MNOP" {
			refuse(w, http.StatusForbidden, "wrong_code")
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "ccc", Value: "proven", Path: "/", HttpOnly: true})
		reply(w, http.StatusOK, map[string]any{})
	})
	mux.HandleFunc("DELETE /api/v1/session", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	on := func(pattern string, h http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			c, err := r.Cookie("ccc")
			if bearer := r.Header.Get("Authorization") == "Bearer "+fakeAPIKey; !bearer && (err != nil || c.Value != "proven") {
				refuse(w, http.StatusUnauthorized, "unauthenticated")
				return
			}
			if r.Header.Get("Auer-Tenant") == "stranger" {
				refuse(w, http.StatusNotFound, "not_found")
				return
			}
			h(w, r)
		})
	}
	on("GET /api/v1/session", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"user": map[string]any{"id": "u1", "name": "Anna"}, "tenant": map[string]any{"id": "t1", "name": "North"}})
	})
	system := map[string]any{
		"id": fakeSystem, "serial": "0123456789", "name": "Office", "note": "", "state": "paired", "state_since": "2026-11-26T10:00:00Z",
		"online": true, "version": 7, "epoch": "1", "created_at": "2026-11-26T10:00:00Z", "tags": []string{"a", "b"}, "groups": []any{},
	}
	on("GET /api/v1/systems", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("cursor") == "" && r.URL.Query().Get("q") == "" {
			reply(w, http.StatusOK, map[string]any{"items": []any{system}, "next": "page2", "total": 2})
			return
		}
		other := map[string]any{"id": "x", "serial": "9999999999", "name": "Other", "state": "left", "state_since": "", "online": false, "created_at": "", "tags": []string{}, "groups": []any{}}
		reply(w, http.StatusOK, map[string]any{"items": []any{other, system}, "total": 2})
	})
	on("GET /api/v1/systems/"+fakeSystem, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"7"`)
		reply(w, http.StatusOK, system)
	})
	on("PATCH /api/v1/systems/"+fakeSystem, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("If-Match") != `"7"` || string(body) != `{"name":"New","site_id":"`+fakeSite+`","tags":["x","y"]}` {
			refuse(w, http.StatusPreconditionFailed, "version")
			return
		}
		reply(w, http.StatusOK, system)
	})
	on("DELETE /api/v1/systems/"+fakeSystem, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	on("GET /api/v1/sites", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"items": []any{map[string]any{"id": fakeSite, "name": "Braunschweig"}}})
	})
	on("GET /api/v1/groups", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"items": []any{}})
	})
	on("POST /api/v1/sites", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Idempotency-Key") == "" || string(body) != `{"name":"Gifhorn"}` {
			refuse(w, http.StatusBadRequest, "malformed")
			return
		}
		reply(w, http.StatusCreated, map[string]any{"id": "s2", "name": "Gifhorn"})
	})
	on("POST /api/v1/users", func(w http.ResponseWriter, r *http.Request) {
		var in map[string]any
		_ = json.NewDecoder(r.Body).Decode(&in)
		roles, _ := json.Marshal(in["roles"])
		if in["password"] != "correct horse battery" || string(roles) != `[{"role":"monitoring"},{"role":"remote","site_id":"`+fakeSite+`"}]` {
			refuse(w, http.StatusBadRequest, "malformed")
			return
		}
		reply(w, http.StatusCreated, map[string]any{"id": "u2", "name": in["name"], "email": in["email"], "roles": in["roles"]})
	})
	on("DELETE /api/v1/grants/none", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound, "not_found") })
	on("POST /api/v1/grants", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusForbidden, "forbidden") })
	return mux
}
