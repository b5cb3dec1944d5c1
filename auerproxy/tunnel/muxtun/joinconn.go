package muxtun

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/wire"
)

// joinConn is the connection under yamux. It joins the header and the body of a
// data frame, which yamux writes one after the other, into one write to the
// network: of one TLS record where the frame fits into one. It bounds each write,
// checks what the peer sends, and keeps the first error, since yamux does not hand
// it on.
type joinConn struct {
	*tls.Conn
	wire *wire.Conn

	held  [muxHeader]byte // owned by yamux' send loop
	wait  bool            // owned by yamux' send loop; held is the header of the next body
	armed time.Time       // owned by yamux' send loop; when the write deadline was set

	timeout time.Duration
	closed  func() // called when yamux closes the connection
	guard   guard  // owned by yamux' receive loop

	// receiving is set while yamux' receive loop waits for the connection: it has
	// delivered then all that it got before.
	receiving atomic.Bool

	failOnce sync.Once
	failed   chan struct{} // closed when err is set
	err      error         // set once, before failed is closed
}

func newJoinConn(c *tls.Conn, timeout time.Duration, s *session) *joinConn {
	w, ok := c.NetConn().(*wire.Conn)
	if !ok {
		// Nothing is ever held in it.
		w = &wire.Conn{Conn: c.NetConn()}
	}
	return &joinConn{
		Conn: c, wire: w, timeout: timeout, closed: s.muxClosed, failed: make(chan struct{}),
		guard: guard{client: s.client, hear: s.hear, opens: s.opened, stirs: s.arrived},
	}
}

// Read is called by yamux' receive loop only. An error may be the alert with
// which the peer refused the certificate.
func (c *joinConn) Read(p []byte) (int, error) {
	c.receiving.Store(true)
	n, err := c.Conn.Read(p)
	c.receiving.Store(false)
	if gerr := c.guard.see(p[:n]); gerr != nil {
		n, err = 0, gerr
	}
	if err != nil {
		c.fail(err)
	}
	return n, err
}

func (c *joinConn) fail(err error) {
	c.failOnce.Do(func() {
		c.err = err
		close(c.failed)
	})
}

// failWait is how long the end of a session waits for the error that explains it.
// After a failed write it may be an alert that is still to be read.
const failWait = 100 * time.Millisecond

// cause gives the first error of the connection, nil if there is none.
func (c *joinConn) cause() error {
	t := time.NewTimer(failWait)
	defer t.Stop()
	select {
	case <-c.failed:
		return c.err
	case <-t.C:
		return nil
	}
}

// joinMax is the largest body that is copied behind its header: with it, it fills a
// TLS record.
const joinMax = 16<<10 - muxHeader

// smallRecord certainly fits into one record: after a pause TLS makes records of
// one packet.
const smallRecord = 1 << 10

var joinPool = sync.Pool{New: func() any { b := make([]byte, 0, muxHeader+joinMax); return &b }}

// Write is called by yamux' send loop only, with a header or with a body.
func (c *joinConn) Write(p []byte) (int, error) {
	if !c.wait {
		if len(p) == muxHeader && p[muxTypeAt] == muxTypeData && binary.BigEndian.Uint32(p[muxLengthAt:]) > 0 {
			copy(c.held[:], p)
			c.wait = true
			return len(p), nil
		}
		return c.write(p)
	}
	c.wait = false
	if len(p) > joinMax {
		return c.writeHeld(c.held[:], p)
	}
	buf := joinPool.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer joinPool.Put(buf)
	*buf = append(append((*buf)[:0], c.held[:]...), p...)
	var err error
	if len(p) > smallRecord {
		_, err = c.writeHeld(nil, *buf)
	} else {
		_, err = c.write(*buf)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// writeHeld writes a header, if any, and a body, and sends their records at once.
// A header of its own costs a record, but no copy of a large body.
func (c *joinConn) writeHeld(header, body []byte) (n int, err error) {
	c.wire.Hold()
	if len(header) > 0 {
		_, err = c.write(header)
	}
	if err == nil {
		n, err = c.write(body)
	}
	if ferr := c.wire.Flush(); err == nil && ferr != nil {
		n, err = 0, c.timedOut(ferr)
	}
	return n, err
}

// write writes with a deadline, which ends the session: after it the TLS state is
// broken.
func (c *joinConn) write(p []byte) (int, error) {
	if now := time.Now(); now.Sub(c.armed) > c.timeout/4 {
		if err := c.SetWriteDeadline(now.Add(c.timeout)); err != nil {
			return 0, err
		}
		c.armed = now
	}
	n, err := c.Conn.Write(p)
	return n, c.timedOut(err)
}

// timedOut keeps the error of a write that took too long: it is why the session
// ends. Another one may have a better explanation, which is still to be read.
func (c *joinConn) timedOut(err error) error {
	if ne, ok := err.(net.Error); ok && ne.Timeout() { //nolint:errorlint // crypto/tls and net return it bare or not at all
		c.fail(err)
	}
	return err
}

// Close closes the connection under TLS. The end of a session is signalled, and
// authenticated, above TLS; a close_notify could block.
func (c *joinConn) Close() error {
	c.closed()
	return c.NetConn().Close()
}

var _ net.Conn = (*joinConn)(nil)
