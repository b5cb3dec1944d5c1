package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// memSession is a session in memory. It needs no clock and no socket, so that
// hours of a tunnel's life run in milliseconds (testing/synctest).
type memSession struct {
	peer      identity.ID
	transport tunnel.Transport
	other     *memSession
	incoming  chan tunnel.Stream
	done      chan struct{}

	shared *memShared
	err    error // guarded by shared.mu

	path func() (tunnel.Path, bool) // nil: nothing is measured
}

// Path implements tunnel.Measurer.
func (m *memSession) Path() (tunnel.Path, bool) {
	if m.path == nil {
		return tunnel.Path{}, false
	}
	return m.path()
}

// memShared is what the two ends of a session share.
type memShared struct {
	mu      sync.Mutex // guards what follows
	over    bool
	streams map[*memStream]struct{}
}

func memPair(client, server identity.ID, t tunnel.Transport) (c, s *memSession) {
	shared := &memShared{streams: make(map[*memStream]struct{})}
	end := func(peer identity.ID) *memSession {
		return &memSession{peer: peer, transport: t, shared: shared, incoming: make(chan tunnel.Stream, 64), done: make(chan struct{})}
	}
	c, s = end(server), end(client)
	c.other, s.other = s, c
	return c, s
}

func (m *memSession) Open(context.Context) (tunnel.Stream, error) {
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	if m.shared.over {
		return nil, m.err
	}
	a, b := newMemStreams()
	m.shared.streams[a] = struct{}{}
	m.other.incoming <- b
	return a, nil
}

func (m *memSession) Accept(ctx context.Context) (tunnel.Stream, error) {
	select {
	case st := <-m.incoming:
		return st, nil
	case <-m.done:
		return nil, m.Err()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memSession) CloseWithError(code tunnel.Code, reason string) error {
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	if m.shared.over {
		return nil
	}
	m.shared.over = true
	m.err = &tunnel.Error{Code: code, Message: reason}
	m.other.err = &tunnel.Error{Code: code, Message: reason, Remote: true}
	close(m.done)
	close(m.other.done)
	for st := range m.shared.streams {
		st.end(tunnel.CodeSessionLost)
	}
	return nil
}

func (m *memSession) Done() <-chan struct{} { return m.done }

func (m *memSession) Err() error {
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	return m.err
}

func (m *memSession) Peer() identity.ID           { return m.peer }
func (m *memSession) Transport() tunnel.Transport { return m.transport }
func (m *memSession) LocalAddr() net.Addr         { return &net.TCPAddr{} }
func (m *memSession) RemoteAddr() net.Addr        { return &net.TCPAddr{} }

// memStream is one end of a stream: one pipe for each direction.
type memStream struct {
	in, out net.Conn
	other   *memStream

	mu   sync.Mutex  // guards code
	code tunnel.Code // why the stream was reset; 0 if it was not
}

func newMemStreams() (a, b *memStream) {
	ab1, ab2 := net.Pipe()
	ba1, ba2 := net.Pipe()
	a, b = &memStream{in: ba2, out: ab1}, &memStream{in: ab2, out: ba1}
	a.other, b.other = b, a
	return a, b
}

func (s *memStream) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	return n, s.mapped(err)
}

func (s *memStream) Write(p []byte) (int, error) {
	n, err := s.out.Write(p)
	return n, s.mapped(err)
}

func (s *memStream) mapped(err error) error {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.code != 0 {
		return &tunnel.Error{Code: s.code, Remote: true}
	}
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return net.ErrClosed
}

// end closes both directions of both ends.
func (s *memStream) end(code tunnel.Code) {
	both := []*memStream{s, s.other}
	for _, e := range both { // first: whoever finds a pipe closed asks for the code
		e.mu.Lock()
		if e.code == 0 {
			e.code = code
		}
		e.mu.Unlock()
	}
	for _, e := range both {
		_ = e.in.Close()
		_ = e.out.Close()
	}
}

func (s *memStream) Reset(code tunnel.Code) { s.end(code) }
func (s *memStream) CloseWrite() error      { return s.out.Close() }
func (s *memStream) Close() error           { _ = s.in.Close(); return s.out.Close() }
func (s *memStream) LocalAddr() net.Addr    { return s.in.LocalAddr() }
func (s *memStream) RemoteAddr() net.Addr   { return s.in.RemoteAddr() }

func (s *memStream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}
func (s *memStream) SetReadDeadline(t time.Time) error  { return s.in.SetReadDeadline(t) }
func (s *memStream) SetWriteDeadline(t time.Time) error { return s.out.SetWriteDeadline(t) }
