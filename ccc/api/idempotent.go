package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// sealPurpose is what answers that are kept for repeats are sealed for; their id is
// the user and the key.
const sealPurpose = "api idempotent answer"

// kept is an answer as it is kept for a repeat.
type kept[T any] struct {
	Location string `json:"location,omitempty"`
	Body     T      `json:"body"`
}

// once runs an operation that makes something, or gives the answer of a former run with
// the same key. what and request are what has to be the same. Answers are kept sealed,
// since some have a token, and for Limits.Idempotency. One that has begun is
// finished even if the client goes away, so that a repeat finds the answer.
func once[I, T any](ctx context.Context, a *API, key, what string, request I, run func(context.Context) (*created[T], error)) (*created[T], error) {
	if key == "" {
		return run(ctx)
	}
	who := mustActor(ctx)
	user := who.user.ID
	if who.tenant.ID != who.user.Tenant {
		what += " in " + string(who.tenant.ID)
	}
	hash, err := a.requestHash(user, key, what, request)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.Limits.AnswerTimeout)
	defer cancel()
	var done *store.Response
	err = a.cfg.Store.Update(store.Aside(ctx), func(tx *store.Tx) (err error) {
		done, err = tx.BeginIdempotent(user, key, hash, time.Now())
		return err
	})
	switch conflict, _ := errors.AsType[*store.ConflictError](err); {
	case conflict != nil && conflict.What == "request":
		return nil, problem(CodeIdempotencyMismatch, "")
	case conflict != nil:
		return nil, problem(CodeIdempotencyBusy, "").after(time.Second)
	case err != nil:
		return nil, err
	case done != nil:
		if act := store.ActOf(ctx); act != nil {
			act.Settled() // when it was done
		}
		return replay[T](a, user, key, done.Body)
	}
	out, err := run(ctx)
	if err == nil {
		err = finish(ctx, a, user, key, out)
		if err != nil {
			// It is done, so that is what the client is told.
			a.log.Error("an answer is not kept for repeats", "operation", what, "error", err)
		}
		return out, nil
	}
	// Whatever was wrong may be better the next time.
	if lost := a.cfg.Store.Update(store.Aside(ctx), func(tx *store.Tx) error { return tx.AbandonIdempotent(user, key) }); lost != nil {
		a.log.Warn("an idempotency key stays taken for some minutes", "operation", what, "error", lost)
	}
	return nil, err
}

// requestHash is keyed, since some requests have a password in them. After a change of the
// seal keys a repeat of what came before it is refused.
func (a *API) requestHash(user store.UserID, key, what string, request any) ([]byte, error) {
	text, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	return a.cfg.Keys.MAC("api idempotent request", sealID(user, key), append([]byte(what+"\n"), text...)), nil
}

// sealID names what is sealed. A key has no spaces.
func sealID(user store.UserID, key string) string { return string(user) + " " + key }

func finish[T any](ctx context.Context, a *API, user store.UserID, key string, out *created[T]) error {
	text, err := json.Marshal(kept[T]{out.Location, out.Body})
	if err != nil {
		return err
	}
	sealed, err := a.cfg.Keys.Seal(sealPurpose, sealID(user, key), text)
	if err != nil {
		return err
	}
	return a.cfg.Store.Update(store.Aside(ctx), func(tx *store.Tx) error {
		return tx.FinishIdempotent(user, key, http.StatusCreated, sealed)
	})
}

func replay[T any](a *API, user store.UserID, key string, sealed []byte) (*created[T], error) {
	text, err := a.cfg.Keys.Open(sealPurpose, sealID(user, key), sealed)
	if err != nil {
		return nil, fmt.Errorf("kept answer: %w", err)
	}
	var was kept[T]
	if err := json.Unmarshal(text, &was); err != nil {
		return nil, fmt.Errorf("kept answer: %w", err)
	}
	return &created[T]{Location: was.Location, Replayed: "true", Body: was.Body}, nil
}
