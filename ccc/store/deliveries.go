package store

import (
	"regexp"
	"time"
)

// DeliveryState says how far a delivery is.
type DeliveryState string

// The states of a delivery.
const (
	DeliveryWaiting DeliveryState = "waiting" // for its first try, or another one
	DeliveryDone    DeliveryState = "delivered"
	DeliveryFailed  DeliveryState = "failed" // it is given up
)

// DeliveryStates gives all.
func DeliveryStates() []DeliveryState {
	return []DeliveryState{DeliveryWaiting, DeliveryDone, DeliveryFailed}
}

// Delivery is what one webhook is told. It stays for a while after it was told.
type Delivery struct {
	ID      DeliveryID
	Webhook WebhookID
	Topic   Topic
	Body    string // JSON
	State   DeliveryState
	Tries   int
	Due     time.Time // of the next try; zero: there is none
	Begun   time.Time // since when it is tried
	Created time.Time
}

// Try is what came of one try.
type Try struct {
	At           time.Time
	Status       int    // of HTTP; 0: there was no answer
	Failure      string // in one word of a to z, where there was none or not a good one
	Milliseconds int64
}

const deliveryColumns = "id, webhook_id, topic, body, state, tries, due, begun, created"

func scanDelivery(s scanner) (v Delivery, err error) {
	var due, begun, created moment
	err = s.Scan(&v.ID, &v.Webhook, &v.Topic, &v.Body, &v.State, &v.Tries, &due, &begun, &created)
	v.Due, v.Begun, v.Created = due.Time, begun.Time, created.Time
	return v, err
}

// Deliveries gives a page of what a webhook of the tenant was told, the newest first, and
// the cursor of the next page; only in one state, where one is given.
func (t *Tx) Deliveries(tenant TenantID, webhook WebhookID, state DeliveryState, p Page) (items []Delivery, next string, err error) {
	if _, err := t.Webhook(tenant, webhook); err != nil {
		return nil, "", err
	}
	w := &where{t: t, args: []any{webhook}}
	w.sql.WriteString("webhook_id = $1")
	if state != "" {
		w.and("state = ?", state)
	}
	if p.Cursor != "" {
		from, err := parseCursor(p.Cursor, "-created")
		if err != nil {
			return nil, "", err
		}
		w.beyond("created", "<", from.Number, from.ID)
	}
	items, err = rows(t, scanDelivery, "SELECT "+deliveryColumns+" FROM webhook_deliveries WHERE "+w.sql.String()+
		" ORDER BY created DESC, id DESC LIMIT "+w.parameter(p.limit()+1), w.args...)
	if n := p.limit(); err == nil && len(items) > n {
		items = items[:n]
		last := items[n-1]
		next = cursor{Column: "-created", Number: millis(last.Created), ID: string(last.ID)}.String()
	}
	return items, next, err
}

// Delivery gives one of a webhook of the tenant, with its tries, the first one first.
func (t *Tx) Delivery(tenant TenantID, webhook WebhookID, id DeliveryID) (v Delivery, tries []Try, err error) {
	if _, err := t.Webhook(tenant, webhook); err != nil {
		return v, nil, err
	}
	if v, err = row(t, scanDelivery, "SELECT "+deliveryColumns+" FROM webhook_deliveries WHERE webhook_id = $1 AND id = $2", webhook, id); err != nil {
		return v, nil, err
	}
	tries, err = rows(t, func(s scanner) (v Try, err error) {
		var at moment
		err = s.Scan(&at, &v.Status, &v.Failure, &v.Milliseconds)
		v.At = at.Time
		return v, err
	}, "SELECT at, status, failure, milliseconds FROM webhook_tries WHERE delivery_id = $1 ORDER BY at", id)
	return v, tries, err
}

// TestWebhook has a webhook of the tenant told that it is tried.
func (t *Tx) TestWebhook(tenant TenantID, webhook WebhookID, at time.Time) (Delivery, error) {
	if _, err := t.Webhook(tenant, webhook); err != nil {
		return Delivery{}, err
	}
	return t.deliver(tenant, webhook, TopicTest, at, map[string]string{})
}

// ReplayDelivery has one told anew, whether it was told or not.
func (t *Tx) ReplayDelivery(tenant TenantID, webhook WebhookID, id DeliveryID, now time.Time) error {
	if _, err := t.Webhook(tenant, webhook); err != nil {
		return err
	}
	return t.change("UPDATE webhook_deliveries SET state = $3, due = $4, begun = $4 WHERE webhook_id = $1 AND id = $2",
		webhook, id, DeliveryWaiting, now)
}

// ReplayFailures has told anew what was given up since a time, and tells how much.
func (t *Tx) ReplayFailures(tenant TenantID, webhook WebhookID, since, now time.Time) (int, error) {
	if _, err := t.Webhook(tenant, webhook); err != nil {
		return 0, err
	}
	return t.sweep("UPDATE webhook_deliveries SET state = $3, due = $4, begun = $4 WHERE webhook_id = $1 AND state = $2 AND created >= $5",
		webhook, DeliveryFailed, DeliveryWaiting, now, since)
}

// ClaimDeliveries gives what is due for a webhook, and has it be due again at a time: by
// then somebody else takes it, unless [Tx.EndTry] has said what came of it.
func (t *Tx) ClaimDeliveries(webhook WebhookID, now, until time.Time, limit int) ([]Delivery, error) {
	return rows(t, scanDelivery, `UPDATE webhook_deliveries SET due = $3 WHERE id IN (
		SELECT id FROM webhook_deliveries WHERE webhook_id = $1 AND due > 0 AND due <= $2 ORDER BY due, id LIMIT $4)
		RETURNING `+deliveryColumns, webhook, now, until, limit)
}

// failureWord is what a failure can be: no text of an error, which would tell names and
// addresses of the network inside.
var failureWord = regexp.MustCompile(`^[a-z_]{0,32}$`)

// EndTry notes what came of a try, and when the next one is, where v.Due is not zero. It
// does nothing where the delivery is gone.
func (t *Tx) EndTry(v Delivery, try Try) error {
	if !failureWord.MatchString(try.Failure) {
		var c checks
		c.fail("Failure", "is not a word")
		return c.err
	}
	n, err := t.exec("UPDATE webhook_deliveries SET state = $2, tries = tries + 1, due = $3 WHERE id = $1", v.ID, v.State, v.Due)
	if err != nil || n == 0 {
		return err
	}
	_, err = t.exec("INSERT INTO webhook_tries (delivery_id, at, status, failure, milliseconds) VALUES ($1, $2, $3, $4, $5)",
		v.ID, try.At, try.Status, try.Failure, try.Milliseconds)
	return err
}

// NextDelivery gives when the next delivery of all is due, or the end of a pause; the zero
// time: none is.
func (t *Tx) NextDelivery() (time.Time, error) {
	v, err := row(t, value[int64], `SELECT coalesce(min(CASE WHEN d.due > w.paused_until THEN d.due ELSE w.paused_until END), 0)
		FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id WHERE d.due > 0 AND w.enabled = $1`, true)
	if err != nil || v == 0 {
		return time.Time{}, err
	}
	return time.UnixMilli(v).UTC(), nil
}

// GiveUpDeliveries ends what has waited since before a time for a receiver that takes
// nothing, and tells how many that were.
func (t *Tx) GiveUpDeliveries(before time.Time) (int, error) {
	return t.sweep("UPDATE webhook_deliveries SET state = $2, due = 0 WHERE due > 0 AND begun < $1", before, DeliveryFailed)
}

// SweepDeliveries removes those of all tenants from before a time that are not tried any
// more, and tells how many.
func (t *Tx) SweepDeliveries(before time.Time) (int, error) {
	return t.sweep("DELETE FROM webhook_deliveries WHERE created < $1 AND due = 0", before)
}
