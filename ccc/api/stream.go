package api

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
)

// streamEvents opens a stream.
func (a *API) streamEvents(ctx context.Context, _ *nothing) (*huma.StreamResponse, error) {
	who := mustActor(ctx)
	r, ok := a.hub.join(who.tenant.ID, who.user.ID, a.cfg.Streams.PerUser)
	if !ok {
		return nil, problem(CodeRateLimited, "the user has too many open streams").after(a.cfg.Streams.Heartbeat)
	}
	// Now that it would be told of a change, so that none is missed.
	if err := a.rehear(ctx, r, who); err != nil {
		a.hub.leave(r)
		if errors.Is(err, errNoRight) {
			err = problem(CodeForbidden, "")
		}
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer a.hub.leave(r)
		_, w := humago.Unwrap(ctx)
		// What ends a stream is that nobody reads it any more.
		_ = a.stream(ctx.Context(), w, r, who)
	}}, nil
}

// stream writes events until ctx ends, the session or the right does, the program stops,
// or the client is gone.
func (a *API) stream(ctx context.Context, w http.ResponseWriter, r *reader, who actor) error {
	out := &eventWriter{w: w, control: http.NewResponseController(w), timeout: a.cfg.Streams.WriteTimeout}
	if err := out.open(); err != nil {
		return err
	}
	if err := a.begin(ctx, out, r); err != nil {
		return err
	}
	heartbeat := time.NewTicker(a.cfg.Streams.Heartbeat)
	defer heartbeat.Stop()
	var reset <-chan time.Time // when the reader is to be told to load everything anew
	var last time.Time         // when it was
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.closing:
			return nil
		case <-heartbeat.C:
			// A store that does not answer ends no stream: it has nothing to tell either.
			if err := a.cfg.Accounts.Alive(ctx); errors.Is(err, account.ErrNoSession) {
				return err
			}
			if err := a.rehear(ctx, r, who); errors.Is(err, errNoRight) {
				return err
			}
			err = out.send([]byte(": alive\n\n"))
		case <-r.rights:
			err = a.rehear(ctx, r, who)
		case <-r.wake:
			select {
			case <-r.rights: // comes first
				err = a.rehear(ctx, r, who)
			default:
			}
			if err != nil {
				return err
			}
			all, lost := r.take()
			a.narrow(r, all)
			if lost && reset == nil {
				reset = time.After(a.resetDelay(last))
			}
			if texts := r.texts(all); len(texts) > 0 {
				err = out.send(texts...)
			}
		case <-reset:
			reset, last = nil, time.Now()
			err = a.begin(ctx, out, r, resetText)
		}
		if err != nil {
			return err
		}
	}
}

// resetDelay is the wait before a reader is told to load everything anew: not so soon
// after the last time, and not all readers at once.
func (a *API) resetDelay(last time.Time) time.Duration {
	s := a.cfg.Streams
	spread := rand.N(s.ResetSpread)
	if last.IsZero() {
		return spread
	}
	return max(0, time.Until(last.Add(s.ResetEvery))) + spread
}

// resetText is the event reset.
var resetText = []byte("event: " + eventReset + "\ndata: {}\n\n")

// begin sends a summary, after what comes before it. The reader hears all that comes
// then. Where the store does not answer, the client could load nothing, and is told later.
func (a *API) begin(ctx context.Context, out *eventWriter, r *reader, before ...[]byte) error {
	r.restart()
	sum, err := a.summaryOf(ctx, r)
	if err != nil {
		a.log.Warn("a reader of live events waits for the store", "error", err)
		r.lose()
		return nil
	}
	if r.summary, err = encodeEvent(eventSummary, sum); err != nil {
		return err
	}
	if len(before) > 0 {
		a.metrics.resets.Inc()
	}
	return out.send(append(before, r.summary)...)
}

// texts gives what is to be sent of messages: a summary only where it is another one.
func (r *reader) texts(all []message) (out [][]byte) {
	for _, m := range all {
		if m.event == eventSummary {
			if bytes.Equal(m.v, r.summary) {
				continue
			}
			r.summary = m.v
		}
		out = append(out, m.v)
	}
	return out
}

// eventWriter writes a stream of server-sent events.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
}

// open sends the headers.
func (e *eventWriter) open() error {
	h := e.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // for proxies that would collect the answer
	// The request's own bound would end the stream; a test's writer has no deadlines.
	if err := e.control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	e.w.WriteHeader(http.StatusOK)
	return e.send()
}

// send writes events, each in its time. Between them nothing is bounded: with HTTP/2 a
// deadline ends the stream that passes while nothing is written.
func (e *eventWriter) send(events ...[]byte) error {
	for _, text := range events {
		if err := e.bound(time.Now().Add(e.timeout)); err != nil {
			return err
		}
		if _, err := e.w.Write(text); err != nil {
			return err
		}
	}
	if err := e.bound(time.Now().Add(e.timeout)); err != nil {
		return err
	}
	return errors.Join(e.control.Flush(), e.bound(time.Time{}))
}

func (e *eventWriter) bound(t time.Time) error {
	err := e.control.SetWriteDeadline(t)
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}
