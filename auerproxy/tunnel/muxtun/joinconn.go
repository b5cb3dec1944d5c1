package muxtun

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/wire"
)

// joinConn is the connection under yamux. It joins the header and the body of a
// data frame, which yamux writes one after the other, and while more frames are
// coming, or the connection is busy with those before, whole frames too: what is
// together leaves in one write to the network, of one TLS record where it fits into
// one. It bounds each write, checks what the peer sends, and keeps the first error,
// since yamux does not hand it on.
type joinConn struct {
	*tls.Conn
	wire *wire.Conn

	head [muxHeader]byte // owned by yamux' send loop
	wait bool            // owned by yamux' send loop; head is the header of the next body

	// coming is how many bytes of bodies writers are handing to yamux now.
	coming atomic.Int64

	mu      sync.Mutex
	turn    sync.Cond // signalled when a write has ended
	sending sending   // guarded by mu
	frames  *[]byte   // guarded by mu; those that wait, nil while none do
	count   int       // guarded by mu; how many they are
	patient int       // guarded by mu; how often to wait for company yet, see planLocked
	werr    error     // guarded by mu; of a write

	armed   time.Time // owned by who writes; when the write deadline was set
	timeout time.Duration
	closed  func()            // called when yamux closes the connection
	start   func(func()) bool // starts a goroutine of the session
	broken  func(error)       // ends the session after a write
	guard   guard             // owned by yamux' receive loop

	// receiving is set while yamux' receive loop waits for the connection: it has
	// delivered then all that it got before.
	receiving atomic.Bool

	failOnce sync.Once
	failed   chan struct{} // closed when err is set
	err      error         // set once, before failed is closed
}

// sending says who sends the frames that wait.
type sending uint8

const (
	nobody   sending = iota
	planned          // a goroutine that is about to run
	underway         // somebody
)

func newJoinConn(c *tls.Conn, timeout time.Duration, s *session) *joinConn {
	w, ok := c.NetConn().(*wire.Conn)
	if !ok {
		// Nothing is ever held in it.
		w = wire.New(c.NetConn())
	}
	j := &joinConn{
		Conn: c, wire: w, timeout: timeout,
		guard:  guard{client: s.client, hear: s.hear, opens: s.opened, stirs: s.arrived},
		closed: s.muxClosed, start: s.start, broken: s.broken, failed: make(chan struct{}),
	}
	j.turn.L = &j.mu
	return j
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

// expect counts bytes of bodies that are about to be handed to yamux; a negative
// number those that will not come.
func (c *joinConn) expect(n int) { c.coming.Add(int64(n)) }

// Write is called by yamux' send loop only, with a header or with a body.
func (c *joinConn) Write(p []byte) (int, error) {
	if c.wait {
		c.wait = false
		c.expect(-len(p))
		return len(p), c.frame(c.head[:], p)
	}
	if len(p) == muxHeader && p[muxTypeAt] == muxTypeData && binary.BigEndian.Uint32(p[muxLengthAt:]) > 0 {
		copy(c.head[:], p)
		c.wait = true
		return len(p), nil
	}
	return len(p), c.frame(p, nil)
}

// frame sends a frame, or leaves it to be sent with others.
func (c *joinConn) frame(header, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	large := len(body) > joinMax
	for c.werr == nil && c.sending == underway && (large || !c.fitsLocked(len(header)+len(body))) {
		c.turn.Wait()
	}
	if c.werr == nil && !large && !c.fitsLocked(len(header)+len(body)) {
		c.sendLocked(nil, nil)
	}
	if c.werr != nil {
		return c.werr
	}
	if large {
		c.sendLocked(header, body)
		return c.werr
	}
	if c.frames == nil {
		c.frames = joinPool.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	}
	*c.frames = append(append(*c.frames, header...), body...)
	c.count++
	if c.sending == nobody && !c.planLocked() {
		c.sendLocked(nil, nil)
	}
	return c.werr
}

const (
	// patience is after how many frames that stayed alone the next ones no longer wait
	// for company.
	patience = 16
	// curious is every how many frames that did not wait one does.
	curious = 64
)

// planLocked leaves the frames to a goroutine, which sends them when all others that
// can run have done so and have perhaps brought more: under load that halves the
// writes, and the records for the peer to open. Where frames have been alone lately
// it does nothing, since the goroutine would cost more than it saves.
func (c *joinConn) planLocked() bool {
	if c.coming.Load() > 0 {
		c.patient = patience
	}
	if c.patient <= 0 {
		if c.patient--; c.patient > -curious {
			return false
		}
		c.patient = 1
	}
	c.sending = planned
	c.mu.Unlock()
	started := c.start(c.sendPlanned)
	c.mu.Lock()
	return started
}

// sendPlanned sends the frames that wait, unless somebody else does.
func (c *joinConn) sendPlanned() {
	runtime.Gosched()
	c.mu.Lock()
	if c.sending == planned {
		if c.count > 1 {
			c.patient = patience
		} else {
			c.patient--
		}
		c.sendLocked(nil, nil)
	}
	err := c.werr
	c.mu.Unlock()
	if err != nil {
		c.broken(err)
	}
}

func (c *joinConn) fitsLocked(n int) bool {
	return c.frames == nil || len(*c.frames)+n <= cap(*c.frames)
}

// sendLocked sends the frames that wait, then a large one, if any, and then what
// has come meanwhile. The caller has seen that nobody else does.
func (c *joinConn) sendLocked(header, body []byte) {
	c.sending = underway
	for c.werr == nil && (c.frames != nil || len(body) > 0) {
		frames := c.frames
		c.frames, c.count = nil, 0
		c.mu.Unlock()
		err := c.send(frames, header, body)
		if frames != nil {
			*frames = (*frames)[:0]
			joinPool.Put(frames)
		}
		c.mu.Lock()
		header, body = nil, nil
		c.werr = err
		c.turn.Broadcast()
	}
	c.sending = nobody
}

// send writes frames, and the header and body of a large one. Where that makes
// several TLS records, they leave at once. The large one's header costs a record of
// its own, but no copy of the body.
func (c *joinConn) send(frames *[]byte, header, body []byte) error {
	if frames != nil && len(body) == 0 && len(*frames) <= smallRecord {
		return c.write(*frames)
	}
	c.wire.Hold()
	var err error
	if frames != nil {
		err = c.write(append(*frames, header...))
	} else {
		err = c.write(header)
	}
	if err == nil && len(body) > 0 {
		err = c.write(body)
	}
	if ferr := c.wire.Flush(); err == nil {
		err = c.timedOut(ferr)
	}
	return err
}

// write writes with a deadline, which ends the session: after it the TLS state is
// broken.
func (c *joinConn) write(p []byte) error {
	if now := time.Now(); now.Sub(c.armed) > c.timeout/4 {
		if err := c.SetWriteDeadline(now.Add(c.timeout)); err != nil {
			return err
		}
		c.armed = now
	}
	_, err := c.Conn.Write(p)
	return c.timedOut(err)
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
