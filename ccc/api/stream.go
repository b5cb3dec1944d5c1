package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// streamEvents opens a stream.
func (a *API) streamEvents(ctx context.Context, _ *nothing) (*huma.StreamResponse, error) {
	who := mustActor(ctx)
	r, ok := a.hub.join(who.tenant.ID, who.user.ID, a.cfg.Streams.PerUser)
	if !ok {
		return nil, problem(CodeRateLimited, "the user has too many open streams").after(a.cfg.Streams.Heartbeat)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer a.hub.leave(r)
		_, w := humago.Unwrap(ctx)
		// What ends a stream is that nobody reads it any more.
		_ = a.stream(ctx.Context(), w, r)
	}}, nil
}

// stream writes events until ctx ends, the session does, the program stops, or the
// client is gone.
func (a *API) stream(ctx context.Context, w http.ResponseWriter, r *reader) error {
	out := &eventWriter{w: w, control: http.NewResponseController(w), timeout: a.cfg.Streams.WriteTimeout}
	if err := out.open(); err != nil {
		return err
	}
	r.add([]notice{{subject: subject{event: eventSummary}}})
	heartbeat := time.NewTicker(a.cfg.Streams.Heartbeat)
	defer heartbeat.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.closing:
			return nil
		case <-heartbeat.C:
			if err := a.cfg.Accounts.Alive(ctx); err != nil {
				return err
			}
			if err := out.comment(); err != nil {
				return err
			}
		case <-r.wake:
			if err := a.flush(ctx, out, r); err != nil {
				return err
			}
			// What comes until then is sent together.
			select {
			case <-time.After(a.cfg.Streams.Coalesce):
			case <-ctx.Done():
			case <-a.closing:
			}
		}
	}
}

// flush sends what waits for the reader.
func (a *API) flush(ctx context.Context, out *eventWriter, r *reader) error {
	all, lost := r.take()
	if lost {
		a.metrics.resets.Inc()
		if err := out.event(eventReset, Reset{}); err != nil {
			return err
		}
		all = append([]notice{{subject: subject{event: eventSummary}}}, all...)
	}
	messages, err := a.messages(ctx, r.tenant, all)
	if err != nil {
		a.log.Warn("live events were left out", "error", err)
		r.lose() // the client asks the API, which says what is the matter
		return nil
	}
	for _, m := range messages {
		if err := out.event(m.event, m.data); err != nil {
			return err
		}
	}
	return out.flush()
}

// message is an event that is complete.
type message struct {
	event string
	data  any
}

// messages completes notices with what is the case now. What is gone meanwhile is left
// out: its removal is an event of its own.
func (a *API) messages(ctx context.Context, tenant store.TenantID, all []notice) (out []message, err error) {
	err = a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		out = nil
		seen := map[store.SystemID]*store.System{}
		for _, n := range all {
			if n.event == eventRemoved {
				out = append(out, message{n.event, Removed{ID: string(n.system)}})
				continue
			}
			if n.event == eventSummary {
				s, err := a.summary(tx, tenant)
				if err != nil {
					return err
				}
				out = append(out, message{n.event, s})
				continue
			}
			s, known := seen[n.system]
			if !known {
				found, err := tx.System(tenant, n.system)
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					return err
				}
				if err == nil {
					s = &found
				}
				seen[n.system] = s
			}
			if s == nil {
				continue
			}
			switch n.event {
			case eventSystem:
				out = append(out, message{n.event, a.system(*s)})
			case eventPresence:
				out = append(out, message{n.event, a.presence(*s)})
			case eventOffer:
				n.step.Detail = cmp.Or(s.ErrorCode, n.step.Detail)
				out = append(out, message{n.event, n.step})
			}
		}
		return nil
	})
	return out, err
}

// eventWriter writes server-sent events (HTML, §9.2).
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
	return e.flush()
}

// event writes one event; flush sends it.
func (e *eventWriter) event(name string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return e.write("event: " + name + "\ndata: " + string(text) + "\n\n")
}

// comment tells both sides that the connection is alive.
func (e *eventWriter) comment() error {
	if err := e.write(": alive\n\n"); err != nil {
		return err
	}
	return e.flush()
}

func (e *eventWriter) write(text string) error {
	if err := e.control.SetWriteDeadline(time.Now().Add(e.timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	_, err := e.w.Write([]byte(text))
	return err
}

func (e *eventWriter) flush() error { return e.control.Flush() }
