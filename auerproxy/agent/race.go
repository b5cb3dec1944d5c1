package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// leg is one way to connect.
type leg struct {
	transport tunnel.Transport
	dialer    tunnel.Dialer
	// delay is the head start of the leg before.
	delay time.Duration
}

// dialled is the outcome of one leg.
type dialled struct {
	transport tunnel.Transport
	session   tunnel.Session
	err       error
}

// race dials addr by all legs, each after its delay or as soon as one before it
// has failed, and gives the first session that greet takes.
//
// A handshake proves nothing (a QUIC client's succeeds with a certificate that
// the server refuses), so the other legs go on until greet has got a welcome.
// Only one session at a time is greeted, since a second hello would take the slot
// away from the first. A refusal by the relay ends the race. QUIC wins ties.
//
// race returns when every leg has ended and the losers are closed.
func race(ctx context.Context, addr string, timeout time.Duration, legs []leg, greet func(context.Context, tunnel.Session) error) (tunnel.Session, error) {
	dialCtx, cancel := context.WithTimeout(ctx, timeout)
	results := make(chan dialled, len(legs))
	hurry := make(chan struct{}, len(legs)) // one leg has failed: the next starts now
	for _, l := range legs {
		go func() {
			pause(dialCtx, l.delay, hurry)
			r := dialled{transport: l.transport, err: dialCtx.Err()}
			if r.err == nil {
				r.session, r.err = l.dialer.Dial(dialCtx, addr)
			}
			results <- r
		}()
	}
	pending := len(legs)
	var parked []dialled // have ended, are not looked at yet
	defer func() {
		cancel()
		for ; pending > 0; pending-- {
			parked = append(parked, <-results)
		}
		for _, r := range parked {
			if r.session != nil {
				_ = r.session.CloseWithError(tunnel.CodeCancelled, "another transport was faster")
			}
		}
	}()

	var told error
	for pending > 0 || len(parked) > 0 {
		if len(parked) == 0 {
			parked = append(parked, <-results)
			pending--
		}
		for more := true; more && pending > 0; {
			select {
			case r := <-results:
				parked = append(parked, r)
				pending--
			default:
				more = false
			}
		}
		i := max(slices.IndexFunc(parked, func(r dialled) bool { return r.transport == tunnel.QUIC }), 0)
		r := parked[i]
		parked = slices.Delete(parked, i, i+1)

		err := r.err
		if err == nil {
			err = greet(ctx, r.session)
		}
		if err == nil {
			return r.session, nil
		}
		err = dialError(ctx, dialCtx, addr, r.transport, err)
		told = moreTelling(told, err)
		if e, ok := errors.AsType[*tunnel.Error](err); ok && e.Remote {
			return nil, err
		}
		hurry <- struct{}{}
	}
	return nil, told
}

// dialError gives a failed dial or handshake its number.
func dialError(ctx, dialCtx context.Context, addr string, t tunnel.Transport, err error) error {
	switch {
	case ctx.Err() != nil:
		return tunnel.Errorf(tunnel.CodeCancelled, "%s by %s: %w", addr, t, ctx.Err())
	case tunnel.CodeOf(err) != tunnel.CodeInternal && tunnel.CodeOf(err) != tunnel.CodeOpenTimeout:
		return err
	case dialCtx.Err() != nil:
		return tunnel.Errorf(tunnel.CodeUnreachable, "%s by %s: no answer: %w", addr, t, dialCtx.Err())
	default:
		return tunnel.Errorf(tunnel.CodeUnreachable, "%s by %s: %w", addr, t, err)
	}
}

// pause waits for d, for a message on hurry, or for the end of ctx.
func pause(ctx context.Context, d time.Duration, hurry <-chan struct{}) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-hurry:
	case <-ctx.Done():
	}
}
