package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// unbounded is for tests that are not about the bounds.
var unbounded = store.MailBounds{All: 1000, PerTenant: 1000}

func newMail() store.Mail {
	return store.Mail{
		ID: store.NewID[store.MailID](), Kind: "invitation", Sealed: []byte("sealed"), State: store.MailQueued,
		Due: now, Expires: now.Add(time.Hour), Created: now,
	}
}

func newInvitation(id store.InvitationID, tenant store.TenantID, email string) store.Invitation {
	v := store.Invitation{
		ID: id, Tenant: tenant, Email: "new-" + email, Name: "New", Language: store.French,
		Roles: []store.UserGrant{{Role: store.RoleMonitoring, Part: store.Part{Site: "site"}}, {Role: store.RoleBackup}},
		By:    store.NewID[store.UserID](), Created: now, Expires: now.Add(time.Hour),
	}
	copy(v.Secret[:], id[4:])
	return v
}

// A mail is taken by one at a time, and keeps nothing of what was in it once it has ended.
func TestMails(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		first, second, later := newMail(), newMail(), newMail()
		second.Due, later.Due = now.Add(time.Second), now.Add(time.Hour)
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.CreateMail(second), tx.CreateMail(first), tx.CreateMail(later))
		})
		again := now.Add(10 * time.Minute)
		take := func() (v store.Mail) {
			t.Helper()
			update(t, db, func(tx *store.Tx) (err error) {
				v, err = tx.TakeMail(now.Add(time.Minute), again, unbounded)
				return err
			})
			return v
		}
		want := first
		want.Tries, want.Due = 1, again
		equal(t, "the first", take(), want)
		equal(t, "the second", take().ID, second.ID)
		missingThing(t, db, "one that is due later, or is being tried", func(tx *store.Tx) error {
			_, err := tx.TakeMail(now.Add(time.Minute), again, unbounded)
			return err
		})
		update(t, db, func(tx *store.Tx) error { return tx.PostponeMail(first.ID, now, "451") })
		equal(t, "once more", take().Tries, 2)
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.EndMail(first.ID, store.MailSent, "", now), tx.EndMail(second.ID, store.MailFailed, "550 5.1.1", now.Add(time.Second)))
		})
		missingThing(t, db, "one that has ended", func(tx *store.Tx) error { return tx.EndMail(first.ID, store.MailSent, "", now) })
		missingThing(t, db, "one that has ended", func(tx *store.Tx) error { return tx.PostponeMail(first.ID, now, "") })
		all := get(t, db, func(tx *store.Tx) (map[store.MailID]store.Mail, error) {
			return tx.Mails([]store.MailID{first.ID, second.ID, store.NewID[store.MailID]()})
		})
		if m := all[second.ID]; len(all) != 2 || m.Sealed != nil || m.State != store.MailFailed || m.Failure != "550 5.1.1" || all[first.ID].Ended == nil {
			t.Errorf("the ended ones: %+v", all)
		}
		equal(t, "what waits", get(t, db, (*store.Tx).CountMails), []store.MailCount{{Kind: "invitation", Waiting: 1, Oldest: now}})
		queued := get(t, db, (*store.Tx).QueuedMails)
		equal(t, "what is queued", queued, []store.Mail{later})
		update(t, db, func(tx *store.Tx) error { return tx.ResealMail(later, []byte("newer")) })
		missingThing(t, db, "what was sealed anew", func(tx *store.Tx) error { return tx.ResealMail(later, []byte("newest")) })
		update(t, db, func(tx *store.Tx) error {
			if n, err := tx.SweepMails(now.Add(time.Second)); n != 1 || err != nil {
				t.Errorf("%d swept, %v", n, err)
			}
			return nil
		})
	})
}

func TestInvitations(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		v := newInvitation(store.NewID[store.InvitationID](), s.Tenant, "jo@example.com")
		update(t, db, func(tx *store.Tx) error { return tx.CreateInvitation(v) })
		equal(t, "by id", get(t, db, func(tx *store.Tx) (store.Invitation, error) { return tx.Invitation(s.Tenant, v.ID) }), v)
		equal(t, "by secret", get(t, db, func(tx *store.Tx) (store.Invitation, error) { return tx.InvitationBySecret(v.Secret) }), v)
		twin := newInvitation(store.NewID[store.InvitationID](), s.Tenant, "jo@example.com")
		conflicts(t, "invitation", db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateInvitation(twin) }))
		old := v.Secret
		v.Secret, v.Mail, v.Expires = store.TokenHash{9}, store.NewID[store.MailID](), now.Add(2*time.Hour)
		update(t, db, func(tx *store.Tx) error { return tx.RenewInvitation(s.Tenant, v.ID, v.Secret, v.Mail, v.Expires) })
		missingThing(t, db, "the link before", func(tx *store.Tx) error {
			_, err := tx.InvitationBySecret(old)
			return err
		})
		equal(t, "all", get(t, db, func(tx *store.Tx) ([]store.Invitation, error) { return tx.Invitations(s.Tenant) }), []store.Invitation{v})
		bad := twin
		bad.Roles = []store.UserGrant{{Role: "king"}}
		if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateInvitation(bad) }); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("an unknown role: %v", err)
		}
		update(t, db, func(tx *store.Tx) error { return tx.DeleteInvitation(s.Tenant, v.ID) })
		missingThing(t, db, "what was removed", func(tx *store.Tx) error { return tx.DeleteInvitation(s.Tenant, v.ID) })
	})
}

func TestPasswordResets(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		user := person(t, db, "jo@example.com")
		request := store.ResetRequest{ID: store.NewID[store.ResetRequestID](), Sealed: []byte("sealed"), Created: now}
		update(t, db, func(tx *store.Tx) error { return tx.CreateResetRequest(request) })
		update(t, db, func(tx *store.Tx) error {
			got, err := tx.TakeResetRequest()
			equal(t, "the request", got, request)
			return err
		})
		missingThing(t, db, "a second time", func(tx *store.Tx) error {
			_, err := tx.TakeResetRequest()
			return err
		})
		old, fresh := store.TokenHash{1}, store.TokenHash{2}
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.PutPasswordReset(user.ID, old, now.Add(time.Hour)), tx.PutPasswordReset(user.ID, fresh, now.Add(time.Hour)))
		})
		whose := func(secret store.TokenHash, at time.Time) error {
			return db.View(t.Context(), func(tx *store.Tx) error {
				id, err := tx.PasswordReset(secret, at)
				if err == nil {
					equal(t, "whose it is", id, user.ID)
				}
				return err
			})
		}
		if err := whose(fresh, now); err != nil {
			t.Error(err)
		}
		if !errors.Is(whose(old, now), store.ErrNotFound) || !errors.Is(whose(fresh, now.Add(time.Hour)), store.ErrNotFound) {
			t.Error("a link before the last one, or one that has expired, is good")
		}
		update(t, db, func(tx *store.Tx) error { return tx.DeletePasswordReset(user.ID) })
		if !errors.Is(whose(fresh, now), store.ErrNotFound) {
			t.Error("a link that was used is good")
		}
	})
}

func TestOIDCLinks(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		user, other := person(t, db, "jo@example.com"), person(t, db, "al@example.com")
		v := store.OIDCLink{Issuer: "https://id.example.net", Subject: "7", User: user.ID, Provider: "example", Made: true, Created: now}
		update(t, db, func(tx *store.Tx) error { return tx.CreateOIDCLink(v) })
		taken := v
		taken.User = other.ID
		conflicts(t, "id", db.Update(t.Context(), func(tx *store.Tx) error { return tx.CreateOIDCLink(taken) }))
		update(t, db, func(tx *store.Tx) error { return tx.UseOIDCLink(v.Issuer, v.Subject, now.Add(time.Hour)) })
		v.LastUsed = new(now.Add(time.Hour))
		equal(t, "the link", get(t, db, func(tx *store.Tx) (store.OIDCLink, error) { return tx.OIDCLink(v.Issuer, v.Subject) }), v)
		equal(t, "the user's", get(t, db, func(tx *store.Tx) ([]store.OIDCLink, error) { return tx.OIDCLinks(user.ID) }), []store.OIDCLink{v})
		missingThing(t, db, "another subject", func(tx *store.Tx) error { return tx.UseOIDCLink(v.Issuer, "8", now) })
		// One that was made there stays; one of his own goes, alone and with all.
		missingThing(t, db, "one that was made there", func(tx *store.Tx) error { return tx.DeleteOIDCLink(user.ID, v.Issuer, v.Subject) })
		own := store.OIDCLink{Issuer: "https://id.example.org", Subject: "8", User: user.ID, Provider: "other", Created: now}
		for _, remove := range []func(tx *store.Tx) error{
			func(tx *store.Tx) error { return tx.DeleteOIDCLink(user.ID, own.Issuer, own.Subject) },
			func(tx *store.Tx) error { return tx.DeleteOIDCLinks(user.ID) },
		} {
			update(t, db, func(tx *store.Tx) error { return tx.CreateOIDCLink(own) })
			missingThing(t, db, "another's", func(tx *store.Tx) error { return tx.DeleteOIDCLink(other.ID, own.Issuer, own.Subject) })
			update(t, db, func(tx *store.Tx) error { return tx.DeleteOIDCLinks(other.ID) })
			equal(t, "with his own", len(get(t, db, func(tx *store.Tx) ([]store.OIDCLink, error) { return tx.OIDCLinks(user.ID) })), 2)
			update(t, db, remove)
			equal(t, "without it", get(t, db, func(tx *store.Tx) ([]store.OIDCLink, error) { return tx.OIDCLinks(user.ID) }), []store.OIDCLink{v})
		}
		update(t, db, func(tx *store.Tx) error { return tx.DeleteUser(user.Tenant, user.ID) })
		if len(get(t, db, func(tx *store.Tx) ([]store.OIDCLink, error) { return tx.OIDCLinks(user.ID) })) != 0 {
			t.Error("the link of a user who is gone stays")
		}
	})
}
