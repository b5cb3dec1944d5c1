package account

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"
	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// party is who the authenticator takes us for.
var party = virtualwebauthn.RelyingParty{ID: "ccc.example.com", Name: "x", Origin: "https://ccc.example.com"}

// authenticator is a software one with a key.
type authenticator struct {
	virtualwebauthn.Authenticator
	key virtualwebauthn.Credential
}

func newAuthenticator() *authenticator {
	return &authenticator{Authenticator: virtualwebauthn.NewAuthenticator(), key: virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)}
}

func (a *authenticator) create(t testing.TB, rp virtualwebauthn.RelyingParty, options json.RawMessage) json.RawMessage {
	t.Helper()
	o, err := virtualwebauthn.ParseAttestationOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	a.Options.UserHandle = []byte(o.UserID)
	return json.RawMessage(virtualwebauthn.CreateAttestationResponse(rp, a.Authenticator, a.key, *o))
}

func (a *authenticator) get(t testing.TB, rp virtualwebauthn.RelyingParty, options json.RawMessage) json.RawMessage {
	t.Helper()
	o, err := virtualwebauthn.ParseAssertionOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	a.key.Counter++
	return json.RawMessage(virtualwebauthn.CreateAssertionResponse(rp, a.Authenticator, a.key, *o))
}

// addKey adds the authenticator's key in a session and gives the session's new cookie.
func (w *world) addKey(t testing.TB, cookie *http.Cookie, a *authenticator) (key store.Passkey, next *http.Cookie, codes []string) {
	t.Helper()
	w.request(t, cookie, func(ctx context.Context) {
		options, err := w.BeginPasskey(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{`"residentKey":"required"`, `"userVerification":"required"`, `"id":"ccc.example.com"`} {
			if !bytes.Contains(options, []byte(part)) {
				t.Errorf("the options have no %s: %s", part, options)
			}
		}
		if key, next, codes, err = w.AddPasskey(ctx, "Key", a.create(t, party, options)); err != nil {
			t.Fatal(err)
		}
	})
	return key, next, codes
}

// beginKey begins a sign-in and gives the options and the browser's cookie.
func (w *world) beginKey(t testing.TB) (options json.RawMessage, holder *http.Cookie) {
	t.Helper()
	w.request(t, nil, func(ctx context.Context) {
		var err error
		if options, holder, err = w.BeginPasskeySignIn(ctx); err != nil {
			t.Fatal(err)
		}
	})
	return options, holder
}

// finishKey ends it.
func (w *world) finishKey(t testing.TB, holder *http.Cookie, answer json.RawMessage) (cookie *http.Cookie, err error) {
	t.Helper()
	w.request(t, holder, func(ctx context.Context) { cookie, err = w.SignInByPasskey(ctx, answer) })
	return cookie, err
}

func TestPasskey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withKeys(t, Required)
	a := newAuthenticator()
	first := w.begin(t, nil, password)
	key, in, codes := w.addKey(t, first, a)
	if len(codes) != RecoveryCodes || in.Value == first.Value || w.in(t, first) {
		t.Errorf("%d recovery codes; the token of before: %v", len(codes), w.in(t, first))
	}
	w.wantStanding(t, in, BySecond, "", true)
	w.wantStanding(t, w.begin(t, nil, password), ByPassword, NeedSecond, false)

	options, holder := w.beginKey(t)
	if holder.Name != securePasskeyCookie || !holder.HttpOnly || !holder.Secure || holder.SameSite != http.SameSiteStrictMode {
		t.Errorf("the cookie is %v", holder)
	}
	answer := a.get(t, party, options)
	cookie, err := w.finishKey(t, holder, answer)
	if err != nil {
		t.Fatal(err)
	}
	w.wantStanding(t, cookie, BySecond, "", true)
	if _, err := w.finishKey(t, holder, answer); !errors.Is(err, ErrPasskey) {
		t.Errorf("the same answer again: %v", err)
	}
	w.request(t, cookie, func(ctx context.Context) {
		all, err := w.Passkeys(ctx)
		if err != nil || len(all) != 1 || all[0].ID != key.ID || all[0].LastUsed == nil || all[0].Name != "Key" {
			t.Errorf("the keys: %+v, %v", all, err)
		}
		if err := errors.Join(w.RenamePasskey(ctx, key.ID, "Other")); err != nil {
			t.Error(err)
		}
		if err := w.RemovePasskey(ctx, key.ID); !errors.Is(err, ErrLastFactor) {
			t.Errorf("the last one: %v", err)
		}
	})
	_, cookie, _ = w.enrol(t, cookie)
	w.request(t, cookie, func(ctx context.Context) {
		if err := w.RemovePasskey(ctx, key.ID); err != nil {
			t.Error(err)
		}
	})
	options, holder = w.beginKey(t)
	if _, err := w.finishKey(t, holder, a.get(t, party, options)); !errors.Is(err, ErrPasskey) {
		t.Errorf("a removed key: %v", err)
	}
}

// What is wrong with an answer, each by itself; the control is right.
func TestPasskeyRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withKeys(t, Required)
	a := newAuthenticator()
	_, in, _ := w.addKey(t, w.begin(t, nil, password), a)
	otherOrigin, otherParty := party, party
	otherOrigin.Origin, otherParty.ID = "https://evil.example", "evil.example"
	for _, tt := range []struct {
		name   string
		rp     virtualwebauthn.RelyingParty
		change func(a *authenticator, options json.RawMessage) json.RawMessage
		holder func(c *http.Cookie) *http.Cookie
		right  bool
	}{
		{name: "another origin", rp: otherOrigin},
		{name: "another party", rp: otherParty},
		{name: "not verified", change: func(a *authenticator, o json.RawMessage) json.RawMessage {
			a.Options.UserNotVerified = true
			return o
		}},
		{name: "nobody there", change: func(a *authenticator, o json.RawMessage) json.RawMessage {
			a.Options.UserNotPresent = true
			return o
		}},
		{name: "another user", change: func(a *authenticator, o json.RawMessage) json.RawMessage {
			a.Options.UserHandle = []byte("somebody")
			return o
		}},
		{name: "no user", change: func(a *authenticator, o json.RawMessage) json.RawMessage {
			a.Options.UserHandle = nil
			return o
		}},
		{name: "another key", change: func(a *authenticator, o json.RawMessage) json.RawMessage {
			a.key.Key = virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2).Key
			return o
		}},
		{name: "unknown key", change: func(a *authenticator, o json.RawMessage) json.RawMessage {
			a.key.ID = []byte("another id of a key")
			return o
		}},
		{name: "another challenge", change: func(_ *authenticator, _ json.RawMessage) json.RawMessage {
			other, _ := w.beginKey(t)
			return other
		}},
		{name: "another browser", holder: func(*http.Cookie) *http.Cookie {
			_, other := w.beginKey(t)
			return other
		}},
		{name: "no cookie", holder: func(*http.Cookie) *http.Cookie { return nil }},
		{name: "right", right: true},
	} {
		copied := *a
		options, holder := w.beginKey(t)
		if tt.change != nil {
			options = tt.change(&copied, options)
		}
		if tt.rp.ID == "" {
			tt.rp = party
		}
		answer := copied.get(t, tt.rp, options)
		if tt.holder != nil {
			holder = tt.holder(holder)
		}
		if _, err := w.finishKey(t, holder, answer); tt.right != (err == nil) || err != nil && !errors.Is(err, ErrPasskey) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for _, garbage := range []string{``, `{}`, `null`, `{"id":"x","rawId":"x","type":"public-key","response":{}}`} {
		_, holder := w.beginKey(t)
		if _, err := w.finishKey(t, holder, json.RawMessage(garbage)); !errors.Is(err, ErrPasskey) {
			t.Errorf("%q: %v", garbage, err)
		}
	}
	// A disabled user, and a challenge of another session when a key is added.
	if err := w.SetDisabled(t.Context(), w.tenant, w.user.ID, true); err != nil {
		t.Fatal(err)
	}
	options, holder := w.beginKey(t)
	if _, err := w.finishKey(t, holder, a.get(t, party, options)); !errors.Is(err, ErrPasskey) {
		t.Errorf("disabled: %v", err)
	}
	if w.in(t, in) {
		t.Error("the session of a disabled user goes on")
	}
}

// A counter that goes back says that there is a copy of the key.
func TestPasskeyCopied(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	w := newWorld(t)
	cfg := w.withKeys(t, Required)
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Warn})
	w.restart(t, cfg)
	a := newAuthenticator()
	w.addKey(t, w.begin(t, nil, password), a)
	try := func(counter uint32) error {
		a.key.Counter = counter - 1
		options, holder := w.beginKey(t)
		_, err := w.finishKey(t, holder, a.get(t, party, options))
		return err
	}
	if err := try(5); err != nil {
		t.Fatal(err)
	}
	if log.Len() > 0 {
		t.Errorf("an alarm without reason: %s", &log)
	}
	if err := try(5); !errors.Is(err, ErrPasskey) || !strings.Contains(log.String(), "went back") {
		t.Errorf("the same counter: %v, alarm %q", err, &log)
	}
	if err := try(6); err != nil {
		t.Errorf("the right one goes on: %v", err)
	}
}

// A challenge to add a key is one session's, and good once.
func TestPasskeyChallengeIsBound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withKeys(t, Offered)
	victim, thief := w.begin(t, nil, password), w.begin(t, nil, password)
	var options json.RawMessage
	w.request(t, victim, func(ctx context.Context) {
		var err error
		if options, err = w.BeginPasskey(ctx); err != nil {
			t.Fatal(err)
		}
	})
	a := newAuthenticator()
	answer := a.create(t, party, options)
	add := func(cookie *http.Cookie) (err error) {
		w.request(t, cookie, func(ctx context.Context) { _, _, _, err = w.AddPasskey(ctx, "Key", answer) })
		return err
	}
	if err := add(thief); !errors.Is(err, ErrPasskey) {
		t.Errorf("in another session: %v", err)
	}
	if err := add(victim); err != nil {
		t.Errorf("in its own: %v", err)
	}
}

func TestExternalURL(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{
		"": true, "https://ccc.example.com": true, "https://ccc.example.com:8443/": true, "http://localhost": true, "http://ccc.localhost:8080": true,
		"http://ccc.example.com": false, "ccc.example.com": false, "https://192.0.2.1": false, "http://127.0.0.1:80": false, "https://": false,
		"https://ccc.example.com/x": false, "https://CCC.example.com": false, "https://me@ccc.example.com": false, "https://ccc.example.com?x": false, "https://[::1]": false,
	} {
		err := Config{ExternalURL: text}.Validate()
		if (err == nil) != good || err != nil && !strings.HasPrefix(err.Error(), "external_url: ") {
			t.Errorf("%s: %v", text, err)
		}
	}
	w := newWorld(t)
	w.withKeys(t, Offered)
	for host, good := range map[string]bool{"ccc.example.com": true, "CCC.example.com:443": true, "fontevo.example.com": false} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+"/", nil)
		w.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if _, _, err := w.BeginPasskeySignIn(r.Context()); (err == nil) != good || err != nil && !errors.Is(err, ErrNoPasskeys) {
				t.Errorf("%s: %v", host, err)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	}
	if !w.PasskeysHere("ccc.example.com") || w.PasskeysHere("fontevo.example.com") {
		t.Error("where passkeys work")
	}
}
