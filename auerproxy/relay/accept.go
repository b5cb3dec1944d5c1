package relay

import (
	"context"
	"sync"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/stack"
)

// acceptStreams starts to serve the streams that the peer opens, in goroutines of
// work, until the session ends. After that noMore must be called, and before
// work.Wait.
func (s *session) acceptStreams(ctx context.Context, work *sync.WaitGroup) (noMore func()) {
	a, ok := s.ts.(tunnel.Announcer)
	if !ok {
		work.Go(func() {
			for s.acceptStream(ctx) {
			}
		})
		return func() {}
	}
	d := &acceptOnDemand{session: s, streams: a, ctx: ctx, work: work}
	a.Announce(d.wake)
	return d.noMore
}

// acceptStream serves the next stream; false at the end.
func (s *session) acceptStream(ctx context.Context) bool {
	st, err := s.ts.Accept(ctx)
	if err != nil {
		return false
	}
	if s.fromPeer.Add(1) > int64(s.relay.streamsFrom(s.peer)) {
		// Reset without reading: a peer beyond its limit costs as little as possible.
		s.fromPeer.Add(-1)
		s.relay.metrics.drops.WithLabelValues("streams_from_peer").Inc()
		st.Reset(tunnel.CodeTooManyStreams)
		return true
	}
	s.relay.work.Go(func() {
		stack.Grow()
		s.serveStream(ctx, st)
	})
	// Pacing the accepts leaves a flood waiting at its sender.
	return s.opens.Wait(ctx) == nil
}

// acceptOnDemand accepts streams in a goroutine that runs while there are any.
type acceptOnDemand struct {
	session *session
	streams tunnel.Announcer
	ctx     context.Context //nolint:containedctx // the relay's life
	work    *sync.WaitGroup

	mu   sync.Mutex
	busy bool // guarded by mu; the goroutine runs
	over bool // guarded by mu; it is not started any more
}

// wake is called when the peer opens a stream.
func (d *acceptOnDemand) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.busy && !d.over {
		d.busy = true
		d.work.Go(d.run)
	}
}

func (d *acceptOnDemand) run() {
	for !d.rest() {
		if !d.session.acceptStream(d.ctx) {
			d.noMore()
		}
	}
}

// rest reports whether there is nothing to do for now. What is opened after that
// is told to wake.
func (d *acceptOnDemand) rest() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.over && d.streams.Unaccepted() > 0 {
		return false
	}
	d.busy = false
	return true
}

func (d *acceptOnDemand) noMore() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
}
