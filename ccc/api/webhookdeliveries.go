package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// WebhookDelivery is what a webhook was told, or is to be.
type WebhookDelivery struct {
	ID        string          `json:"id" doc:"The same at each try: webhook-id, and id in what is sent"`
	Event     string          `json:"event"`
	State     string          `json:"state" enum:"waiting,delivered,failed" doc:"waiting: for its first try, or another one; failed: it is given up"`
	Tries     int             `json:"tries"`
	CreatedAt time.Time       `json:"created_at"`
	NextAt    *time.Time      `json:"next_at,omitempty" doc:"When the next try is"`
	Log       []WebhookTry    `json:"log,omitempty" nullable:"false" doc:"What came of each try, the first one first; only where one delivery is asked for"`
	Body      json.RawMessage `json:"body,omitempty" doc:"What is sent; only where one delivery is asked for"`
}

// WebhookTry is what came of one try.
type WebhookTry struct {
	At           time.Time `json:"at"`
	Status       int       `json:"status,omitempty" doc:"Of HTTP; absent: there was no answer"`
	Failure      string    `json:"failure,omitempty" enum:"status,timeout,name,not_public,certificate,connection,secret" doc:"Absent: it was received. status: the answer is not 2xx; name: it is not known, or leads to no public address; not_public: the address may not be reached any more; secret: it does not open, as its key is missing"`
	Milliseconds int64     `json:"milliseconds" doc:"0 where the name is what failed"`
}

// WebhookDeliveryList is a page of deliveries, the newest first.
type WebhookDeliveryList struct {
	Items []WebhookDelivery `json:"items" nullable:"false"`
	Next  string            `json:"next,omitempty" doc:"Cursor of the next page; absent on the last one"`
}

// Replay has deliveries made again.
type Replay struct {
	Since time.Time `json:"since" doc:"Of what has happened since then"`
}

// Replayed says how many.
type Replayed struct {
	Deliveries int `json:"deliveries"`
}

// registerDeliveries is the table of the operations about what webhooks were told.
func (a *API) registerDeliveries() {
	const list = "/webhooks/{id}/deliveries"
	add(a, operation{
		id: "testWebhook", method: http.MethodPost, path: "/webhooks/{id}/test", tag: tagWebhooks, rule: inTenant(access.WebhooksManage), status: http.StatusCreated,
		summary: "Try a webhook", description: "It is sent webhook.test. Look at the delivery for what comes of it.",
		codes: []Code{CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.testWebhook)
	add(a, operation{
		id: "listWebhookDeliveries", method: http.MethodGet, path: list, tag: tagWebhooks, rule: inTenant(access.WebhooksRead),
		summary: "What a webhook was told",
	}, a.listWebhookDeliveries)
	add(a, operation{
		id: "getWebhookDelivery", method: http.MethodGet, path: list + "/{delivery}", tag: tagWebhooks, rule: inTenant(access.WebhooksRead),
		summary: "One delivery, with what came of each try",
	}, a.getWebhookDelivery)
	add(a, operation{
		id: "replayWebhookDelivery", method: http.MethodPost, path: list + "/{delivery}/replay", tag: tagWebhooks, rule: inTenant(access.WebhooksManage), status: http.StatusNoContent,
		summary: "Make a delivery again",
	}, a.replayWebhookDelivery)
	add(a, operation{
		id: "replayWebhookFailures", method: http.MethodPost, path: "/webhooks/{id}/replay", tag: tagWebhooks, rule: inTenant(access.WebhooksManage),
		summary: "Make all deliveries again that were given up",
	}, a.replayWebhookFailures)
}

func deliveryOf(d store.Delivery) WebhookDelivery {
	out := WebhookDelivery{ID: string(d.ID), Event: string(d.Topic), State: string(d.State), Tries: d.Tries, CreatedAt: d.Created}
	if !d.Due.IsZero() {
		out.NextAt = &d.Due
	}
	return out
}

type testWebhookInput struct {
	Idempotency
	WebhookPath
}

func (a *API) testWebhook(ctx context.Context, in *testWebhookInput) (*created[WebhookDelivery], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "testWebhook "+string(who.tenant.ID)+" "+in.ID, nothing{}, func(ctx context.Context) (*created[WebhookDelivery], error) {
		out := &created[WebhookDelivery]{}
		err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			w, err := tx.Webhook(who.tenant.ID, store.WebhookID(in.ID))
			if err != nil {
				return err
			}
			if !w.Enabled {
				return problem(CodeState, "the webhook is disabled")
			}
			d, err := tx.TestWebhook(who.tenant.ID, w.ID, time.Now())
			out.Body = deliveryOf(d)
			return err
		})
		if err != nil {
			return nil, err
		}
		a.cfg.Webhooks.Wake()
		return out, nil
	})
}

type listWebhookDeliveriesInput struct {
	WebhookPath
	Page
	State string `query:"state" enum:"waiting,delivered,failed" doc:"Only what is in it"`
}

func (a *API) listWebhookDeliveries(ctx context.Context, in *listWebhookDeliveriesInput) (*body[WebhookDeliveryList], error) {
	who := mustActor(ctx)
	out := &body[WebhookDeliveryList]{Body: WebhookDeliveryList{Items: []WebhookDelivery{}}}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, next, err := tx.Deliveries(who.tenant.ID, store.WebhookID(in.ID), store.DeliveryState(in.State), store.Page{Cursor: in.Cursor, Limit: in.Limit})
		out.Body.Next = next
		for _, d := range all {
			out.Body.Items = append(out.Body.Items, deliveryOf(d))
		}
		return err
	})
	return out, err
}

// DeliveryPath is the delivery in an address.
type DeliveryPath struct {
	WebhookPath
	Delivery string `path:"delivery" maxLength:"64" doc:"Id of the delivery"`
}

func (a *API) getWebhookDelivery(ctx context.Context, in *DeliveryPath) (*body[WebhookDelivery], error) {
	who := mustActor(ctx)
	out := &body[WebhookDelivery]{}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		d, tries, err := tx.Delivery(who.tenant.ID, store.WebhookID(in.ID), store.DeliveryID(in.Delivery))
		if err != nil {
			return err
		}
		out.Body = deliveryOf(d)
		out.Body.Body = json.RawMessage(d.Body)
		for _, t := range tries {
			out.Body.Log = append(out.Body.Log, WebhookTry{t.At, t.Status, t.Failure, t.Milliseconds})
		}
		return nil
	})
	return out, err
}

func (a *API) replayWebhookDelivery(ctx context.Context, in *DeliveryPath) (*nothing, error) {
	who := mustActor(ctx)
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.ReplayDelivery(who.tenant.ID, store.WebhookID(in.ID), store.DeliveryID(in.Delivery), time.Now())
	})
	a.cfg.Webhooks.Wake()
	return nil, err
}

type replayWebhookInput struct {
	WebhookPath
	Body Replay
}

func (a *API) replayWebhookFailures(ctx context.Context, in *replayWebhookInput) (*body[Replayed], error) {
	who := mustActor(ctx)
	out := &body[Replayed]{}
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		out.Body.Deliveries, err = tx.ReplayFailures(who.tenant.ID, store.WebhookID(in.ID), in.Body.Since, time.Now())
		return err
	})
	a.cfg.Webhooks.Wake()
	return out, err
}
