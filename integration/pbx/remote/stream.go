package remote

import (
	"net"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// Stream is one call that was let in.
type Stream struct {
	// Session is whose it is. Target is where it goes, where the service is targeted.
	Session grant.SessionID
	Target  Target

	m    *Machine
	live *live
	cut  func()
}

// Admit lets one call in, or fails with ErrRefused: its purpose has to name a session that
// the administrator has consented to, that is not over, and that is to this service. cut
// is called once, from any goroutine, when the session ends before Close; it must end the
// call at once and not block.
func (m *Machine) Admit(purpose string, service grant.Service, cut func()) (*Stream, error) {
	id, ok := grant.ParsePurpose(purpose)
	if !ok {
		return nil, ErrRefused
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.book.find(id)
	if s == nil || m.closed || s.State != grant.Active || !time.Now().Before(s.Until) || s.Service != service {
		return nil, ErrRefused
	}
	// Asked while mu is held: whoever sets it otherwise ends the sessions afterwards, and
	// finds this call.
	p := m.cfg.Policy()
	if p.admits(*s) != nil {
		return nil, ErrRefused
	}
	l := m.liveOf(id)
	if len(l.streams) >= m.cfg.Limits.Streams {
		return nil, ErrTooMany
	}
	st := &Stream{Session: id, m: m, live: l, cut: cut}
	st.Target, _ = p.target(s.Service, s.Target)
	l.streams[st] = struct{}{}
	return st, nil
}

// Count notes bytes that came to the PBX, and that went from it.
func (s *Stream) Count(in, out int) {
	if in > 0 {
		s.live.in.Add(int64(in))
	}
	if out > 0 {
		s.live.out.Add(int64(out))
	}
}

// Close says that the call has ended. It can be called more than once.
func (s *Stream) Close() {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	delete(s.live.streams, s)
}

// Conn counts what goes through a connection until it is closed.
func (s *Stream) Conn(c net.Conn) net.Conn { return &conn{c, s} }

type conn struct {
	net.Conn
	stream *Stream
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.stream.Count(n, 0)
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.stream.Count(0, n)
	return n, err
}

func (c *conn) Close() error {
	defer c.stream.Close()
	return c.Conn.Close()
}

// CloseWrite ends the sending direction, where the connection can.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Conn.Close()
}
