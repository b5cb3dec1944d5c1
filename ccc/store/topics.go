package store

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Topic is something that programs outside can be told, by webhooks.
type Topic string

// TopicTest is sent to try a webhook.
const TopicTest Topic = "webhook.test"

// The topics of systems that come and go.
const (
	TopicOnline  Topic = "system.online"
	TopicOffline Topic = "system.offline"
)

// topics has for each topic what it can say, beside the id and the serial of a system.
// There are no names, texts, addresses and numbers of calls in any: these are looked up by
// their ids by who may see them.
var topics = map[Topic][]string{
	TopicTest:            {},
	TopicOnline:          {"system_id", "serial"},
	TopicOffline:         {"system_id", "serial", "reason"},
	"system.paired":      {"system_id", "serial"},
	"system.left":        {"system_id", "serial", "reason"},
	"system.removed":     {"system_id", "serial"},
	"remote.requested":   {"system_id", "serial", "remote_id", "service"},
	"remote.started":     {"system_id", "serial", "remote_id", "service"},
	"remote.ended":       {"system_id", "serial", "remote_id", "service", "cause"},
	"access.granted":     {"system_id", "serial", "grant_id", "tenant_id"},
	"access.revoked":     {"system_id", "serial", "grant_id", "tenant_id", "site_id", "user_id", "role"},
	"break_glass.begun":  {"break_glass_id"},
	"break_glass.ended":  {"break_glass_id"},
	"handover.offered":   {"system_id", "serial"},
	"handover.accepted":  {"system_id", "serial"},
	"handover.ended":     {"system_id", "serial"},
	"rollout.changed":    {"rollout_id", "state"},
	"user.created":       {"user_id"},
	"user.roles_changed": {"user_id"},
	"user.locked_out":    {"user_id"},
	"user.let_in":        {"user_id"},
}

// Topics gives all, by name.
func Topics() []Topic { return slices.Sorted(maps.Keys(topics)) }

// Known tells whether there is such a topic.
func (t Topic) Known() bool { return topics[t] != nil }

// Fields gives what data of the topic can have.
func (t Topic) Fields() []string { return topics[t] }

// topicOfEvent gives what a line of a tenant's history tells, and as what it says the
// details.
var topicOfEvent = map[string]struct {
	topic  Topic
	fields map[string]string
}{
	"paired":             {"system.paired", nil},
	"dissolved":          {"system.left", map[string]string{"reason": "reason"}},
	"removed":            {"system.removed", nil},
	"access_granted":     {"access.granted", map[string]string{"grant": "grant_id", "tenant": "tenant_id"}},
	"access_revoked":     {"access.revoked", map[string]string{"grant": "grant_id", "tenant": "tenant_id", "site": "site_id", "user": "user_id", "role": "role"}},
	"break_glass_begun":  {"break_glass.begun", map[string]string{"break_glass": "break_glass_id"}},
	"break_glass_ended":  {"break_glass.ended", map[string]string{"break_glass": "break_glass_id"}},
	"handover_offered":   {"handover.offered", nil},
	"handover_accepted":  {"handover.accepted", nil},
	"handover_declined":  {"handover.ended", nil},
	"handover_withdrawn": {"handover.ended", nil},
}

// Announcement is something that has happened in a tenant.
type Announcement struct {
	Tenant TenantID
	Topic  Topic
	At     time.Time
	System SystemID // empty: it is about none
	Serial identity.Serial
	// Data has only what the topic says, and only ids and words.
	Data map[string]string
}

// What data can have: ids and words, and nothing that a person has written or dialled.
var (
	word = regexp.MustCompile(`^[0-9_.-]*[A-Za-z][A-Za-z0-9_.-]*$`) // a number alone is none
	// Details of the history are texts; told of them are ids that were made here, and plain
	// words.
	madeID    = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	plainWord = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
)

// maxWord is how long an id or a word can be.
const maxWord = 64

// told tells whether a detail of the history can be told as a field of a topic.
func told(field, v string) bool {
	if strings.HasSuffix(field, "_id") {
		return madeID.MatchString(v)
	}
	return len(v) <= maxWord && plainWord.MatchString(v)
}

// Announce has the tenant's webhooks for the topic told, once the transaction is
// committed. Without any it does nothing.
func (t *Tx) Announce(a Announcement) error {
	var c checks
	if !a.Topic.Known() || a.Topic == TopicTest {
		c.fail("Topic", "is none of the known values")
	}
	c.time("At", a.At)
	data := map[string]string{}
	for field, v := range a.Data {
		switch {
		case !slices.Contains(a.Topic.Fields(), field):
			c.fail("Data", "has "+field+", which the topic does not have")
		case v == "": // it is not told
		case len(v) > maxWord || !word.MatchString(v):
			c.fail("Data", "has "+field+", which is neither an id nor a word")
		default:
			data[field] = v
		}
	}
	if c.err != nil {
		return c.err
	}
	to, err := t.listeners(a.Tenant, a.Topic)
	if err != nil || len(to) == 0 {
		return err
	}
	if a.System != "" {
		data["system_id"] = string(a.System)
		if a.Serial == "" {
			found, err := rows(t, value[identity.Serial], "SELECT serial FROM systems WHERE tenant_id = $1 AND id = $2", a.Tenant, a.System)
			if err != nil {
				return err
			}
			for _, s := range found {
				a.Serial = s
			}
		}
		if a.Serial != "" {
			data["serial"] = string(a.Serial)
		}
	}
	for _, id := range to {
		if _, err := t.deliver(a.Tenant, id, a.Topic, a.At, data); err != nil {
			return err
		}
	}
	return nil
}

// listeners gives the webhooks that want a topic.
func (t *Tx) listeners(tenant TenantID, topic Topic) ([]WebhookID, error) {
	all, err := rows(t, scanWebhook, "SELECT "+webhookColumns+" FROM webhooks WHERE tenant_id = $1 AND enabled = $2", tenant, true)
	var to []WebhookID
	for _, v := range all {
		if slices.Contains(v.Topics, topic) {
			to = append(to, v.ID)
		}
	}
	return to, err
}

// deliver puts what is to be told where it waits for being sent.
func (t *Tx) deliver(tenant TenantID, to WebhookID, topic Topic, at time.Time, data map[string]string) (Delivery, error) {
	v := Delivery{ID: NewID[DeliveryID](), Webhook: to, Topic: topic, State: DeliveryWaiting, Due: at, Begun: at, Created: at}
	text, err := json.Marshal(struct {
		ID      DeliveryID        `json:"id"`
		Type    Topic             `json:"type"`
		Version int               `json:"version"`
		At      time.Time         `json:"at"`
		Tenant  TenantID          `json:"tenant_id"`
		Data    map[string]string `json:"data"`
	}{v.ID, topic, 1, at.UTC().Truncate(time.Millisecond), tenant, data})
	if err != nil {
		return v, err
	}
	v.Body = string(text)
	_, err = t.exec(`INSERT INTO webhook_deliveries (id, webhook_id, topic, body, state, tries, due, begun, created)
		VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8)`, v.ID, v.Webhook, v.Topic, v.Body, v.State, v.Due, v.Begun, v.Created)
	return v, err
}

// announceEvent tells what a line of the history tells.
func (t *Tx) announceEvent(e Event) error {
	known, ok := topicOfEvent[e.Kind]
	if !ok {
		return nil
	}
	a := Announcement{Tenant: e.Tenant, Topic: known.topic, At: e.At, System: e.System, Data: map[string]string{}}
	for detail, field := range known.fields {
		if v := e.Detail[detail]; told(field, v) {
			a.Data[field] = v
		}
	}
	return t.Announce(a)
}
