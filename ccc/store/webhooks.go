package store

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// MaxWebhooks is how many a tenant has at most.
const MaxWebhooks = 50

// Webhook is where a tenant is told what happens.
type Webhook struct {
	ID      WebhookID
	Tenant  TenantID
	URL     string
	Topics  []Topic
	Enabled bool
	// Gone: the receiver has said that it wants nothing any more, which disabled it.
	Gone bool
	// SecretSealed is what deliveries are signed with; Previous besides, until then.
	SecretSealed   []byte
	PreviousSealed []byte
	PreviousUntil  *time.Time
	// Failures counts the tries that failed since one that did not, FailingSince is when the
	// first of them was. PausedUntil is when the next try is made after too many.
	Failures     int
	FailingSince *time.Time
	PausedUntil  *time.Time
	Created      time.Time
}

const webhookColumns = "id, tenant_id, url, topics, enabled, gone, secret, previous, previous_until, failures, failing_since, paused_until, created"

func scanWebhook(s scanner) (v Webhook, err error) {
	var topics string
	var previous, failing, paused, created moment
	err = s.Scan(&v.ID, &v.Tenant, &v.URL, &topics, &v.Enabled, &v.Gone, blob{&v.SecretSealed}, blob{&v.PreviousSealed}, &previous,
		&v.Failures, &failing, &paused, &created)
	if err == nil {
		err = json.Unmarshal([]byte(topics), &v.Topics)
	}
	v.PreviousUntil, v.FailingSince, v.PausedUntil, v.Created = previous.pointer(), failing.pointer(), paused.pointer(), created.Time
	return v, err
}

func (v Webhook) check() error {
	var c checks
	c.id("ID", string(v.ID))
	c.time("Created", v.Created)
	if v.URL == "" {
		c.fail("URL", "is missing")
	}
	if len(v.SecretSealed) == 0 {
		c.fail("SecretSealed", "is missing")
	}
	if len(v.Topics) == 0 || slices.ContainsFunc(v.Topics, func(t Topic) bool { return !t.Known() || t == TopicTest }) {
		c.fail("Topics", "are none, or have one that is not known")
	}
	return c.err
}

// CreateWebhook adds one. ErrLimit where the tenant has MaxWebhooks; ErrNotFound without
// the tenant.
func (t *Tx) CreateWebhook(v Webhook) error {
	t.makes(v.Tenant, "webhook", string(v.ID), "")
	if err := v.check(); err != nil {
		return err
	}
	n, err := row(t, value[int], "SELECT count(*) FROM webhooks WHERE tenant_id = $1", v.Tenant)
	if err != nil {
		return err
	}
	if n >= MaxWebhooks {
		return ErrLimit
	}
	_, err = t.exec(`INSERT INTO webhooks (id, tenant_id, url, topics, enabled, gone, secret, previous, previous_until, failures, failing_since, paused_until, created)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0, 0, $9)`,
		v.ID, v.Tenant, v.URL, listOf(v.Topics), v.Enabled, false, v.SecretSealed, []byte{}, v.Created)
	return err
}

// Webhook gives one of the tenant.
func (t *Tx) Webhook(tenant TenantID, id WebhookID) (Webhook, error) {
	return row(t, scanWebhook, "SELECT "+webhookColumns+" FROM webhooks WHERE tenant_id = $1 AND id = $2", tenant, id)
}

// Webhooks gives the tenant's, the oldest first.
func (t *Tx) Webhooks(tenant TenantID) ([]Webhook, error) {
	return rows(t, scanWebhook, "SELECT "+webhookColumns+" FROM webhooks WHERE tenant_id = $1 ORDER BY created, id", tenant)
}

// SetWebhook replaces address, topics and whether it is enabled, and secrets. What was
// held against the receiver is forgotten.
func (t *Tx) SetWebhook(tenant TenantID, v Webhook) error {
	if err := v.check(); err != nil {
		return err
	}
	t.erased = true // the secret before the previous one
	return t.change(`UPDATE webhooks SET url = $3, topics = $4, enabled = $5, gone = $6, secret = $7, previous = $8, previous_until = $9,
		failures = 0, failing_since = 0, paused_until = 0 WHERE tenant_id = $1 AND id = $2`,
		tenant, v.ID, v.URL, listOf(v.Topics), v.Enabled, false, v.SecretSealed, v.PreviousSealed, moments(v.PreviousUntil))
}

// DeleteWebhook removes one with all that waits for it.
func (t *Tx) DeleteWebhook(tenant TenantID, id WebhookID) error {
	t.erased = true
	return t.change("DELETE FROM webhooks WHERE tenant_id = $1 AND id = $2", tenant, id)
}

// WebhookByID gives one of whatever tenant.
func (t *Tx) WebhookByID(id WebhookID) (Webhook, error) {
	return row(t, scanWebhook, "SELECT "+webhookColumns+" FROM webhooks WHERE id = $1", id)
}

// AllWebhooks gives those of all tenants.
func (t *Tx) AllWebhooks() ([]Webhook, error) {
	return rows(t, scanWebhook, "SELECT "+webhookColumns+" FROM webhooks ORDER BY id")
}

// ResealWebhook replaces the sealed secrets, which are the same inside.
func (t *Tx) ResealWebhook(id WebhookID, secret, previous []byte) error {
	return t.change("UPDATE webhooks SET secret = $2, previous = $3 WHERE id = $1", id, secret, previous)
}

// DueWebhooks gives those of all tenants for which something is due, and which are not
// paused.
func (t *Tx) DueWebhooks(now time.Time) ([]Webhook, error) {
	return rows(t, scanWebhook, "SELECT "+webhookColumns+` FROM webhooks WHERE enabled = $1 AND paused_until <= $2
		AND EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.webhook_id = webhooks.id AND d.due > 0 AND d.due <= $2) ORDER BY id`, true, now)
}

// SetWebhookHealth replaces what is known of the receiver.
func (t *Tx) SetWebhookHealth(v Webhook) error {
	return t.change("UPDATE webhooks SET enabled = $2, gone = $3, failures = $4, failing_since = $5, paused_until = $6 WHERE id = $1",
		v.ID, v.Enabled, v.Gone, v.Failures, moments(v.FailingSince), moments(v.PausedUntil))
}

// PairedWithWebhooks gives those of some PBXs that are paired with a tenant that has
// webhooks.
func (t *Tx) PairedWithWebhooks(serials []identity.Serial) ([]Paired, error) {
	return rows(t, func(s scanner) (v Paired, err error) {
		err = s.Scan(&v.Serial, &v.Tenant, &v.System, &v.Epoch)
		return v, err
	}, `SELECT serial, tenant_id, system_id, epoch FROM pairings WHERE serial IN `+t.list("$1")+`
		AND tenant_id IN (SELECT tenant_id FROM webhooks WHERE enabled = $2) ORDER BY serial`, listOf(serials), true)
}
