package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

func newWebhook(id store.WebhookID, tenant store.TenantID, topics ...store.Topic) store.Webhook {
	return store.Webhook{ID: id, Tenant: tenant, URL: "https://example.com/hook", Topics: topics, Enabled: true, SecretSealed: []byte("sealed"), Created: now}
}

func TestAnnouncements(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, cfg store.Config) {
		db := open(t, cfg)
		s := fixture(t, db)
		hook := newWebhook(store.NewID[store.WebhookID](), s.Tenant, "system.paired", store.TopicOffline, "user.created")
		off := newWebhook(store.NewID[store.WebhookID](), s.Tenant, "system.paired")
		off.Enabled = false
		user := newUser(s.Tenant, "jo@example.com")
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.CreateWebhook(hook), tx.CreateWebhook(off))
		})
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(
				tx.AddEvent(store.Event{Tenant: s.Tenant, System: s.ID, Kind: "paired", At: now, Detail: map[string]string{"note": "private"}}),
				tx.AddEvent(store.Event{Tenant: s.Tenant, System: s.ID, Kind: "removed", At: now}), // nobody asked for it
				tx.Announce(store.Announcement{Tenant: s.Tenant, Topic: store.TopicOffline, At: now, System: s.ID, Data: map[string]string{"reason": "network"}}),
				tx.CreateUser(user),
			)
		})
		var all []store.Delivery
		view(t, db, func(tx *store.Tx) (err error) {
			if none, _, err := tx.Deliveries(s.Tenant, off.ID, "", store.Page{}); err != nil || len(none) != 0 {
				t.Errorf("a disabled webhook has %v, %v", none, err)
			}
			all, _, err = tx.Deliveries(s.Tenant, hook.ID, store.DeliveryWaiting, store.Page{})
			return err
		})
		got := map[string]string{}
		for _, d := range all {
			var body struct {
				ID, Type string
				Version  int
				At       time.Time
				Tenant   string `json:"tenant_id"`
				Data     map[string]string
			}
			if err := json.Unmarshal([]byte(d.Body), &body); err != nil {
				t.Fatal(err)
			}
			if body.ID != string(d.ID) || body.Version != 1 || body.Tenant != string(s.Tenant) || body.At.IsZero() {
				t.Errorf("the body is %s", d.Body)
			}
			got[body.Type] = fmt.Sprint(body.Data)
		}
		want := map[string]string{
			"system.paired":  fmt.Sprintf("map[serial:%s system_id:%s]", s.Serial, s.ID),
			"system.offline": fmt.Sprintf("map[reason:network serial:%s system_id:%s]", s.Serial, s.ID),
			"user.created":   fmt.Sprintf("map[user_id:%s]", user.ID),
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

// TestAnnounceNothingPersonal: what is told has ids and words alone.
func TestAnnounceNothingPersonal(t *testing.T) {
	t.Parallel()
	db := open(t, sqliteConfig(t))
	s := fixture(t, db)
	update(t, db, func(tx *store.Tx) error {
		return tx.CreateWebhook(newWebhook(store.NewID[store.WebhookID](), s.Tenant, "user.created", store.TopicOffline))
	})
	for name, a := range map[string]store.Announcement{
		"an address":      {Topic: "user.created", Data: map[string]string{"user_id": "jo@example.com"}},
		"a name":          {Topic: "user.created", Data: map[string]string{"user_id": "Jo Example"}},
		"a number":        {Topic: "user.created", Data: map[string]string{"user_id": "053155512345"}},
		"another field":   {Topic: "user.created", Data: map[string]string{"email": "x"}},
		"an unknown one":  {Topic: "user.married"},
		"a long text":     {Topic: store.TopicOffline, Data: map[string]string{"reason": strings.Repeat("x", 65)}},
		"that of a trial": {Topic: store.TopicTest},
	} {
		a.Tenant, a.At = s.Tenant, now
		err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.Announce(a) })
		if !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	update(t, db, func(tx *store.Tx) error {
		return tx.Announce(store.Announcement{Tenant: s.Tenant, Topic: "user.created", At: now, Data: map[string]string{"user_id": "u-1"}})
	})
	known := []string{"system_id", "serial", "reason", "remote_id", "service", "cause", "grant_id", "tenant_id", "site_id", "user_id", "role", "break_glass_id", "rollout_id", "state"}
	for _, topic := range store.Topics() {
		for _, field := range topic.Fields() {
			if !slices.Contains(known, field) {
				t.Errorf("%s tells %s: is it personal?", topic, field)
			}
		}
	}
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, cfg store.Config) {
		db := open(t, cfg)
		s := fixture(t, db)
		hook := newWebhook(store.NewID[store.WebhookID](), s.Tenant, "user.created")
		update(t, db, func(tx *store.Tx) error { return tx.CreateWebhook(hook) })
		for i := range 3 {
			update(t, db, func(tx *store.Tx) error {
				_, err := tx.TestWebhook(s.Tenant, hook.ID, now.Add(time.Duration(i)*time.Second))
				return err
			})
		}
		var claimed []store.Delivery
		claim := func(at time.Time) int {
			update(t, db, func(tx *store.Tx) (err error) {
				claimed, err = tx.ClaimDeliveries(hook.ID, at, at.Add(time.Minute), 2)
				return err
			})
			return len(claimed)
		}
		later := now.Add(10 * time.Second)
		if a, b, c := claim(later), claim(later), claim(later); a != 2 || b != 1 || c != 0 {
			t.Errorf("claimed %d, %d, %d", a, b, c)
		}
		if n := claim(later.Add(time.Hour)); n != 2 { // who claimed them has died
			t.Errorf("claimed %d", n)
		}
		done, failed := claimed[0], claimed[1]
		done.State, done.Due = store.DeliveryDone, time.Time{}
		failed.State, failed.Due = store.DeliveryFailed, time.Time{}
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.EndTry(done, store.Try{At: later, Status: 204, Milliseconds: 7}), tx.EndTry(failed, store.Try{At: later, Failure: "timeout"}))
		})
		for _, text := range []string{"lookup db.inside.example on 10.0.0.53:53: no such host", "10.0.0.1:443"} { // positive: those above
			err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.EndTry(failed, store.Try{At: later, Failure: text}) })
			if !errors.Is(err, store.ErrInvalid) {
				t.Errorf("%q is a word: %v", text, err)
			}
		}
		view(t, db, func(tx *store.Tx) error {
			d, tries, err := tx.Delivery(s.Tenant, hook.ID, failed.ID)
			if err != nil || d.State != store.DeliveryFailed || d.Tries != 1 || len(tries) != 1 || tries[0].Failure != "timeout" {
				t.Errorf("got %+v, %+v, %v", d, tries, err)
			}
			first, next, err := tx.Deliveries(s.Tenant, hook.ID, "", store.Page{Limit: 2})
			rest, last, err2 := tx.Deliveries(s.Tenant, hook.ID, "", store.Page{Limit: 2, Cursor: next})
			if err != nil || err2 != nil || len(first) != 2 || len(rest) != 1 || last != "" || rest[0].ID == first[0].ID {
				t.Errorf("pages of %d and %d, %v, %v", len(first), len(rest), err, err2)
			}
			return nil
		})
		update(t, db, func(tx *store.Tx) error {
			n, err := tx.ReplayFailures(s.Tenant, hook.ID, now.Add(-time.Hour), later)
			if n != 1 {
				t.Errorf("%d are told anew", n)
			}
			return errors.Join(err, tx.ReplayDelivery(s.Tenant, hook.ID, done.ID, later))
		})
		update(t, db, func(tx *store.Tx) error {
			if n, err := tx.SweepDeliveries(later.Add(time.Hour)); n != 0 || err != nil {
				t.Errorf("%d that wait are gone, %v", n, err)
			}
			if n, err := tx.GiveUpDeliveries(now); n != 0 || err != nil {
				t.Errorf("%d that have just begun are given up, %v", n, err)
			}
			at, err := tx.NextDelivery()
			if !at.Equal(later) {
				t.Errorf("the next is at %s, want %s", at, later)
			}
			return err
		})
		update(t, db, func(tx *store.Tx) error {
			n, err := tx.GiveUpDeliveries(later.Add(time.Hour))
			at, none := tx.NextDelivery()
			if n == 0 || !at.IsZero() {
				t.Errorf("%d are given up, and one is due at %s", n, at)
			}
			return errors.Join(err, none)
		})
		update(t, db, func(tx *store.Tx) error { return tx.DeleteWebhook(s.Tenant, hook.ID) })
		update(t, db, func(tx *store.Tx) error { return tx.EndTry(done, store.Try{At: later}) }) // it was on its way
	})
}

// tell makes a webhook that was told something.
func tell(t *testing.T, db *store.DB, tenant store.TenantID, id store.WebhookID) (made store.DeliveryID) {
	t.Helper()
	update(t, db, func(tx *store.Tx) error {
		err := tx.CreateWebhook(newWebhook(id, tenant, "user.created"))
		d, err2 := tx.TestWebhook(tenant, id, now)
		made, d.State, d.Due = d.ID, store.DeliveryFailed, time.Time{}
		return errors.Join(err, err2, tx.EndTry(d, store.Try{At: now, Status: 500, Failure: "status"}))
	})
	return made
}
