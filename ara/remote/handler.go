package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"mime"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// Sessions is the PBX behind a [Handler]. Its errors are those of this package. The
// methods are called from several goroutines.
type Sessions interface {
	// Watch gives the status at once, after every change and at least each [Heartbeat],
	// until ctx ends or after one that is final.
	Watch(ctx context.Context, id grant.SessionID) (iter.Seq[Status], error)
	// PIN consents to a pending session where the PIN is right.
	PIN(ctx context.Context, id grant.SessionID, pin string) error
	// End ends the session, whatever its state; one that is over already is no error.
	End(ctx context.Context, id grant.SessionID) error
	// Extend asks the administrator for more time for an active session.
	Extend(ctx context.Context, id grant.SessionID, minutes int) error
	// Targets lists what can be reached in an active session.
	Targets(ctx context.Context, id grant.SessionID) ([]Target, error)
}

// Handler is the PBX's service [ServiceName]. session gives the session that the call of
// a request is for, by its purpose; without one, every request is refused.
func Handler(s Sessions, session func(*http.Request) (grant.SessionID, bool)) http.Handler {
	mux := http.NewServeMux()
	recorder, _ := s.(Recorder) // nil: nothing is recorded
	with := func(f func(http.ResponseWriter, *http.Request, grant.SessionID) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			id, ok := session(r)
			err := ErrUnknown
			if ok {
				err = f(w, r, id)
			}
			if err != nil {
				writeProblem(w, err)
			}
		}
	}
	mux.HandleFunc("GET "+PathSession, with(func(w http.ResponseWriter, r *http.Request, id grant.SessionID) error {
		all, err := s.Watch(r.Context(), id)
		if err == nil {
			stream(w, all)
		}
		return err
	}))
	mux.HandleFunc("POST "+PathPIN, with(take(func(ctx context.Context, id grant.SessionID, b PINBody) error {
		return s.PIN(ctx, id, b.PIN)
	})))
	mux.HandleFunc("POST "+PathEnd, with(take(func(ctx context.Context, id grant.SessionID, _ empty) error {
		return s.End(ctx, id)
	})))
	mux.HandleFunc("POST "+PathExtend, with(take(func(ctx context.Context, id grant.SessionID, b ExtendBody) error {
		return s.Extend(ctx, id, b.Minutes)
	})))
	mux.HandleFunc("GET "+PathTargets, with(func(w http.ResponseWriter, r *http.Request, id grant.SessionID) error {
		all, err := s.Targets(r.Context(), id)
		if err != nil {
			return err
		}
		reply := Targets{Targets: all}
		if recorder != nil {
			if reply.Recording, err = recorder.Recipient(r.Context(), id); err != nil {
				return err
			}
		}
		text, err := json.Marshal(reply)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", mediaJSON)
		_, _ = w.Write(text) // the client has gone
		return nil
	}))
	if recorder != nil {
		mux.HandleFunc("POST "+PathRecording, with(record(recorder)))
	}
	return mux
}

// take reads a body and answers with 204.
func take[T message](f func(context.Context, grant.SessionID, T) error) func(http.ResponseWriter, *http.Request, grant.SessionID) error {
	return func(w http.ResponseWriter, r *http.Request, id grant.SessionID) error {
		if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != mediaJSON {
			return fmt.Errorf("%w: Content-Type: is not %s", ErrMalformed, mediaJSON)
		}
		text, err := readAll(r.Body)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		m, err := parse[T](text)
		if err != nil {
			return err
		}
		if err := f(r.Context(), id, m); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

// stream writes until the statuses end or the client does not take them.
func stream(w http.ResponseWriter, all iter.Seq[Status]) {
	w.Header().Set("Content-Type", mediaLines)
	rc := http.NewResponseController(w)
	for s := range all {
		text, err := line(s)
		if err != nil {
			return
		}
		_ = rc.SetWriteDeadline(time.Now().Add(Heartbeat)) // not with every writer
		if _, err := w.Write(text); err != nil {
			return
		}
		if rc.Flush() != nil {
			return
		}
	}
}
