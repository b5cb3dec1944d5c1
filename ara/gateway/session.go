package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// session is one remote access in one browser, from its grant on.
type session struct {
	g         *Gateway
	label     string
	host      string // <label>.<domain>
	authority string // … with the port for browsers
	grant     grant.Grant
	cookie    hash
	began     time.Time

	ctx       context.Context // ends with the session
	cancel    context.CancelFunc
	transport *http.Transport
	pbx       remote.Client
	jar       jar
	streams   chan struct{} // one place per request
	upgrades  atomic.Int32
	events    atomic.Int32
	terminals atomic.Int32
	flows     atomic.Int32
	moved     atomic.Int64 // when a byte went either way, Unix nanoseconds
	places    places       // where its browser comes from

	mu      sync.Mutex
	view    view          // guarded by mu
	changed chan struct{} // guarded by mu; closed at the next change of view
}

// view is what the gateway knows of a session.
type view struct {
	remote.Status
	at    time.Time // when Status came; zero: none has yet
	lost  bool      // the PBX cannot be asked now
	ended time.Time // zero: it goes on
}

// remaining is how long the state lasts from now on.
func (v view) remaining(now time.Time) time.Duration {
	return max(0, time.Duration(v.Remaining)*time.Second-now.Sub(v.at)).Round(time.Second)
}

func (g *Gateway) newSession(label string, gr grant.Grant, cookie hash) *session {
	s := &session{
		g: g, label: label, host: label + "." + g.cfg.Domain, grant: gr, cookie: cookie, began: time.Now(),
		streams: make(chan struct{}, g.cfg.Limits.Streams), changed: make(chan struct{}),
		view: view{Status: remote.Status{State: grant.Requested}},
	}
	s.authority = g.cfg.authority(s.host)
	s.ctx, s.cancel = context.WithCancel(g.ctx)
	s.moved.Store(time.Now().UnixNano())
	s.transport = &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx, string(grant.Web)) },
		MaxIdleConnsPerHost:    g.cfg.Limits.Streams, // a connection for each request at once, or they are opened anew
		IdleConnTimeout:        30 * time.Second,
		ResponseHeaderTimeout:  g.cfg.Timing.Answer,
		ExpectContinueTimeout:  time.Second,
		DisableCompression:     true, // what the browser accepts is for the PBX to see
		MaxResponseHeaderBytes: int64(g.cfg.Limits.HeaderBytes),
		ReadBufferSize:         16 << 10,
		WriteBufferSize:        16 << 10,
	}
	s.pbx = remote.Client{HTTP: remote.HTTPClient(func(ctx context.Context) (net.Conn, error) { return s.dial(ctx, remote.ServiceName) })}
	return s
}

// dial opens a call to the session's PBX.
func (s *session) dial(ctx context.Context, service string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.g.cfg.Timing.Open)
	defer cancel()
	c, err := s.g.cfg.Dial(ctx, s.grant.Serial, service, s.grant.Session.Purpose())
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: c, s: s, counts: service != remote.ServiceName}, nil
}

// watch follows the session at its PBX until it has ended.
func (s *session) watch() {
	defer s.transport.CloseIdleConnections()
	wait := s.g.cfg.Timing.RetryMin
	for {
		err := s.pbx.Watch(s.ctx, func(st remote.Status) {
			wait = s.g.cfg.Timing.RetryMin
			s.set(func(v *view) { *v = view{Status: st, at: time.Now(), ended: v.ended} })
		})
		switch {
		case s.ctx.Err() != nil:
			return
		case err == nil:
			s.end("")
			return
		case errors.Is(err, remote.ErrUnknown), tunnel.CodeOf(err) == tunnel.CodeRefusedByDevice, tunnel.CodeOf(err) == tunnel.CodeServiceUnknown:
			s.end("")
			return
		}
		s.set(func(v *view) { v.lost = true })
		select {
		case <-time.After(wait):
			wait = min(2*wait, s.g.cfg.Timing.RetryMax)
		case <-s.ctx.Done():
			return
		}
	}
}

// end ends the session and every stream of it. Once is enough.
func (s *session) end(cause grant.Cause) {
	s.set(func(v *view) {
		if !v.ended.IsZero() {
			return
		}
		v.ended, v.lost = time.Now(), false
		if !v.State.Final() {
			v.State, v.Cause = grant.Ended, cause
		}
	})
	s.cancel()
}

func (s *session) set(f func(*view)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.view)
	close(s.changed)
	s.changed = make(chan struct{})
}

// look gives what is known, and a channel that is closed when that changes.
func (s *session) look() (view, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view, s.changed
}

// settled waits until it is known how the session stands, for a short time.
func (s *session) settled(ctx context.Context) view {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		v, changed := s.look()
		if !v.at.IsZero() || v.lost || !v.ended.IsZero() {
			return v
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return v
		}
	}
}

// countedConn counts what moves.
type countedConn struct {
	net.Conn
	s      *session
	counts bool // of the PBX's pages, which keep a session from being idle
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.counts {
		c.s.moved.Store(time.Now().UnixNano())
		c.s.g.metrics.fromPBX.Add(float64(n))
	}
	return n, err
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if n > 0 && c.counts {
		c.s.moved.Store(time.Now().UnixNano())
		c.s.g.metrics.toPBX.Add(float64(n))
	}
	return n, err
}

// CloseWrite ends one direction of something that was upgraded.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Reset gives the call up, with the code where it can tell one: a flow that was cut does
// not look complete at the far end.
func (c *countedConn) Reset(code tunnel.Code) { splice.Reset(c.Conn, code) }
