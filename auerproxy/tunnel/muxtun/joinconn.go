package muxtun

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// yamux header (its spec.md): version, type, flags (2), stream id (4), length (4).
const (
	muxHeader   = 12
	muxTypeData = 0
)

// joinConn joins the header and the body of a yamux data frame, which yamux
// writes one after the other, into one write: one TLS record and one packet
// instead of two.
type joinConn struct {
	*tls.Conn
	held [muxHeader]byte // owned by yamux' send loop
	wait bool            // owned by yamux' send loop; held is the header of the next body

	readFailed chan struct{} // closed when readErr is set
	readErr    error         // set once, by yamux' receive loop
}

func newJoinConn(c *tls.Conn) *joinConn { return &joinConn{Conn: c, readFailed: make(chan struct{})} }

// Read is called by yamux' receive loop only. The first error is kept: it may be
// the alert with which the peer refused the certificate, which yamux does not
// hand on.
func (c *joinConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && c.readErr == nil {
		c.readErr = err
		close(c.readFailed)
	}
	return n, err
}

// alertWait is how long a failed write waits for the alert that explains it.
const alertWait = 100 * time.Millisecond

// cause gives the numbered error with which the peer ended TLS, or nil.
func (c *joinConn) cause() *tunnel.Error {
	select {
	case <-c.readFailed:
	case <-time.After(alertWait):
		return nil
	}
	e, _ := errors.AsType[*tunnel.Error](tunnel.FromTLS(c.readErr))
	return e
}

// joinMax is the largest body that is joined; copying more costs more than the
// second write.
const joinMax = 64 << 10

var joinPool = sync.Pool{New: func() any { b := make([]byte, 0, muxHeader+joinMax); return &b }}

// Write is called by yamux' send loop only, with a header or with a body.
func (c *joinConn) Write(p []byte) (int, error) {
	if !c.wait {
		if len(p) == muxHeader && p[1] == muxTypeData && binary.BigEndian.Uint32(p[8:]) > 0 {
			copy(c.held[:], p)
			c.wait = true
			return len(p), nil
		}
		return c.Conn.Write(p)
	}
	c.wait = false
	if len(p) > joinMax {
		if _, err := c.Conn.Write(c.held[:]); err != nil {
			return 0, err
		}
		return c.Conn.Write(p)
	}
	buf := joinPool.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer joinPool.Put(buf)
	*buf = append(append((*buf)[:0], c.held[:]...), p...)
	if _, err := c.Conn.Write(*buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close closes the connection under TLS. The end of a session is signalled, and
// authenticated, above TLS; a close_notify could block.
func (c *joinConn) Close() error { return c.NetConn().Close() }

var _ net.Conn = (*joinConn)(nil)
