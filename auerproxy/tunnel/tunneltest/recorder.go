package tunneltest

import (
	"bytes"
	"context"
	"net"
	"sync"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// Recorder keeps every byte that passes through the connections, streams and
// sessions that it wraps, as a party in the middle would. The zero value is ready.
// It may be used from several goroutines, and never drops anything: keep what
// passes it small.
type Recorder struct {
	mu    sync.Mutex
	flows []*bytes.Buffer // guarded by mu, also what they hold; one per direction of a connection
}

// flow is one direction of one connection.
type flow struct {
	rec *Recorder
	buf *bytes.Buffer
}

func (r *Recorder) flow() flow {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := flow{r, new(bytes.Buffer)}
	r.flows = append(r.flows, f.buf)
	return f
}

func (f flow) record(p []byte) {
	f.rec.mu.Lock()
	defer f.rec.mu.Unlock()
	f.buf.Write(p)
}

// Contains reports whether a passed the recorder in one direction of one
// connection, in one piece or in several.
func (r *Recorder) Contains(a []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.flows {
		if bytes.Contains(f.Bytes(), a) {
			return true
		}
	}
	return false
}

// Len is how many bytes passed in all. A test that looks for the absence of
// something checks with it that there was anything.
func (r *Recorder) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, f := range r.flows {
		n += f.Len()
	}
	return n
}

// Conn records what is read from and written to a connection.
func (r *Recorder) Conn(c net.Conn) net.Conn {
	return &recordedConn{Conn: c, in: r.flow(), out: r.flow()}
}

type recordedConn struct {
	net.Conn
	in, out flow
}

func (c *recordedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in.record(p[:n])
	return n, err
}

func (c *recordedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.out.record(p[:n])
	return n, err
}

// Stream records what is read from and written to a stream.
func (r *Recorder) Stream(st tunnel.Stream) tunnel.Stream {
	return &recordedStream{Stream: st, in: r.flow(), out: r.flow()}
}

type recordedStream struct {
	tunnel.Stream
	in, out flow
}

func (s *recordedStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	s.in.record(p[:n])
	return n, err
}

func (s *recordedStream) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	s.out.record(p[:n])
	return n, err
}

// Session records every stream of a session.
func (r *Recorder) Session(s tunnel.Session) tunnel.Session { return &recordedSession{s, r} }

type recordedSession struct {
	tunnel.Session
	rec *Recorder
}

func (s *recordedSession) Open(ctx context.Context) (tunnel.Stream, error) {
	st, err := s.Session.Open(ctx)
	if err != nil {
		return nil, err
	}
	return s.rec.Stream(st), nil
}

func (s *recordedSession) Accept(ctx context.Context) (tunnel.Stream, error) {
	st, err := s.Session.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return s.rec.Stream(st), nil
}

// Listener records every session that a listener accepts.
func (r *Recorder) Listener(ln tunnel.Listener) tunnel.Listener { return &recordedListener{ln, r} }

type recordedListener struct {
	tunnel.Listener
	rec *Recorder
}

func (l *recordedListener) Accept(ctx context.Context) (tunnel.Session, error) {
	s, err := l.Listener.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return l.rec.Session(s), nil
}

// Dialer records every session that a dialer dials.
func (r *Recorder) Dialer(d tunnel.Dialer) tunnel.Dialer { return &recordedDialer{d, r} }

type recordedDialer struct {
	dialer tunnel.Dialer
	rec    *Recorder
}

func (d *recordedDialer) Dial(ctx context.Context, addr string) (tunnel.Session, error) {
	s, err := d.dialer.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return d.rec.Session(s), nil
}
