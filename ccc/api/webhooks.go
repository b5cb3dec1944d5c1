package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/ccc/webhook"
)

// Webhooks signs and delivers; a [*webhook.Service].
type Webhooks interface {
	NewSecret(id store.WebhookID) (secret string, sealed []byte, err error)
	Rotate(w *store.Webhook, now time.Time) (secret string, err error)
	CheckURL(text string) error
	Wake()
}

// Topic is a store.Topic in the document.
type Topic string

// Schema gives the names of all topics that a webhook can ask for.
func (Topic) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, t := range store.Topics() {
		if t != store.TopicTest {
			s.Enum = append(s.Enum, string(t))
		}
	}
	return s
}

// Webhook is where the tenant is told what happens.
type Webhook struct {
	ID        string    `json:"id"`
	URL       string    `json:"url"`
	Events    []Topic   `json:"events" nullable:"false" doc:"Of which it is told"`
	Enabled   bool      `json:"enabled"`
	State     string    `json:"state" enum:"good,failing,paused,gone,disabled" doc:"failing: the last try failed; paused: so many did that it is left alone until paused_until; gone: the receiver answered 410, which disabled it"`
	CreatedAt time.Time `json:"created_at"`
	// What is known of the receiver.
	Failures       int        `json:"failures" doc:"Tries that failed since the last one that did not"`
	FailingSince   *time.Time `json:"failing_since,omitempty"`
	PausedUntil    *time.Time `json:"paused_until,omitempty"`
	OldSecretUntil *time.Time `json:"old_secret_until,omitempty" doc:"Until then deliveries are signed with the secret before, too"`
}

// WebhookList is all webhooks of the tenant, the oldest first.
type WebhookList struct {
	Items []Webhook `json:"items" nullable:"false"`
}

// NewWebhook makes one.
type NewWebhook struct {
	URL     string  `json:"url" minLength:"8" maxLength:"1000" doc:"https, at a public address" example:"https://example.com/hook"`
	Events  []Topic `json:"events" nullable:"false" minItems:"1" maxItems:"64" uniqueItems:"true"`
	Enabled *bool   `json:"enabled,omitempty" nullable:"false" default:"true"`
}

// WebhookChange changes one.
type WebhookChange struct {
	URL     *string `json:"url,omitempty" nullable:"false" minLength:"8" maxLength:"1000" doc:"https, at a public address"`
	Events  []Topic `json:"events,omitempty" nullable:"false" minItems:"1" maxItems:"64" uniqueItems:"true"`
	Enabled *bool   `json:"enabled,omitempty" nullable:"false"`
}

// MadeWebhook is a webhook with a new secret.
type MadeWebhook struct {
	Webhook Webhook `json:"webhook"`
	Secret  string  `json:"secret" doc:"That deliveries are signed with (Standard Webhooks). It is shown this once. Secret"`
}

// WebhookPath is the webhook in an address.
type WebhookPath struct {
	ID string `path:"id" maxLength:"64" doc:"Of the webhook"`
}

// registerWebhooks is the table of the operations about webhooks.
func (a *API) registerWebhooks() {
	add(a, operation{
		id: "listWebhooks", method: http.MethodGet, path: "/webhooks", tag: tagWebhooks, rule: inTenant(access.WebhooksRead),
		summary: "Where the tenant is told what happens",
	}, a.listWebhooks)
	add(a, operation{
		id: "createWebhook", method: http.MethodPost, path: "/webhooks", tag: tagWebhooks, rule: inTenant(access.WebhooksManage), status: http.StatusCreated,
		summary: "Make a webhook", description: "The answer has its secret, which is not shown again.",
		codes: []Code{CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.createWebhook)
	add(a, operation{
		id: "getWebhook", method: http.MethodGet, path: "/webhooks/{id}", tag: tagWebhooks, rule: inTenant(access.WebhooksRead),
		summary: "Get a webhook",
	}, a.getWebhook)
	add(a, operation{
		id: "updateWebhook", method: http.MethodPatch, path: "/webhooks/{id}", tag: tagWebhooks, rule: inTenant(access.WebhooksManage),
		summary: "Change a webhook", description: "What the body leaves out stays. What was held against the receiver is forgotten.",
	}, a.updateWebhook)
	add(a, operation{
		id: "removeWebhook", method: http.MethodDelete, path: "/webhooks/{id}", tag: tagWebhooks, rule: inTenant(access.WebhooksManage), status: http.StatusNoContent,
		summary: "Remove a webhook", description: "What waits for it is not delivered.",
	}, a.removeWebhook)
	add(a, operation{
		id: "rotateWebhookSecret", method: http.MethodPost, path: "/webhooks/{id}/secret", tag: tagWebhooks, rule: inTenant(access.WebhooksManage), status: http.StatusCreated,
		summary: "Give a webhook a new secret", description: "Deliveries are signed with both for a while.",
		codes: []Code{CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.rotateWebhookSecret)
	a.registerDeliveries()
}

func webhookOf(w store.Webhook) Webhook {
	out := Webhook{
		ID: string(w.ID), URL: w.URL, Events: make([]Topic, len(w.Topics)), Enabled: w.Enabled, State: "good", CreatedAt: w.Created,
		Failures: w.Failures, FailingSince: w.FailingSince, PausedUntil: w.PausedUntil,
	}
	for i, t := range w.Topics {
		out.Events[i] = Topic(t)
	}
	if now := time.Now(); w.PreviousUntil != nil && now.Before(*w.PreviousUntil) {
		out.OldSecretUntil = w.PreviousUntil
	}
	switch {
	case w.Gone:
		out.State = "gone"
	case !w.Enabled:
		out.State = "disabled"
	case w.PausedUntil != nil:
		out.State = "paused"
	case w.Failures > 0:
		out.State = "failing"
	}
	return out
}

func topicsOf(all []Topic) []store.Topic {
	out := make([]store.Topic, len(all))
	for i, t := range all {
		out[i] = store.Topic(t)
	}
	slices.Sort(out)
	return out
}

func (a *API) listWebhooks(ctx context.Context, _ *nothing) (*body[WebhookList], error) {
	who := mustActor(ctx)
	out := &body[WebhookList]{Body: WebhookList{Items: []Webhook{}}}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Webhooks(who.tenant.ID)
		for _, w := range all {
			out.Body.Items = append(out.Body.Items, webhookOf(w))
		}
		return err
	})
	return out, err
}

// checkReceiver finds fault with an address.
func (a *API) checkReceiver(url string) error {
	if fault, ok := errors.AsType[*webhook.InvalidURLError](a.cfg.Webhooks.CheckURL(url)); ok {
		return problem(CodeInvalid, "", FieldError{"body.url", FieldInvalid, fault.Problem})
	}
	return nil
}

type createWebhookInput struct {
	Idempotency
	Body NewWebhook
}

func (a *API) createWebhook(ctx context.Context, in *createWebhookInput) (*created[MadeWebhook], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "createWebhook "+string(who.tenant.ID), in.Body, func(ctx context.Context) (*created[MadeWebhook], error) {
		if err := a.checkReceiver(in.Body.URL); err != nil {
			return nil, err
		}
		w := store.Webhook{
			ID: store.NewID[store.WebhookID](), Tenant: who.tenant.ID, URL: in.Body.URL, Topics: topicsOf(in.Body.Events),
			Enabled: in.Body.Enabled == nil || *in.Body.Enabled, Created: time.Now(),
		}
		secret, sealed, err := a.cfg.Webhooks.NewSecret(w.ID)
		if err != nil {
			return nil, err
		}
		w.SecretSealed = sealed
		err = a.cfg.Store.Update(ctx, func(tx *store.Tx) error { return tx.CreateWebhook(w) })
		if errors.Is(err, store.ErrLimit) {
			return nil, problem(CodeInvalid, "", FieldError{"body", FieldTooMany, fmt.Sprintf("there are %d webhooks, and no more can be", store.MaxWebhooks)})
		}
		if err != nil {
			return nil, err
		}
		return &created[MadeWebhook]{Location: Prefix + "/webhooks/" + string(w.ID), Body: MadeWebhook{webhookOf(w), secret}}, nil
	})
}

func (a *API) getWebhook(ctx context.Context, in *WebhookPath) (*body[Webhook], error) {
	who := mustActor(ctx)
	out := &body[Webhook]{}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		w, err := tx.Webhook(who.tenant.ID, store.WebhookID(in.ID))
		out.Body = webhookOf(w)
		return err
	})
	return out, err
}

type updateWebhookInput struct {
	WebhookPath
	Body WebhookChange
}

func (a *API) updateWebhook(ctx context.Context, in *updateWebhookInput) (*body[Webhook], error) {
	who := mustActor(ctx)
	if in.Body.URL != nil {
		if err := a.checkReceiver(*in.Body.URL); err != nil {
			return nil, err
		}
	}
	out := &body[Webhook]{}
	err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		w, err := tx.Webhook(who.tenant.ID, store.WebhookID(in.ID))
		if err != nil {
			return err
		}
		if in.Body.URL != nil {
			w.URL = *in.Body.URL
		}
		if in.Body.Events != nil {
			w.Topics = topicsOf(in.Body.Events)
		}
		if in.Body.Enabled != nil {
			w.Enabled = *in.Body.Enabled
		}
		if err := tx.SetWebhook(who.tenant.ID, w); err != nil {
			return err
		}
		w, err = tx.Webhook(who.tenant.ID, w.ID)
		out.Body = webhookOf(w)
		return err
	})
	a.cfg.Webhooks.Wake()
	return out, err
}

func (a *API) removeWebhook(ctx context.Context, in *WebhookPath) (*nothing, error) {
	who := mustActor(ctx)
	return nil, a.cfg.Store.Update(ctx, func(tx *store.Tx) error { return tx.DeleteWebhook(who.tenant.ID, store.WebhookID(in.ID)) })
}

type rotateWebhookInput struct {
	Idempotency
	WebhookPath
}

func (a *API) rotateWebhookSecret(ctx context.Context, in *rotateWebhookInput) (*created[MadeWebhook], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "rotateWebhookSecret "+string(who.tenant.ID)+" "+in.ID, nothing{}, func(ctx context.Context) (*created[MadeWebhook], error) {
		out := &created[MadeWebhook]{}
		err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			w, err := tx.Webhook(who.tenant.ID, store.WebhookID(in.ID))
			if err != nil {
				return err
			}
			if out.Body.Secret, err = a.cfg.Webhooks.Rotate(&w, time.Now()); err != nil {
				return err
			}
			out.Body.Webhook = webhookOf(w)
			return tx.SetWebhook(who.tenant.ID, w)
		})
		if err != nil {
			return nil, err
		}
		return out, nil
	})
}
