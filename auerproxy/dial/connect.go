package dial

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// leg is one transport to a relay.
type leg struct {
	transport tunnel.Transport
	dialer    tunnel.Dialer
}

// legs lists the transports in the order of their start.
func (d *Dialer) legs() []leg {
	tcp, quic := leg{tunnel.TCP, d.cfg.TCP}, leg{tunnel.QUIC, d.cfg.QUIC}
	if tcp.dialer == nil {
		tcp.dialer = d.tcpDialer(nil)
	}
	if quic.dialer == nil {
		quic.dialer = d.quicDialer()
	}
	switch d.cfg.Transport {
	case TransportTCP:
		return []leg{tcp}
	case TransportQUIC:
		return []leg{quic}
	case TransportRace:
		return []leg{quic, tcp}
	default:
		return []leg{tcp, quic}
	}
}

// connect gets a session with a welcome from a relay. Each transport starts after
// its delay, or as soon as the one before it has failed; the first welcome wins.
// It returns when every attempt has ended. The error is a *tunnel.Error.
//
// One session at a time says hello: a second hello with the same instance id would
// take the place of the first. And a relay's own refusal ends the race, since it
// would say the same over the other transport.
func (d *Dialer) connect(ctx context.Context, addr string, instance []byte) (*uplink, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timing.ConnectTimeout)
	defer cancel()
	legs := d.legs()
	r := &race{dialer: d, addr: addr, instance: instance, turn: make(chan struct{}, 1), cancel: cancel}
	var left atomic.Int64 // legs that have not failed
	left.Store(int64(len(legs)))
	var before chan struct{} // closed when the leg before has failed
	var wg sync.WaitGroup
	for i, leg := range legs {
		start, failed := before, make(chan struct{})
		wg.Go(func() {
			if i > 0 {
				wait(ctx, time.Duration(i)*d.cfg.Timing.TransportDelay, start)
			}
			if err := r.try(ctx, leg); err != nil {
				r.lose(err)
				close(failed)
				if left.Add(-1) > 0 {
					// A relay that refuses TCP is down, which over UDP nobody says: the
					// other transport gets a little more time, not all that is left.
					pause(ctx, 3*d.cfg.Timing.TransportDelay)
				}
				cancel()
			}
		})
		before = failed
	}
	wg.Wait()
	if r.winner != nil {
		return r.winner, nil
	}
	return nil, r.err
}

// race is one attempt to get a session.
type race struct {
	dialer   *Dialer
	addr     string
	instance []byte
	turn     chan struct{}      // held by the session that says hello, and kept by the winner
	cancel   context.CancelFunc // ends the other legs

	mu     sync.Mutex // guards what follows
	winner *uplink
	err    error
}

func (r *race) try(ctx context.Context, l leg) error {
	s, err := l.dialer.Dial(ctx, r.addr)
	if err != nil {
		return numbered(ctx, r.addr, l.transport, err)
	}
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		_ = s.CloseWithError(tunnel.CodeCancelled, "another transport was faster")
		return numbered(ctx, r.addr, l.transport, ctx.Err())
	}
	control, welcome, err := tunnel.Connect(ctx, s, r.dialer.hello(r.instance))
	if err != nil {
		if fromRelay(err) {
			r.cancel()
		}
		<-r.turn
		return numbered(ctx, r.addr, l.transport, err)
	}
	r.mu.Lock()
	r.winner = newUplink(r.dialer, s, control, welcome)
	r.mu.Unlock()
	r.cancel()
	return nil
}

// lose keeps the most telling error: what the relay said before what this side
// found, and that before "no answer".
func (r *race) lose(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rank := func(err error) int {
		switch {
		case err == nil:
			return 0
		case tunnel.CodeOf(err) == tunnel.CodeUnreachable:
			return 1
		case !fromRelay(err):
			return 2
		default:
			return 3
		}
	}
	if rank(err) > rank(r.err) {
		r.err = err
	}
}

// fromRelay reports whether the relay itself said err.
func fromRelay(err error) bool {
	e, ok := errors.AsType[*tunnel.Error](err)
	return ok && e.Remote
}

// numbered gives a failed attempt its number: whatever has none, or ran out of
// time, is a relay that does not answer.
func numbered(ctx context.Context, addr string, t tunnel.Transport, err error) error {
	err = tunnel.FromTLS(err)
	switch c := tunnel.CodeOf(err); {
	case fromRelay(err):
		return err
	case errors.Is(err, context.Canceled):
		return tunnel.Errorf(tunnel.CodeUnreachable, "relay %s over %s: given up: %w", addr, t, err)
	case ctx.Err() != nil && c != tunnel.CodeHandshakeTimeout, c == tunnel.CodeInternal, c == tunnel.CodeOpenTimeout:
		return tunnel.Errorf(tunnel.CodeUnreachable, "relay %s over %s: %w", addr, t, err)
	default:
		return err
	}
}

// wait waits for d, the failure of the leg before, or the end of ctx.
func wait(ctx context.Context, d time.Duration, failed <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-failed:
	case <-ctx.Done():
	}
}
