package store

import (
	"bytes"
	"errors"
	"time"
)

// takeOver is when a request that has begun and not ended is taken for one whose
// process has ended.
const takeOver = 5 * time.Minute

// BeginIdempotent begins a request of a user that has a key. It gives the response where
// the request has been answered already. ErrConflict "request" where the key was used for
// another one, "running" where it has begun less than 5 minutes ago and not
// ended; ErrNotFound without the user. Request is a hash of what was asked.
func (t *Tx) BeginIdempotent(user UserID, key string, request []byte, now time.Time) (done *Response, err error) {
	type record struct {
		request []byte
		created moment
		Response
	}
	was, err := row(t, func(s scanner) (v record, err error) {
		err = s.Scan(&v.request, &v.created, &v.Status, blob{&v.Body})
		return v, err
	}, "SELECT request, created, status, body FROM idempotency WHERE user_id = $1 AND idem_key = $2", user, key)
	switch {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return nil, err
	case !bytes.Equal(was.request, request):
		return nil, &ConflictError{What: "request"}
	case was.Status != 0:
		return &was.Response, nil
	case now.Sub(was.created.Time) < takeOver:
		return nil, &ConflictError{What: "running"}
	}
	_, err = t.exec(`INSERT INTO idempotency (user_id, idem_key, request, status, body, created) VALUES ($1, $2, $3, 0, $4, $5)
		ON CONFLICT (user_id, idem_key) DO UPDATE SET created = excluded.created`, user, key, request, []byte{}, now)
	return nil, err
}

// FinishIdempotent notes the response. A body with a token in it comes in sealed.
func (t *Tx) FinishIdempotent(user UserID, key string, status int, body []byte) error {
	if status == 0 {
		return &InvalidError{Field: "status", Problem: "is missing"}
	}
	return t.change("UPDATE idempotency SET status = $3, body = $4 WHERE user_id = $1 AND idem_key = $2", user, key, status, body)
}

// AbandonIdempotent forgets a request that has failed and may be made again; none is
// no error.
func (t *Tx) AbandonIdempotent(user UserID, key string) error {
	_, err := t.exec("DELETE FROM idempotency WHERE user_id = $1 AND idem_key = $2 AND status = 0", user, key)
	return err
}

// SweepIdempotent removes the keys from before a time, and tells how many.
func (t *Tx) SweepIdempotent(before time.Time) (int, error) {
	n, err := t.sweep("DELETE FROM idempotency WHERE created < $1", before)
	t.erased = t.erased || n > 0
	return n, err
}
