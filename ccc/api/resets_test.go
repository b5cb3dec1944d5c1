package api

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/mail"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// answering runs what sends links for new passwords.
func (w *world) answering() *world {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.accounts.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		w.must(<-done)
	})
	return w
}

// mailed waits until so many mails for an address are queued.
func (w *world) mailed(to string, n int) []mail.Message {
	w.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	end := time.After(20 * time.Second)
	for {
		if all := w.mails(to); len(all) >= n {
			return all
		}
		select {
		case <-ticker.C:
		case <-end:
			w.t.Fatalf("%d mails for %s, want %d", len(w.mails(to)), to, n)
		}
	}
}

func asking(email string) string { return `{"email":"` + email + `"}` }

// TestNoOracleOfResets: no address is told from another by what is answered; only that
// which has an account gets a mail.
func TestNoOracleOfResets(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		w.answering()
		w.user(w.north, "known@example.com", store.RoleOwner)
		locked := w.user(w.north, "locked@example.com", store.RoleMonitoring)
		w.must(w.accounts.SetDisabled(t.Context(), w.north, locked.ID, true))
		elsewhere := w.user(w.south, "elsewhere@example.com", store.RoleMonitoring)
		w.update(func(tx *store.Tx) error {
			return tx.CreateOIDCLink(store.OIDCLink{Issuer: "https://id.example.net", Subject: "1", User: elsewhere.ID, Provider: "p", Made: true, Created: time.Now()})
		})
		var first answer
		for i, email := range []string{"nobody@example.com", "locked@example.com", "elsewhere@example.com", "not an address", strings.Repeat("x", 250), "KNOWN@example.com"} {
			a := w.client().do(http.MethodPost, "/password-resets", asking(email)).want(http.StatusAccepted)
			if i == 0 {
				first = a
			}
			for _, h := range []string{"Content-Type", "Content-Length", "Set-Cookie", "Retry-After"} {
				if a.header.Get(h) != first.header.Get(h) {
					t.Errorf("%s: %s differs", email, h)
				}
			}
			if string(a.body) != string(first.body) {
				t.Errorf("%s: %s, want %s", email, a.body, first.body)
			}
		}
		// The last one is answered after the others.
		if m := w.mailed("known@example.com", 1); m[0].Kind != mail.PasswordReset || !strings.HasPrefix(m[0].Link, "http://localhost/reset#") {
			t.Errorf("%+v", m)
		}
		if m := w.mailed("elsewhere@example.com", 1); m[0].Kind != mail.PasswordElse || strings.Contains(m[0].Link, "#") {
			t.Errorf("%+v", m)
		}
		for _, email := range []string{"nobody@example.com", "locked@example.com"} {
			if m := w.mails(email); len(m) != 0 {
				t.Errorf("%s: %+v", email, m)
			}
		}
		// Asked for again and again, no mailbox is flooded, and the answer stays.
		for range 10 {
			if a := w.client().do(http.MethodPost, "/password-resets", asking("known@example.com")).want(http.StatusAccepted); string(a.body) != string(first.body) {
				t.Errorf("%s", a.body)
			}
		}
		w.user(w.north, "marker@example.com", store.RoleMonitoring)
		w.client().do(http.MethodPost, "/password-resets", asking("marker@example.com")).want(http.StatusAccepted)
		w.mailed("marker@example.com", 1) // which comes after the others
		if n := len(w.mails("known@example.com")); n < 3 || n > 7 {
			t.Errorf("%d mails of 11 requests", n)
		}
	}, withMail)
}

// TestReset: the last link is good once; sessions and links to providers end, the second
// factor stays.
func TestReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMail).serve().answering()
	c := w.signedIn(w.north, store.RoleMonitoring)
	c.enrol()
	email := c.user.Email
	w.update(func(tx *store.Tx) error {
		return tx.CreateOIDCLink(store.OIDCLink{Issuer: "https://id.example.com", Subject: "1", User: c.user.ID, Provider: "acme", Created: time.Now()})
	})
	w.client().do(http.MethodPost, "/password-resets", asking(email)).want(http.StatusAccepted)
	old := secretOf(w.mailed(email, 1)[0].Link)
	w.client().do(http.MethodPost, "/password-resets", asking(email)).want(http.StatusAccepted)
	fresh := secretOf(w.mailed(email, 2)[1].Link)
	body := func(secret, password string) string {
		return `{"secret":"` + secret + `","password":"` + password + `"}`
	}
	w.client().do(http.MethodPost, "/password-resets/completion", body(old, "another long password")).problem(CodeLink)
	p := w.client().do(http.MethodPost, "/password-resets/completion", body(fresh, email)).problem(CodeInvalid)
	if p.Errors[0].Location != "body.password" {
		t.Errorf("%+v", p)
	}
	c.do(http.MethodGet, "/session", "").want(http.StatusOK)
	w.client().do(http.MethodPost, "/password-resets/completion", body(fresh, "another long password")).want(http.StatusNoContent)
	c.do(http.MethodGet, "/session", "").problem(CodeUnauthenticated)
	w.client().do(http.MethodPost, "/password-resets/completion", body(fresh, "yet another password")).problem(CodeLink)
	if m := w.mailed(email, 3)[2]; m.Kind != mail.PasswordChanged {
		t.Errorf("%+v", m)
	}
	w.client().do(http.MethodPost, "/session", `{"email":"`+email+`","password":"`+testPassword+`"}`).problem(CodeBadCredentials)
	w.update(func(tx *store.Tx) error {
		links, err := tx.OIDCLinks(c.user.ID)
		if len(links) != 0 {
			t.Errorf("who linked a provider in a stolen session stays in: %+v", links)
		}
		return err
	})
	again := w.client()
	me := read[Me](again.do(http.MethodPost, "/session", `{"email":"`+email+`","password":"another long password"}`).want(http.StatusOK))
	if me.Proof.Need != "second" {
		t.Errorf("the second factor is gone: %+v", me.Proof)
	}
	again.do(http.MethodGet, "/systems", "").problem(CodeSecondFactorNeeded)
}
