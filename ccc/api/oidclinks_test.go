package api

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/mail"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// beginLink begins to link the account, and gives the parameters of the address there.
func (c *client) beginLink(p *idp) url.Values {
	c.w.t.Helper()
	address := read[OIDCAddress](c.do(http.MethodPost, "/account/providers/options", `{"provider":"acme"}`).want(http.StatusOK)).URL
	u, err := url.Parse(address)
	c.w.must(err)
	p.mu.Lock()
	p.nonce = u.Query().Get("nonce")
	p.mu.Unlock()
	return u.Query()
}

// signsIn signs in at the provider in another browser.
func (w *world) signsIn(p *idp) answer {
	w.t.Helper()
	c := w.client()
	q := c.begin(atAcme)
	p.mu.Lock()
	p.nonce = q.Get("nonce")
	p.mu.Unlock()
	return c.do(http.MethodPost, "/session/oidc", answering(q, rand.Text(), p.URL))
}

// TestProviderLink: who has proven who he is of late links his account, in the browser in
// which he began, and signs in there from then on, with the roles that he had; an address
// that is the same leads nowhere. He can part with it, and not from a provider that has made
// the account.
func TestProviderLink(t *testing.T) {
	t.Parallel()
	p := newIDP(t)
	w := oidcWorld(t, p.provider(), withMail)
	c := w.signedIn(acme, store.RoleAuditor)
	other := w.signedIn(acme, store.RoleMonitoring)
	p.says(map[string]any{"sub": "1", "email": c.user.Email, "email_verified": true, "groups": []string{"ops"}})
	w.signsIn(p).problem(CodeOIDCUnknown) // the address alone

	recovery := c.enrol().codes
	prove := func() {
		t.Helper()
		c.do(http.MethodPost, "/session/second-factor", `{"recovery":"`+recovery[0]+`"}`).want(http.StatusOK)
		recovery = recovery[1:]
	}
	c.age(time.Hour)
	c.do(http.MethodPost, "/account/providers/options", `{"provider":"acme"}`).problem(CodeProofStale)
	c.do(http.MethodDelete, "/account/providers/x", "").problem(CodeProofStale)
	prove()
	half := c.again() // has given the password, and not the second factor
	half.do(http.MethodPost, "/account/providers/options", `{"provider":"acme"}`).problem(CodeSecondFactorNeeded)
	w.signedIn(w.north, store.RoleOwner).do(http.MethodPost, "/account/providers/options", `{"provider":"acme"}`).problem(CodeNotFound)
	list := read[ProviderLinkList](c.do(http.MethodGet, "/account/providers", "").want(http.StatusOK))
	if len(list.Items) != 0 || len(list.Available) != 1 || list.Available[0].Name != "Acme ID" {
		t.Errorf("%+v", list)
	}

	// An address of no domain of the provider's: example.com.
	c.do(http.MethodPost, "/account/providers", answering(c.beginLink(p), rand.Text(), p.URL)).problem(CodeOIDC)
	jo := map[string]any{"sub": "1", "email": "jo@acme.example", "email_verified": true, "groups": []string{"ops"}}
	p.says(jo)
	// Begun by somebody else, in another browser, for a sign-in, with a proof that is old by now.
	q := c.beginLink(p)
	if !strings.HasPrefix(q.Get("state"), account.LinkPrefix) || q.Get("code_challenge_method") != "S256" {
		t.Errorf("%v", q)
	}
	other.do(http.MethodPost, "/account/providers", answering(q, rand.Text(), p.URL)).problem(CodeOIDC)
	c.do(http.MethodPost, "/session/oidc", answering(q, rand.Text(), p.URL)).problem(CodeOIDC)
	q = c.begin(atAcme)
	c.do(http.MethodPost, "/account/providers", answering(q, rand.Text(), p.URL)).problem(CodeOIDC)
	q = c.beginLink(p)
	c.age(time.Hour)
	c.do(http.MethodPost, "/account/providers", answering(q, rand.Text(), p.URL)).problem(CodeProofStale)
	prove()
	w.client().do(http.MethodPost, "/account/providers", answering(q, rand.Text(), p.URL)).problem(CodeUnauthenticated)

	var entries []store.AuditEntry
	body := answering(c.beginLink(p), rand.Text(), p.URL)
	var made ProviderLink
	entries = w.newEntries(acme, func() {
		made = read[ProviderLink](c.do(http.MethodPost, "/account/providers", body).want(http.StatusCreated))
	})
	if made.Provider != "acme" || made.Made || made.LastUsedAt != nil {
		t.Errorf("%+v", made)
	}
	if all := w.mails(c.user.Email); len(all) != 1 || all[0].Kind != mail.ProviderLinked || all[0].Provider == "" {
		t.Errorf("who has the account is told: %+v", all)
	}
	if len(entries) != 1 || entries[0].Operation != "addProviderLink" || entries[0].User != string(c.user.ID) || entries[0].Resource != "provider acme" {
		t.Errorf("%+v", entries)
	}
	c.do(http.MethodPost, "/account/providers", body).problem(CodeOIDC) // once
	c.do(http.MethodPost, "/account/providers/options", `{"provider":"acme"}`).problem(CodeConflict)
	in := read[OIDCSignIn](w.signsIn(p).want(http.StatusOK))
	if in.Me.User.ID != string(c.user.ID) || marshal(t, in.Me.User.Roles) != `["auditor"]` || in.Me.Proof.Need != "second" {
		t.Errorf("%+v", in.Me)
	}
	// Who is somebody is not somebody else, too.
	other.do(http.MethodPost, "/account/providers", answering(other.beginLink(p), rand.Text(), p.URL)).problem(CodeConflict)
	if got := read[ProviderLinkList](other.do(http.MethodGet, "/account/providers", "")); len(got.Items) != 0 {
		t.Errorf("%+v", got)
	}
	list = read[ProviderLinkList](c.do(http.MethodGet, "/account/providers", ""))
	if len(list.Items) != 1 || list.Items[0].ID != made.ID || list.Items[0].LastUsedAt == nil || len(list.Available) != 0 || strings.Contains(marshal(t, list), p.URL) {
		t.Errorf("%+v", list)
	}
	other.do(http.MethodDelete, "/account/providers/"+made.ID, "").problem(CodeNotFound)
	c.do(http.MethodDelete, "/account/providers/"+made.ID, "").want(http.StatusNoContent)
	c.do(http.MethodDelete, "/account/providers/"+made.ID, "").problem(CodeNotFound)
	p.says(map[string]any{"sub": "1", "email": c.user.Email, "email_verified": true})
	w.signsIn(p).problem(CodeOIDCUnknown)
}

// providersOwn is somebody whose account was made by a sign-in at the provider.
func providersOwn(t *testing.T) (*world, *idp, *client, string) {
	p := newIDP(t)
	w := oidcWorld(t, p.provider())
	p.says(map[string]any{"sub": "1", "email": "jo@acme.example", "email_verified": true, "groups": []string{"ops"}})
	c := w.client()
	q := c.begin(atAcme)
	p.mu.Lock()
	p.nonce = q.Get("nonce")
	p.mu.Unlock()
	in := read[OIDCSignIn](c.do(http.MethodPost, "/session/oidc", answering(q, rand.Text(), p.URL)).want(http.StatusOK))
	c.user = store.User{ID: store.UserID(in.Me.User.ID), Tenant: acme}
	links := read[ProviderLinkList](c.do(http.MethodGet, "/account/providers", "").want(http.StatusOK))
	if len(links.Items) != 1 || !links.Items[0].Made {
		t.Fatalf("%+v", links)
	}
	return w, p, c, links.Items[0].ID
}

// What a provider has made, it decides about; an operator's reset takes what somebody has
// linked himself, as it may be somebody else's, and leaves that.
func TestProvidersOwnAccount(t *testing.T) {
	t.Parallel()
	w, p, c, id := providersOwn(t)
	c.do(http.MethodDelete, "/account/providers/"+id, "").problem(CodeProviderAccount)
	linked := w.signedIn(acme, store.RoleAuditor)
	p.says(map[string]any{"sub": "2", "email": "al@acme.example"})
	linked.do(http.MethodPost, "/account/providers", answering(linked.beginLink(p), rand.Text(), p.URL)).want(http.StatusCreated)
	w.signsIn(p).want(http.StatusOK)
	w.must(w.accounts.ResetPassword(t.Context(), acme, linked.user.ID, "another long password"))
	w.signsIn(p).problem(CodeOIDCUnknown)
	w.must(w.accounts.ResetPassword(t.Context(), acme, c.user.ID, "another long password"))
	p.says(map[string]any{"sub": "1", "email": "jo@acme.example"})
	w.signsIn(p).want(http.StatusOK)
}

// TestProvidersDeedsAreTold: what a sign-in at a provider makes or changes has an entry of
// its own, beside that of the sign-in: the provider, the account, and the roles.
func TestProvidersDeedsAreTold(t *testing.T) {
	t.Parallel()
	p := newIDP(t)
	w := oidcWorld(t, p.provider(), withMail)
	jo := map[string]any{"sub": "1", "email": "jo@acme.example", "email_verified": true, "groups": []string{"ops"}}
	told := func(claims map[string]any, what string, roles ...string) {
		t.Helper()
		p.says(claims)
		var id string
		entries := w.newEntries(acme, func() { id = read[OIDCSignIn](w.signsIn(p).want(http.StatusOK)).Me.User.ID })
		i := slices.IndexFunc(entries, func(e store.AuditEntry) bool { return strings.HasPrefix(e.Operation, "oidc.") })
		signed := slices.IndexFunc(entries, func(e store.AuditEntry) bool { return e.Operation == "signInByOIDC" && e.User == id })
		if signed < 0 || what == "" && (i >= 0 || len(entries) != 1) {
			t.Errorf("%q: %+v", what, entries)
		}
		if what == "" {
			return
		}
		if i < 0 || len(entries) != 2 {
			t.Fatalf("%s: %+v", what, entries)
		}
		e := entries[i]
		if e.Operation != "oidc."+what || e.Actor != "provider acme" || e.Resource != "user "+id || !slices.Equal(e.Fields, roles) || e.Outcome != "done" {
			t.Errorf("%s: %+v, want the roles %v", what, e, roles)
		}
	}
	told(jo, "account_made", "given_monitoring", "given_remote")
	told(jo, "")
	jo["groups"] = "nothing"
	told(jo, "roles_changed", "taken_monitoring")
	jo["groups"] = []string{"ops"}
	told(jo, "roles_changed", "given_monitoring")

	owner := w.signedIn(acme, store.RoleOwner)
	owner.do(http.MethodPost, "/invitations", inviting("al@acme.example", `{"role":"auditor"}`)).want(http.StatusCreated)
	p.says(map[string]any{"sub": "2", "email": "al@acme.example", "email_verified": true})
	c := w.client()
	q := c.begin(`{"provider":"acme","invitation":"` + secretOf(w.mails("al@acme.example")[0].Link) + `"}`)
	p.mu.Lock()
	p.nonce = q.Get("nonce")
	p.mu.Unlock()
	entries := w.newEntries(acme, func() {
		c.do(http.MethodPost, "/session/oidc", answering(q, rand.Text(), p.URL)).want(http.StatusOK)
	})
	if len(entries) != 2 || entries[0].Operation != "oidc.invitation_accepted" || !slices.Equal(entries[0].Fields, []string{"given_auditor"}) {
		t.Errorf("%+v", entries)
	}
	list := read[AuditList](owner.do(http.MethodGet, "/audit?actor=provider", "").want(http.StatusOK)).Items
	if len(list) != 4 || list[0].Actor != (AuditThing{"provider", "acme", "Acme ID"}) || list[0].Resource.Name != "New" {
		t.Errorf("%+v", list)
	}
	// One who takes up an invitation with a password is told of as he who did it.
	owner.do(http.MethodPost, "/invitations", inviting("bo@acme.example", `{"role":"auditor"}`)).want(http.StatusCreated)
	entries = w.newEntries(acme, func() {
		w.client().do(http.MethodPost, "/invitation/acceptance", accepting(secretOf(w.mails("bo@acme.example")[0].Link))).want(http.StatusOK)
	})
	if len(entries) != 1 || entries[0].Operation != "acceptInvitation" || entries[0].Resource != entries[0].Actor {
		t.Errorf("%+v", entries)
	}
}
