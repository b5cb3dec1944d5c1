package store_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// TestNoCanaryInWebhooks: everything that can be told is told, with what people have
// written or dialled in all that has a text, and none of that is in what is sent.
func TestNoCanaryInWebhooks(t *testing.T) {
	t.Parallel()
	for _, canary := range []string{"CANARY", "Jo Canary", "jo-canary@example.com", "053155512345", "+49 531 55512345", "203.0.113.77", "sip:1234567@pbx.example"} {
		t.Run(canary, func(t *testing.T) {
			t.Parallel()
			db := open(t, sqliteConfig(t))
			s := fixture(t, db)
			topics := slices.DeleteFunc(store.Topics(), func(v store.Topic) bool { return v == store.TopicTest })
			hook := newWebhook(store.NewID[store.WebhookID](), s.Tenant, topics...)
			update(t, db, func(tx *store.Tx) error { return tx.CreateWebhook(hook) })
			update(t, db, func(tx *store.Tx) error {
				_, err := tx.TestWebhook(s.Tenant, hook.ID, now)
				return err
			})
			everything(t, db, s, canary)
			seen := map[store.Topic]bool{}
			view(t, db, func(tx *store.Tx) error {
				all, _, err := tx.Deliveries(s.Tenant, hook.ID, "", store.Page{Limit: store.MaxPage})
				for _, d := range all {
					seen[d.Topic] = true
					if strings.Contains(d.Body, canary) {
						t.Errorf("%s tells %s", d.Topic, d.Body)
					}
				}
				return err
			})
			if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, store.Topics()) {
				t.Errorf("told are %v, and there are %v", got, store.Topics())
			}
		})
	}
}

// everything has each topic be told, with a canary wherever a text can be.
func everything(t *testing.T, db *store.DB, s store.System, canary string) {
	t.Helper()
	detail := map[string]string{}
	for _, key := range []string{"reason", "by", "grant", "tenant", "site", "user", "role", "break_glass", "note", "name", "number", "text", "address"} {
		detail[key] = canary
	}
	user := newUser(s.Tenant, "someone@example.com")
	user.Name = canary
	update(t, db, func(tx *store.Tx) error {
		var all []error
		for _, kind := range []string{
			"paired", "dissolved", "removed", "access_granted", "access_revoked", "break_glass_begun", "break_glass_ended",
			"handover_offered", "handover_accepted", "handover_declined", "handover_withdrawn",
		} {
			all = append(all, tx.AddEvent(store.Event{Tenant: s.Tenant, System: s.ID, Kind: kind, At: now, Detail: detail}))
		}
		all = append(all,
			tx.Announce(store.Announcement{Tenant: s.Tenant, Topic: store.TopicOnline, At: now, System: s.ID}),
			tx.Announce(store.Announcement{Tenant: s.Tenant, Topic: store.TopicOffline, At: now, System: s.ID, Data: map[string]string{"reason": "lost"}}),
			tx.CreateUser(user),
			tx.SetUserGrants(s.Tenant, user.ID, []store.UserGrant{{User: user.ID, Role: store.RoleMonitoring}}),
			tx.SetUserDisabled(s.Tenant, user.ID, true), tx.SetUserDisabled(s.Tenant, user.ID, false),
		)
		rollout := newRollout(store.NewID[store.RolloutID](), s.Tenant)
		rollout.Name = canary
		all = append(all, tx.CreateRollout(rollout, nil))
		from := rollout.State
		rollout.State = store.RolloutStopped
		all = append(all, tx.SetRollout(s.Tenant, rollout, from))
		remote := newRemote(s, user)
		remote.Name, remote.Reason = canary, canary
		all = append(all, tx.CreateRemote(remote))
		remote.State, remote.Started, remote.Until = grant.Active, new(now), new(now)
		all = append(all, tx.SetRemote(remote))
		remote.State, remote.Ended, remote.Cause = grant.Ended, new(now), grant.CauseSwitch
		all = append(all, tx.SetRemote(remote))
		return errors.Join(all...)
	})
}
