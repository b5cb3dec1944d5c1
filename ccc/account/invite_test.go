package account

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/mail"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// withMail has mails be queued, which nobody sends.
func (w *world) withMail(t testing.TB) *mail.Outbox {
	t.Helper()
	cfg := config(w.db)
	var err error
	if cfg.Keys, err = seal.New(seal.NewKey()); err == nil {
		cfg.Mail, err = mail.New(mail.Config{Server: "127.0.0.1:1", From: "ccc@example.net", Store: w.db, Keys: cfg.Keys})
	}
	if err != nil {
		t.Fatal(err)
	}
	cfg.ExternalURL = "http://localhost"
	w.restart(t, cfg)
	return cfg.Mail
}

// queued gives the mails that wait.
func (w *world) queued(t testing.TB) (all []store.Mail) {
	t.Helper()
	w.update(t, func(tx *store.Tx) (err error) {
		all, err = tx.QueuedMails()
		return err
	})
	return all
}

func (w *world) update(t testing.TB, f func(*store.Tx) error) {
	t.Helper()
	if err := w.db.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// TestInvitationAgain: an invitation is mailed again after a while only, also where it was
// taken back meanwhile; at most one mail of it waits; another tenant is not kept from it.
func TestInvitationAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withMail(t)
		tenant := store.Tenant{ID: w.tenant, Name: "Example"}
		other := store.Tenant{ID: store.NewID[store.TenantID](), Kind: store.KindCustomer, Name: "Other", Created: time.Now()}
		w.update(t, func(tx *store.Tx) error { return tx.CreateTenant(other) })
		invite := func(of store.Tenant) (i Invited, err error) {
			t.Helper()
			err = w.db.Update(t.Context(), func(tx *store.Tx) (err error) {
				i, err = w.Invite(tx, NewInvitation{Tenant: of, By: w.user, Email: "new@example.com", Name: "New", Language: store.German})
				return err
			})
			return i, err
		}
		again := func(id store.InvitationID) error {
			return w.db.Update(t.Context(), func(tx *store.Tx) error {
				_, err := w.InviteAgain(tx, tenant, id, w.user)
				return err
			})
		}
		lately := func(what string, err error, left time.Duration) {
			t.Helper()
			if e, ok := errors.AsType[*SentLatelyError](err); !ok || time.Until(e.Again).Round(time.Second) != left {
				t.Errorf("%s: %v", what, err)
			}
		}
		waiting := func(want ...store.MailID) {
			t.Helper()
			all := w.queued(t)
			for i, m := range all {
				if len(all) != len(want) || m.ID != want[i] {
					t.Errorf("%d mails wait, want %d", len(all), len(want))
				}
			}
		}
		i, err := invite(tenant)
		if err != nil {
			t.Fatal(err)
		}
		waiting(i.Mail)
		time.Sleep(time.Minute)
		lately("a minute later", again(i.ID), 9*time.Minute)
		time.Sleep(9*time.Minute + time.Second)
		if err := again(i.ID); err != nil {
			t.Errorf("ten minutes later: %v", err)
		}
		if all := w.queued(t); len(all) != 1 || all[0].ID == i.Mail || all[0].Tenant != w.tenant || all[0].Priority != store.MailOrdinary {
			t.Errorf("the one before waits still: %+v", all)
		}
		// Sent, taken back and made anew: that would be the same.
		w.update(t, func(tx *store.Tx) error {
			m, err := tx.TakeMail(time.Now(), time.Now().Add(time.Minute), store.MailBounds{All: 9, PerTenant: 9})
			return errors.Join(err, tx.EndMail(m.ID, store.MailSent, "", time.Now()), w.Uninvite(tx, w.tenant, i.ID))
		})
		_, err = invite(tenant)
		lately("made anew", err, 10*time.Minute)
		theirs, err := invite(other)
		if err != nil {
			t.Errorf("another tenant: %v", err)
		}
		waiting(theirs.Mail)
		time.Sleep(10*time.Minute + time.Second)
		// What nobody has tried to send does not count, and is not sent once it is taken back.
		if i, err = invite(tenant); err != nil {
			t.Fatal(err)
		}
		waiting(theirs.Mail, i.Mail)
		w.update(t, func(tx *store.Tx) error { return w.Uninvite(tx, w.tenant, i.ID) })
		waiting(theirs.Mail)
		if _, err = invite(tenant); err != nil {
			t.Errorf("after one that was not sent: %v", err)
		}
	})
}

// The owners of new tenants are invited by who makes these: however many, they are mails of
// that tenant, and an address gets one of them at a time.
func TestFoundingInvitations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withMail(t)
	w.update(t, func(tx *store.Tx) error {
		for i := range 2 {
			child := store.Tenant{ID: store.NewID[store.TenantID](), Kind: store.KindCustomer, Parent: w.tenant, Name: "New", Created: time.Now()}
			if err := tx.CreateTenant(child); err != nil {
				return err
			}
			_, err := w.Invite(tx, NewInvitation{Tenant: child, By: w.user, Email: "new@example.com", Name: "New", Language: store.German, Founding: true})
			if _, lately := errors.AsType[*SentLatelyError](err); lately != (i > 0) {
				t.Errorf("invitation %d: %v", i, err)
			}
		}
		return nil
	})
	if all := w.queued(t); len(all) != 1 || all[0].Tenant != w.tenant {
		t.Errorf("%+v", all)
	}
}

// What is about passwords goes before invitations, and counts among its tenant's mails.
func TestResetsGoFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withMail(t)
	w.update(t, func(tx *store.Tx) error {
		_, err := w.Invite(tx, NewInvitation{Tenant: store.Tenant{ID: w.tenant, Name: "Example"}, By: w.user, Email: "new@example.com", Name: "New", Language: store.German})
		return errors.Join(err, w.sendReset(tx, w.user))
	})
	var kinds []string
	for range 2 {
		w.update(t, func(tx *store.Tx) error {
			m, err := tx.TakeMail(time.Now(), time.Now().Add(time.Minute), store.MailBounds{All: 9, PerTenant: 1})
			if m.Tenant != w.tenant {
				t.Errorf("%+v", m)
			}
			kinds = append(kinds, m.Kind)
			return err
		})
	}
	if kinds[0] != "password_reset" || kinds[1] != "invitation" {
		t.Errorf("the order is %v", kinds)
	}
}
