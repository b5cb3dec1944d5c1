package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// sender takes mails at a time that a test sets, and sends them at once.
type sender struct {
	t      *testing.T
	db     *store.DB
	at     time.Time
	bounds store.MailBounds
}

// queue plants mails of a tenant.
func (s *sender) queue(tenant store.TenantID, priority store.MailPriority, n int) {
	s.t.Helper()
	update(s.t, s.db, func(tx *store.Tx) error {
		for range n {
			m := newMail()
			m.Tenant, m.Priority, m.Due, m.Created, m.Expires = tenant, priority, s.at, s.at, s.at.Add(48*time.Hour)
			if err := tx.CreateMail(m); err != nil {
				return err
			}
		}
		return nil
	})
	s.at = s.at.Add(time.Millisecond) // what is queued next is due later
}

// take gives the mail whose turn it is; ok is false where none may be sent.
func (s *sender) take() (m store.Mail, ok bool) {
	s.t.Helper()
	s.bounds.Since = s.at.Add(-time.Hour)
	err := s.db.Update(s.t.Context(), func(tx *store.Tx) (err error) {
		m, err = tx.TakeMail(s.at, s.at.Add(time.Minute), s.bounds)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.t.Fatal(err)
	}
	return m, err == nil
}

// send sends up to n, and tells whose they were.
func (s *sender) send(n int) map[store.TenantID]int {
	s.t.Helper()
	of := map[store.TenantID]int{}
	for range n {
		m, ok := s.take()
		if !ok {
			break
		}
		update(s.t, s.db, func(tx *store.Tx) error { return tx.EndMail(m.ID, store.MailSent, "", s.at) })
		of[m.Tenant]++
	}
	return of
}

// TestFloodOfMails: a tenant that has queued very many delays nobody but itself, and no
// invitation delays what is about passwords.
func TestFloodOfMails(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := &sender{t, db, now, store.MailBounds{All: 40, Reserved: 5, PerTenant: 20}}
		s.queue("flood", store.MailOrdinary, 200)
		s.queue("other", store.MailOrdinary, 3)
		equal(t, "the first six", s.send(6), map[store.TenantID]int{"flood": 3, "other": 3})
		s.queue("flood", store.MailUrgent, 1)
		s.queue("third", store.MailUrgent, 1)
		for _, want := range []store.TenantID{"flood", "third"} {
			if m, ok := s.take(); !ok || m.Priority != store.MailUrgent || m.Tenant != want {
				t.Errorf("%v, and not the urgent one of %s: %+v", ok, want, m)
			} else {
				update(t, db, func(tx *store.Tx) error { return tx.EndMail(m.ID, store.MailSent, "", s.at) })
			}
		}
		// As many as a tenant may; the two urgent ones are counted apart.
		equal(t, "up to the tenant's bound", s.send(100), map[store.TenantID]int{"flood": 17})
		s.queue("third", store.MailOrdinary, 15)
		equal(t, "one that comes late, up to what is reserved", s.send(100), map[store.TenantID]int{"third": 10})
		s.queue("flood", store.MailUrgent, 10)
		equal(t, "what is reserved", s.send(100), map[store.TenantID]int{"flood": 5})
		s.at = s.at.Add(time.Hour + time.Second)
		equal(t, "an hour later", s.send(1), map[store.TenantID]int{"flood": 1})
		if m, ok := s.take(); !ok || m.Priority != store.MailUrgent {
			t.Errorf("%v %+v", ok, m)
		}
	})
}

// What is being tried counts, so that several processes do not send more together than one
// may; what was tried and waits, or whose process has ended, does not.
func TestMailsOnTheirWay(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := &sender{t, db, now, store.MailBounds{All: 2, PerTenant: 2}}
		s.queue("t", store.MailOrdinary, 3)
		first, _ := s.take()
		if _, ok := s.take(); !ok {
			t.Fatal("the second is not taken")
		}
		if m, ok := s.take(); ok {
			t.Fatalf("more than the bound are on their way: %+v", m)
		}
		update(t, db, func(tx *store.Tx) error { return tx.PostponeMail(first.ID, s.at.Add(2*time.Hour), "451") })
		if m, ok := s.take(); !ok || m.Tries != 1 {
			t.Errorf("what waits is counted: %+v", m)
		}
		s.at = s.at.Add(2 * time.Minute) // those that took them have ended
		for range 2 {
			if m, ok := s.take(); !ok || m.Tries != 2 {
				t.Errorf("%v %+v", ok, m)
			}
		}
	})
}

// A mail that is withdrawn is not sent, and nothing of it is kept; one that is being sent
// is counted all the same.
func TestWithdrawnMail(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := &sender{t, db, now, unbounded}
		s.queue("t", store.MailOrdinary, 2)
		tried, _ := s.take()
		waiting := get(t, db, (*store.Tx).QueuedMails)
		withdraw := func(id store.MailID) (untried bool) {
			t.Helper()
			update(t, db, func(tx *store.Tx) (err error) {
				untried, err = tx.WithdrawMail(id, s.at)
				return err
			})
			return untried
		}
		for _, m := range waiting {
			if got := withdraw(m.ID); got != (m.ID != tried.ID) {
				t.Errorf("untried: %v, of %+v", got, m)
			}
			kept := get(t, db, func(tx *store.Tx) (map[store.MailID]store.Mail, error) { return tx.Mails([]store.MailID{m.ID}) })[m.ID]
			if kept.State != store.MailWithdrawn || kept.Sealed != nil || kept.Ended == nil {
				t.Errorf("%+v", kept)
			}
		}
		if m, ok := s.take(); ok || len(waiting) != 2 {
			t.Errorf("it is sent: %+v", m)
		}
		missingThing(t, db, "a postponed one", func(tx *store.Tx) error { return tx.PostponeMail(tried.ID, now, "451") })
		update(t, db, func(tx *store.Tx) error { return tx.EndMail(tried.ID, store.MailSent, "", s.at) })
		if withdraw(tried.ID) {
			t.Error("one that was sent is withdrawn")
		}
		s.bounds.PerTenant = 1
		s.queue("t", store.MailOrdinary, 1)
		if m, ok := s.take(); ok {
			t.Errorf("what was sent although it was withdrawn does not count: %+v", m)
		}
	})
}
