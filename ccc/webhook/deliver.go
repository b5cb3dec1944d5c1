package webhook

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

// What keeps a delivery from being received. There are no other words than these, and none
// tells what names, addresses and servers there are where the control centre runs.
const (
	FailureStatus      = "status"      // the answer is not 2xx
	FailureTimeout     = "timeout"     // there was none in time
	FailureName        = "name"        // the name is not known, or leads to no public address
	FailureNotPublic   = "not_public"  // the address itself is none that may be reached any more
	FailureCertificate = "certificate" // it is not good for the name
	FailureConnection  = "connection"  // there was none, or it broke
	FailureSecret      = "secret"      // the secret does not open: the key is missing
)

// Failures gives all.
func Failures() []string {
	return []string{FailureStatus, FailureTimeout, FailureName, FailureNotPublic, FailureCertificate, FailureConnection, FailureSecret}
}

// maxAnswer is how much of an answer is read, so that the connection can be used again.
const maxAnswer = 1 << 10

// deliver makes one try, and notes what came of it.
func (s *Service) deliver(ctx context.Context, w store.Webhook, d store.Delivery) {
	start := time.Now()
	try := store.Try{At: start}
	try.Status, try.Failure = s.send(ctx, w, d, start)
	if try.Failure != FailureName { // how long it takes would tell which names are known
		try.Milliseconds = time.Since(start).Milliseconds()
	}
	if ctx.Err() != nil && try.Failure != "" {
		return // another process, or the next one, takes it
	}
	if err := s.note(context.WithoutCancel(ctx), w.ID, d, try); err != nil {
		s.log.Error("it was not noted what came of a delivery, which is made again", "webhook", w.ID, "error", err)
	}
}

// send makes the request. The failure is empty where the delivery was received.
func (s *Service) send(ctx context.Context, w store.Webhook, d store.Delivery, now time.Time) (status int, failure string) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	signature, err := s.signatures(w, d, now)
	if err != nil {
		s.log.Error("the secret of a webhook does not open", "webhook", w.ID, "error", err)
		return 0, FailureSecret
	}
	if err := s.CheckURL(w.URL); err != nil {
		return 0, FailureNotPublic // the configuration has changed
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, strings.NewReader(d.Body))
	if err != nil {
		return 0, FailureConnection
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "COMtrexx-CCC/"+configs.Version())
	r.Header.Set("Webhook-Id", string(d.ID))
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	r.Header.Set("Webhook-Signature", signature)
	resp, err := s.http.Do(r)
	if err != nil {
		return 0, failureOf(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // the status is what counts
	if resp.StatusCode/100 != 2 {
		return resp.StatusCode, FailureStatus
	}
	return resp.StatusCode, ""
}

// note notes a try, what is next for the delivery, and how the receiver is.
func (s *Service) note(ctx context.Context, id store.WebhookID, d store.Delivery, try store.Try) error {
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		w, err := tx.WebhookByID(id)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		d := d
		switch next := s.next(d, try); {
		case try.Failure == "":
			d.State, d.Due = store.DeliveryDone, time.Time{}
		case next.IsZero() || try.Status == http.StatusGone:
			d.State, d.Due = store.DeliveryFailed, time.Time{}
		default:
			d.Due = next
		}
		s.judge(&w, try)
		if err := tx.SetWebhookHealth(w); err != nil {
			return err
		}
		return tx.EndTry(d, try)
	})
}

// next gives when the next try is; the zero time: never.
func (s *Service) next(d store.Delivery, try store.Try) time.Time {
	most := s.cfg.RetryMost
	if shift := d.Tries; shift < 20 && s.cfg.RetryFirst<<shift < most {
		most = s.cfg.RetryFirst << shift
	}
	end := d.Begun.Add(s.cfg.RetryFor)
	if !try.At.Before(end) {
		return time.Time{}
	}
	at := try.At.Add(time.Second + rand.N(most))
	if at.After(end) {
		at = end // once more at the end
	}
	return at
}

// judge says how a receiver is after a try.
func (s *Service) judge(w *store.Webhook, try store.Try) {
	if try.Failure == "" {
		w.Failures, w.FailingSince, w.PausedUntil = 0, nil, nil
		return
	}
	if try.Status == http.StatusGone {
		w.Enabled, w.Gone = false, true
		s.log.Warn("a receiver of a webhook wants nothing any more, which disabled it", "tenant", w.Tenant, "webhook", w.ID)
	}
	if w.Failures++; w.FailingSince == nil {
		w.FailingSince = &try.At
	}
	if w.Failures >= s.cfg.BreakAfter {
		w.PausedUntil = new(try.At.Add(s.cfg.BreakFor))
		if w.Failures == s.cfg.BreakAfter {
			s.log.Warn("a receiver of a webhook fails, and is left alone for a while", "tenant", w.Tenant, "webhook", w.ID, "failures", w.Failures, "failure", try.Failure)
		}
	}
}
