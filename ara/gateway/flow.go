package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/flow"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// reaches reports whether a request can become a WebSocket to the target of its session;
// false: it has answered.
func (g *Gateway) reaches(w http.ResponseWriter, r *http.Request, s *session, services ...grant.Service) bool {
	if !slices.Contains(services, s.grant.Service) {
		g.refuse(w, r, refusedService)
		return false
	}
	v := s.settled(r.Context())
	switch {
	case !v.ended.IsZero():
		g.refuse(w, r, refusedEnded)
	case v.State != grant.Active:
		g.refuse(w, r, refusedPending)
	case r.ProtoMajor != 1 || !isUpgrade(r):
		w.Header().Set("Upgrade", "websocket") // RFC 9110 §15.5.22
		g.refuse(w, r, refusedUpgrade)
	default:
		return true
	}
	return false
}

// takePlace takes one of few places, or gives nil.
func takePlace(taken *atomic.Int32, places int) (leave func()) {
	if int(taken.Add(1)) > places {
		taken.Add(-1)
		return nil
	}
	return func() { taken.Add(-1) }
}

// connect carries one flow to the session's target.
func (g *Gateway) connect(w http.ResponseWriter, r *http.Request, s *session) {
	if !g.reaches(w, r, s, grant.TCP, grant.SSH) {
		return
	}
	leave := takePlace(&s.flows, g.cfg.Limits.Flows)
	if leave == nil {
		g.refuse(w, r, refusedStreams)
		return
	}
	defer leave()
	if s.grant.Service == grant.SSH {
		ctx, cancel := context.WithTimeout(s.ctx, g.cfg.Timing.Open)
		targets, err := s.pbx.Targets(ctx)
		cancel()
		switch {
		case err != nil:
			g.failed(w, r, err)
			return
		case targets.Recording != "": // which a flow, being ciphertext, would evade
			g.refuse(w, r, refusedRecorded)
			return
		}
	}
	if !g.enter() { // a connection that was hijacked is no business of the server's
		g.refuse(w, r, refusedEnded)
		return
	}
	defer g.watches.Done()
	call, err := s.dial(s.ctx, string(s.grant.Service))
	if err != nil {
		g.failed(w, r, err)
		return
	}
	defer call.Close()
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{flow.Subprotocol}})
	if err != nil {
		return // it has answered
	}
	s.carry(flow.New(ws, int64(g.cfg.Limits.MessageBytes)), call)
}

// carry moves bytes until both directions have ended, or the session has.
func (s *session) carry(local *flow.Conn, call net.Conn) {
	defer local.Close()
	var once sync.Once
	end := func(err error) {
		once.Do(func() {
			splice.Reset(call, tunnel.CodeReset)
			local.End(err)
		})
	}
	idle := newIdle(s.g.cfg.Timing.FlowIdle, func() { end(tunnel.Errorf(tunnel.CodeStreamIdle, "nothing moves")) })
	defer idle.stop()
	defer context.AfterFunc(s.ctx, func() { end(s.over()) })()
	var back sync.WaitGroup
	back.Go(func() {
		read, write := pump(local, call, idle)
		if read != nil {
			end(s.why(read))
		} else if write != nil {
			end(write)
		}
	})
	if read, write := pump(call, local, idle); write != nil {
		end(s.why(write))
	} else if read != nil {
		end(read)
	}
	back.Wait()
}

// over says why the session has ended.
func (s *session) over() error {
	v, _ := s.look()
	return &flow.EndedError{Cause: v.Cause}
}

// soon is how long the news of a session's end may take after its streams were cut.
const soon = 2 * time.Second

// why gives what an error of a call stands for: its PBX cuts the calls of a session that
// ends, and says so besides.
func (s *session) why(err error) error {
	t := time.NewTimer(soon)
	defer t.Stop()
	select {
	case <-s.ctx.Done():
		return s.over()
	case <-t.C:
		return err
	}
}

// halfCloser can end one direction.
type halfCloser interface {
	io.Writer
	CloseWrite() error
}

// pump moves one direction to its end. read and write are errors of the one and the other
// side.
func pump(to io.Writer, from io.Reader, idle *idle) (read, write error) {
	buf := make([]byte, flow.MaxMessage)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			idle.touch()
			if _, err := to.Write(buf[:n]); err != nil {
				return nil, err
			}
		}
		switch {
		case err == io.EOF: // not errors.Is: a WebSocket that breaks off wraps one, and is no end
			if half, ok := to.(halfCloser); ok {
				return nil, half.CloseWrite()
			}
			return nil, errors.ErrUnsupported
		case err != nil:
			return err, nil
		}
	}
}

// idle calls something once when nothing was touched for so long.
type idle struct {
	after time.Duration
	last  atomic.Int64 // Unix nanoseconds

	mu    sync.Mutex
	timer *time.Timer // guarded by mu; nil: stopped
}

func newIdle(after time.Duration, f func()) *idle {
	i := &idle{after: after}
	i.touch()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.timer = time.AfterFunc(after, func() {
		left := i.after - time.Since(time.Unix(0, i.last.Load()))
		if left <= 0 {
			f()
			return
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.timer != nil {
			i.timer.Reset(left)
		}
	})
	return i
}

func (i *idle) touch() { i.last.Store(time.Now().UnixNano()) }

func (i *idle) stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.timer.Stop()
	i.timer = nil
}
