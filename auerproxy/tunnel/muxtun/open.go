package muxtun

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// Open implements tunnel.Session.
func (s *session) Open(ctx context.Context) (tunnel.Stream, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case s.opening <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-s.done:
		return nil, s.Err()
	}
	st, err := s.openSoon(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.checkZombies(); err != nil {
		return nil, err
	}
	return st, nil
}

// openLinger is how long the goroutine that opens streams waits for the next one.
const openLinger = 100 * time.Millisecond

// openRequest is one stream to be opened, for somebody who waits until ctx ends.
type openRequest struct {
	ctx    context.Context //nolint:containedctx // of the one who waits
	answer chan openAnswer
}

type openAnswer struct {
	st  *stream
	err error
}

// openSoon opens a stream, and lets the next one be opened. yamux waits for the
// connection, and for the peer where many streams wait to be accepted, without a
// context: a goroutine waits with it, and stays for the opens that follow.
func (s *session) openSoon(ctx context.Context) (*stream, error) {
	r := openRequest{ctx: ctx, answer: make(chan openAnswer)}
	select {
	case s.requests <- r:
	default:
		if !s.start(func() { s.serveOpens(r) }) {
			<-s.opening
			<-s.done
			return nil, s.Err()
		}
	}
	select {
	case a := <-r.answer:
		if a.err != nil {
			return nil, s.fromMux(a.err)
		}
		return a.st, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// serveOpens opens a stream, and those that follow it soon.
func (s *session) serveOpens(r openRequest) {
	linger := time.NewTimer(openLinger)
	defer linger.Stop()
	for {
		st, err := s.openNow()
		select {
		case r.answer <- openAnswer{st, err}:
		case <-r.ctx.Done():
			if st != nil {
				st.Reset(tunnel.CodeCancelled)
			}
		}
		<-s.opening
		linger.Reset(openLinger)
		select {
		case r = <-s.requests:
		case <-linger.C:
			return
		case <-s.done:
			return
		}
	}
}

func (s *session) openNow() (*stream, error) {
	ys, err := s.mux.OpenStream()
	if err != nil {
		return nil, err
	}
	return s.register(ys, false), nil
}

// Accept implements tunnel.Session.
func (s *session) Accept(ctx context.Context) (tunnel.Stream, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case s.accepting <- struct{}{}:
		defer func() { <-s.accepting }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-s.done:
		return nil, s.Err()
	}
	for {
		ys, err := s.mux.AcceptStreamWithContext(ctx)
		if err != nil {
			if ctx.Err() != nil && !s.mux.IsClosed() {
				return nil, context.Cause(ctx)
			}
			return nil, s.fromMux(err)
		}
		st := s.register(ys, true)
		if err := s.checkZombies(); err != nil {
			return nil, err
		}
		if st != nil {
			return st, nil
		}
	}
}

// register takes a new stream up. A stream of the peer beyond its limit is reset,
// and the result is nil.
func (s *session) register(ys *yamux.Stream, incoming bool) *stream {
	st := &stream{mux: ys, session: s, incoming: incoming}
	s.mu.Lock()
	s.streams[ys.StreamID()] = st
	s.newest[s.whose(ys.StreamID())] = ys.StreamID()
	within := true
	if incoming {
		s.taken++
		s.incoming++
		within = s.incoming <= s.maxIn
	}
	sig, early := s.early[ys.StreamID()]
	delete(s.early, ys.StreamID())
	s.mu.Unlock()
	if !within {
		st.Reset(tunnel.CodeTooManyStreams)
		return nil
	}
	if early {
		st.signalled(sig)
	}
	return st
}

// forget drops a stream that is closed here.
func (s *session) forget(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.streams[st.mux.StreamID()]; known {
		delete(s.streams, st.mux.StreamID())
		if st.incoming {
			s.incoming--
		}
	}
}

// checkZombies ends the session when the peer leaves too many streams open that
// are closed here.
func (s *session) checkZombies() error {
	held := s.mux.NumStreams()
	s.mu.Lock()
	zombies := held - len(s.streams)
	s.mu.Unlock()
	if zombies <= 2*s.maxIn+zombieSlack {
		return nil
	}
	s.end(&tunnel.Error{Code: tunnel.CodeProtocol, Message: "the peer does not end its streams"})
	<-s.done
	return s.Err()
}

// maxEarly is for how many streams that are not registered yet there may be signals:
// those that wait for Accept, one on its way from there, and one that this side is
// opening.
const maxEarly = acceptBacklog + 2

// signalled passes a signal to its stream. An error ends the session.
func (s *session) signalled(sig signal) error {
	s.mu.Lock()
	st := s.streams[sig.id]
	// A stream that was registered and is unknown now has been closed here.
	if st == nil && sig.id > s.newest[s.whose(sig.id)] {
		// The stream was opened before the signal was sent, so it is on its way from
		// yamux to register.
		if _, known := s.early[sig.id]; !known && len(s.early) >= maxEarly {
			s.mu.Unlock()
			return &tunnel.Error{Code: tunnel.CodeProtocol, Message: "signals for streams that do not exist"}
		}
		if s.early == nil {
			s.early = make(map[uint32]signal)
		}
		if s.early[sig.id].kind != signalReset {
			s.early[sig.id] = sig
		}
	}
	s.mu.Unlock()
	if st != nil {
		st.signalled(sig)
	}
	return nil
}

// Index of session.newest.
const (
	own = iota
	peers
)

// whose says which side opens streams with such an id: clients use odd ones,
// servers even ones.
func (s *session) whose(id uint32) int {
	if (id%2 == 0) == s.client {
		return peers
	}
	return own
}

// fromMux gives an error of yamux about the session its number.
func (s *session) fromMux(err error) error {
	if errors.Is(err, yamux.ErrRemoteGoAway) || errors.Is(err, yamux.ErrStreamsExhausted) {
		return &tunnel.Error{Code: tunnel.CodeDraining, Message: err.Error(), Cause: err}
	}
	if !s.mux.IsClosed() {
		// The connection has failed under yamux, which is about to end.
		s.end(s.lost(err))
	}
	<-s.done
	return s.Err()
}
