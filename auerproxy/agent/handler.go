package agent

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// duplex is a call's connection: a tunnel.Stream or an e2e.Flow.
type duplex interface {
	net.Conn
	CloseWrite() error
	Reset(code tunnel.Code)
}

// handler takes the calls of one service, in one of three ways: listener,
// forwarder or httpForwarder. take answers the call, and has over called once when it
// is over, perhaps after it has returned; not where it gives an error.
type handler interface {
	take(ctx context.Context, call Call, ans answer, over func()) error
	// run does what the handler needs beside its calls, until ctx ends.
	run(ctx context.Context)
}

// service is one service at run time.
type service struct {
	cfg     Service
	handler handler
	protos  []string      // ALPN of single flows
	slots   chan struct{} // one element per running call

	active, total, refused atomic.Int64
}

func newService(a *Agent, cfg Service) (*service, error) {
	s := &service{cfg: cfg, slots: make(chan struct{}, cfg.Streams)}
	if cfg.Target == "" {
		s.handler = newListener(a, cfg)
		return s, nil
	}
	f, err := newForwarder(a, cfg)
	if err != nil {
		return nil, err
	}
	s.handler = f
	if cfg.Identity == IdentityHeader {
		s.handler = newHTTPForwarder(a, f)
		s.protos = []string{"http/1.1"}
	}
	return s, nil
}

func (s *service) run(ctx context.Context) { s.handler.run(ctx) }

// take answers one call that is allowed, and has over called once when it is over.
func (s *service) take(ctx context.Context, call Call, ans answer, over func()) {
	select {
	case s.slots <- struct{}{}:
	default:
		s.refused.Add(1)
		ans.refuse(tunnel.Errorf(tunnel.CodeTooManyStreams, "%s has %d calls", s.cfg.Name, s.cfg.Streams))
		over()
		return
	}
	s.active.Add(1)
	s.total.Add(1)
	end := func() {
		s.active.Add(-1)
		<-s.slots
		over()
	}
	if err := s.handler.take(ctx, call, ans, end); err != nil {
		s.refused.Add(1)
		ans.refuse(err)
		end()
	}
}

// answerTime is how long the target may take to answer: the configured time, less
// if the caller waits less.
func answerTime(limit time.Duration, ans answer) time.Duration {
	if p := ans.patience(); p > 0 {
		return min(limit, p)
	}
	return limit
}
