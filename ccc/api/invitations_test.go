package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/mail"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

func withMail(o *options) { o.mail = true }

// mails gives those that are queued to an address, the oldest first.
func (w *world) mails(to string) (all []mail.Message) {
	w.t.Helper()
	var queued []store.Mail
	w.must(w.db.View(context.Background(), func(tx *store.Tx) (err error) {
		queued, err = tx.QueuedMails()
		return err
	}))
	for _, q := range queued {
		text, err := w.keys.Open("mail", string(q.ID), q.Sealed)
		w.must(err)
		var m mail.Message
		w.must(json.Unmarshal(text, &m))
		if m.To == to {
			all = append(all, m)
		}
	}
	return all
}

// later is as if the time was over after which an invitation is sent again.
func (w *world) later() {
	w.t.Helper()
	w.update(func(tx *store.Tx) error {
		_, err := tx.SweepAttempts(time.Now().Add(time.Hour))
		return err
	})
}

// secretOf is what is after # in a link.
func secretOf(link string) string {
	_, secret, _ := strings.Cut(link, "#")
	return secret
}

func inviting(email, roles string) string {
	return `{"email":"` + email + `","name":"New","language":"fr","roles":[` + roles + `]}`
}

func accepting(secret string) string {
	return `{"secret":"` + secret + `","name":"Newest","language":"en","password":"` + testPassword + `"}`
}

// TestInvitation: a mail has the link, which makes an account once; whoever takes it up has
// the roles and no more, and what is void is all alike.
func TestInvitation(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		owner := w.signedIn(w.north, store.RoleOwner)
		made := read[Invitation](owner.do(http.MethodPost, "/invitations", inviting("New@Example.com", `{"role":"monitoring"}`)).want(http.StatusCreated))
		if made.Email != "new@example.com" || made.Link != "" || made.Mail != "queued" || made.InvitedBy.Name == "" {
			t.Errorf("%+v", made)
		}
		owner.do(http.MethodPost, "/invitations", inviting("new@example.com", "")).problem(CodeConflict)
		mails := w.mails("new@example.com")
		if len(mails) != 1 || mails[0].Kind != mail.Invitation || mails[0].Language != store.French || mails[0].Tenant != "North GmbH" ||
			!strings.HasPrefix(mails[0].Link, "http://localhost/invitation#") || len(secretOf(mails[0].Link)) != 43 {
			t.Fatalf("%+v", mails)
		}
		old := secretOf(mails[0].Link)
		soon := owner.do(http.MethodPost, "/invitations/"+made.ID+"/mail", "")
		if p := soon.problem(CodeSentLately); !strings.HasPrefix(p.Detail, "again from 20") || soon.header.Get("Retry-After") != "600" {
			t.Errorf("%+v, again after %s", p, soon.header.Get("Retry-After"))
		}
		w.later()
		again := read[Invitation](owner.do(http.MethodPost, "/invitations/"+made.ID+"/mail", "").want(http.StatusOK))
		if again.ID != made.ID {
			t.Errorf("%+v", again)
		}
		mails = w.mails("new@example.com")
		if len(mails) != 1 {
			t.Fatalf("the first one waits still: %+v", mails)
		}
		secret := secretOf(mails[0].Link)
		c := w.client()
		void := string(c.do(http.MethodPost, "/invitation", `{"secret":"nothing"}`).want(http.StatusGone).body)
		if got := c.do(http.MethodPost, "/invitation", `{"secret":"`+old+`"}`); string(got.body) != void {
			t.Errorf("the link before: %s", got.body)
		}
		open := read[OpenInvitation](c.do(http.MethodPost, "/invitation", `{"secret":"`+secret+`"}`).want(http.StatusOK))
		if open.Tenant != "North GmbH" || open.Email != "new@example.com" || open.SecondFactor {
			t.Errorf("%+v", open)
		}
		p := c.do(http.MethodPost, "/invitation/acceptance", strings.Replace(accepting(secret), testPassword, "new@example.com", 1)).problem(CodeInvalid)
		if p.Errors[0].Location != "body.password" {
			t.Errorf("%+v", p)
		}
		me := read[Me](c.do(http.MethodPost, "/invitation/acceptance", accepting(secret)).want(http.StatusOK))
		if me.User.Name != "Newest" || me.Tenant.ID != string(w.north) || len(me.User.Roles) != 1 || me.User.Roles[0] != store.RoleMonitoring || me.User.Language != store.English {
			t.Errorf("%+v", me)
		}
		c.do(http.MethodGet, "/session", "").want(http.StatusOK)
		c.do(http.MethodPost, "/invitations", inviting("more@example.com", "")).problem(CodeForbidden)
		for _, op := range []string{"/invitation", "/invitation/acceptance"} {
			body := `{"secret":"` + secret + `"}`
			if op != "/invitation" {
				body = accepting(secret)
			}
			if a := w.client().do(http.MethodPost, op, body).want(http.StatusGone); string(a.body) != void {
				t.Errorf("a used link: %s", a.body)
			}
		}
		if items := read[InvitationList](owner.do(http.MethodGet, "/invitations", "")).Items; len(items) != 0 {
			t.Errorf("%+v", items)
		}
		// Withdrawn and expired ones are as if there were none.
		for _, end := range []func(id string){
			func(id string) {
				owner.do(http.MethodDelete, "/invitations/"+id, "").want(http.StatusNoContent)
			},
			func(id string) {
				w.update(func(tx *store.Tx) error {
					i, err := tx.Invitation(w.north, store.InvitationID(id))
					return errors.Join(err, tx.RenewInvitation(w.north, i.ID, i.Secret, i.Mail, time.Now().Add(-time.Second)))
				})
			},
		} {
			i := read[Invitation](owner.do(http.MethodPost, "/invitations", inviting("late@example.com", "")).want(http.StatusCreated))
			all := w.mails("late@example.com")
			if len(all) != 1 {
				t.Errorf("what was withdrawn waits still: %+v", all)
			}
			secret := secretOf(all[len(all)-1].Link)
			w.client().do(http.MethodPost, "/invitation", `{"secret":"`+secret+`"}`).want(http.StatusOK)
			end(i.ID)
			if a := w.client().do(http.MethodPost, "/invitation/acceptance", accepting(secret)).want(http.StatusGone); string(a.body) != void {
				t.Errorf("%s", a.body)
			}
		}
	}, withMail)
}

// Nobody invites to what he could not give, sends such an invitation again, where he would
// see the link, or has it taken up once he may not any more.
func TestInvitationRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	owner, admin := w.signedIn(w.north, store.RoleOwner), w.signedIn(w.north, store.RoleAdministrator)
	admin.do(http.MethodPost, "/invitations", inviting("king@example.com", `{"role":"owner"}`)).problem(CodeNotToGive)
	king := read[Invitation](owner.do(http.MethodPost, "/invitations", inviting("king@example.com", `{"role":"owner"}`)).want(http.StatusCreated))
	if king.Mail != "none" || !strings.HasPrefix(king.Link, "/invitation#") {
		t.Errorf("without mail: %+v", king)
	}
	if items := read[InvitationList](owner.do(http.MethodGet, "/invitations", "")).Items; len(items) != 1 || items[0].Link != "" {
		t.Errorf("the link is shown again: %+v", items)
	}
	admin.do(http.MethodPost, "/invitations/"+king.ID+"/mail", "").problem(CodeNotToGive)
	admin.do(http.MethodDelete, "/invitations/"+king.ID, "").problem(CodeNotToGive)
	small := read[Invitation](admin.do(http.MethodPost, "/invitations", inviting("small@example.com", `{"role":"monitoring"}`)).want(http.StatusCreated))
	w.client().do(http.MethodPost, "/invitation", `{"secret":"`+secretOf(small.Link)+`"}`).want(http.StatusOK)
	owner.do(http.MethodPut, "/users/"+string(admin.user.ID)+"/roles", `{"roles":[]}`).want(http.StatusOK)
	w.client().do(http.MethodPost, "/invitation/acceptance", accepting(secretOf(small.Link))).problem(CodeLink)
	w.client().do(http.MethodPost, "/invitation/acceptance", accepting(secretOf(king.Link))).want(http.StatusOK)
}

// An address that has an account elsewhere: who invites learns nothing, who has the address
// is told, and no second account is made.
func TestInvitationOfAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMail).serve()
	w.user(w.south, "taken@example.com", store.RoleOwner)
	owner := w.signedIn(w.north, store.RoleOwner)
	answers := map[string]Invitation{}
	for _, email := range []string{"taken@example.com", "free@example.com"} {
		answers[email] = read[Invitation](owner.do(http.MethodPost, "/invitations", inviting(email, "")).want(http.StatusCreated))
	}
	a, b := answers["taken@example.com"], answers["free@example.com"]
	a.ID, a.Email, a.CreatedAt, a.ExpiresAt = b.ID, b.Email, b.CreatedAt, b.ExpiresAt
	if text, other := marshal(t, a), marshal(t, b); text != other {
		t.Errorf("the answers tell them apart:\n%s\n%s", text, other)
	}
	taken, free := w.mails("taken@example.com"), w.mails("free@example.com")
	if len(taken) != 1 || taken[0].Kind != mail.InvitationTaken || taken[0].Link != "" || len(free) != 1 || free[0].Kind != mail.Invitation {
		t.Errorf("%+v, %+v", taken, free)
	}
	own := w.user(w.north, "own@example.com", "")
	owner.do(http.MethodPost, "/invitations", inviting(own.Email, "")).problem(CodeConflict)
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestOwnerInvitedAgain: who has made a tenant sees that its first owner has not come, and
// sends him the invitation again, after a while; nobody else does, nor anybody once he came.
func TestOwnerInvitedAgain(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		reseller := store.Tenant{ID: store.NewID[store.TenantID](), Kind: store.KindReseller, Name: "Re", LegalName: "Re", Created: time.Now()}
		w.update(func(tx *store.Tx) error { return tx.CreateTenant(reseller) })
		boss := w.signedIn(reseller.ID, store.RoleOwner)
		made := read[InvitedTenant](boss.do(http.MethodPost, "/invited-tenants", `{"kind":"customer","name":"West","owner":{"email":"west@example.com","name":"Wes","language":"de"}}`).want(http.StatusCreated))
		path := "/invited-tenants/" + made.Tenant.ID + "/mail"
		below := func() *OwnerInvitation {
			t.Helper()
			return read[KnownTenantList](boss.do(http.MethodGet, "/tenants/below", "").want(http.StatusOK)).Items[0].Invitation
		}
		if i := below(); i == nil || i.Email != "west@example.com" || i.Mail != "queued" || i.Expired {
			t.Errorf("%+v", i)
		}
		old := secretOf(w.mails("west@example.com")[0].Link)
		boss.do(http.MethodPost, path, "").problem(CodeSentLately)
		w.later()
		for _, c := range []*client{w.signedIn(w.north, store.RoleOwner), w.signedIn(reseller.ID, store.RoleMonitoring)} {
			if a := c.do(http.MethodPost, path, ""); a.status != http.StatusNotFound && a.status != http.StatusForbidden {
				t.Errorf("somebody else: %d %s", a.status, a.body)
			}
		}
		again := read[Invitation](boss.do(http.MethodPost, path, "").want(http.StatusOK))
		if again.ID != made.Invitation.ID || again.Link != "" {
			t.Errorf("%+v", again)
		}
		mails := w.mails("west@example.com")
		if len(mails) != 1 || secretOf(mails[0].Link) == old || mails[0].Tenant != "West" {
			t.Fatalf("%+v", mails)
		}
		w.client().do(http.MethodPost, "/invitation/acceptance", accepting(old)).problem(CodeLink)
		w.client().do(http.MethodPost, "/invitation/acceptance", accepting(secretOf(mails[0].Link))).want(http.StatusOK)
		if i := below(); i != nil {
			t.Errorf("he has come: %+v", i)
		}
		w.later()
		boss.do(http.MethodPost, path, "").problem(CodeNotFound)
		// Of a tenant that this one has not made nothing is told.
		boss.do(http.MethodPost, "/invited-tenants/"+string(w.south)+"/mail", "").problem(CodeNotFound)
	}, withMail)
}

// The first owner of a tenant is invited, has to have a second factor, and nobody becomes
// another first one.
func TestInvitedTenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withMail, func(o *options) { o.account.SecondFactor = account.Required }).serve()
	operator := store.Tenant{ID: store.NewID[store.TenantID](), Kind: store.KindOperator, Name: "Op", LegalName: "Op", Created: time.Now()}
	w.update(func(tx *store.Tx) error { return tx.CreateTenant(operator) })
	boss := w.user(operator.ID, "boss@example.com", store.RoleOwner)
	made := account.Invited{}
	west := store.Tenant{ID: store.NewID[store.TenantID](), Kind: store.KindCustomer, Name: "West", LegalName: "West", Created: time.Now()}
	w.update(func(tx *store.Tx) (err error) {
		made, err = w.accounts.Invite(tx, account.NewInvitation{
			Tenant: operator, By: boss, Email: "x@example.com", Name: "X", Language: store.German, Roles: []store.UserGrant{{Role: store.RoleOwner}}, Founding: true,
		})
		return errors.Join(err, tx.CreateTenant(west))
	})
	if made.ID == "" {
		t.Fatal("not invited")
	}
	// There is an owner already.
	w.client().do(http.MethodPost, "/invitation/acceptance", accepting(secretOf(w.mails("x@example.com")[0].Link))).problem(CodeLink)
	w.update(func(tx *store.Tx) (err error) {
		_, err = w.accounts.Invite(tx, account.NewInvitation{
			Tenant: west, By: boss, Email: "first@example.com", Name: "First", Language: store.German, Roles: []store.UserGrant{{Role: store.RoleOwner}}, Founding: true,
		})
		return err
	})
	c := w.client()
	me := read[Me](c.do(http.MethodPost, "/invitation/acceptance", accepting(secretOf(w.mails("first@example.com")[0].Link))).want(http.StatusOK))
	if me.Proof.Need != "enrol" || me.Tenant.Name != "West" {
		t.Errorf("%+v", me)
	}
	c.do(http.MethodGet, "/users", "").problem(CodeSecondFactorEnrol)
	c.do(http.MethodPost, "/account/totp", "").want(http.StatusOK)
}
