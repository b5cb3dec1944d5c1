package bulk

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/socket"
)

const (
	// lastWord is how long a data connection that broke waits for the tunnel stream
	// to say why. The relay waits a quarter of that for the other side's word.
	lastWord = time.Second
	// lingerTime and lingerBytes bound what Close reads of what the peer still
	// sends: TCP would answer it with a reset, which can overtake and destroy what
	// was written before (RFC 1122 §4.2.2.13).
	lingerTime  = 2 * time.Second
	lingerBytes = 1 << 20
	// aheadSize is how much one system call reads while much arrives, minAhead what
	// it has to have brought before. TLS asks for one record of 16 KiB at a time.
	aheadSize = 256 << 10
	minAhead  = 4 << 10
)

// aheads holds the buffers of busy streams.
var aheads = sync.Pool{New: func() any { return new([aheadSize]byte) }}

// Stream carries the bytes of a call on its data connection; its life is that of
// the tunnel stream. It is a tunnel.Stream.
type Stream struct {
	data net.Conn
	life tunnel.Stream
	over chan struct{} // closed when the tunnel stream has ended

	ahead *[aheadSize]byte // owned by the reader; nil without bytes that were read ahead
	left  []byte           // owned by the reader; what of it is not read yet
	busy  bool             // owned by the reader; the last read got all that it could take

	mu     sync.Mutex // guards what follows
	closed bool       // Close was called
	gone   bool       // Close or Reset was called
	ended  bool       // a Read has met the end
	err    error      // why the call was cut
}

var _ tunnel.Stream = (*Stream)(nil)

// NewStream joins the two. Both belong to the stream from now on.
func NewStream(life tunnel.Stream, data net.Conn) *Stream {
	s := &Stream{data: socket.Wrap(data), life: life, over: make(chan struct{})}
	go s.watch()
	return s
}

// watch waits for the end of the tunnel stream. An end without an error is the
// peer's Close, after which the data connection may still have bytes.
func (s *Stream) watch() {
	defer close(s.over)
	n, err := s.life.Read(make([]byte, 1))
	switch {
	case n > 0:
		err = tunnel.Errorf(tunnel.CodeProtocol, "bytes in the tunnel stream of a data connection")
		s.life.Reset(tunnel.CodeProtocol)
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return
	}
	s.mu.Lock()
	cut := !s.gone
	if cut {
		s.err = err
	}
	s.mu.Unlock()
	if cut {
		Abort(s.data)
	}
}

// Abort closes a data connection so that the other side sees no regular end.
func Abort(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// OnData tells who writes to the stream, or to what runs inside, that large writes
// are worth it.
func (*Stream) OnData() bool { return true }

// Read implements net.Conn. While much arrives it reads ahead; a stream that waits
// holds no buffer.
func (s *Stream) Read(p []byte) (int, error) {
	if len(s.left) > 0 {
		return s.next(p), nil
	}
	if !s.busy || len(p) >= aheadSize {
		n, err := s.read(p)
		s.busy = n == len(p) && n >= minAhead
		return n, err
	}
	s.ahead = aheads.Get().(*[aheadSize]byte) //nolint:forcetypeassert // the pool holds nothing else
	n, err := s.read(s.ahead[:])
	s.left = s.ahead[:n]
	s.busy = n == aheadSize
	return s.next(p), err
}

// next gives what was read ahead.
func (s *Stream) next(p []byte) int {
	n := copy(p, s.left)
	if s.left = s.left[n:]; len(s.left) == 0 {
		aheads.Put(s.ahead)
		s.ahead, s.left = nil, nil
	}
	return n
}

func (s *Stream) read(p []byte) (int, error) {
	n, err := s.data.Read(p)
	if err == io.EOF { //nolint:errorlint // a connection gives it bare
		s.mu.Lock()
		s.ended = true
		s.mu.Unlock()
		return n, err
	}
	return n, s.why(err)
}

// Write implements net.Conn.
func (s *Stream) Write(p []byte) (int, error) {
	n, err := s.data.Write(p)
	return n, s.why(err)
}

// why gives an error of the data connection its meaning.
func (s *Stream) why(err error) error {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	s.mu.Lock()
	closed, known := s.closed, s.err != nil
	s.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	if !known {
		t := time.NewTimer(lastWord)
		defer t.Stop()
		select {
		case <-s.over:
		case <-t.C:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = &tunnel.Error{Code: tunnel.CodeReset, Message: "the data connection broke", Remote: true, Cause: err}
	}
	return s.err
}

// CloseWrite implements tunnel.Stream.
func (s *Stream) CloseWrite() error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	cw, ok := s.data.(interface{ CloseWrite() error })
	if closed || !ok {
		return nil // without half-close the end comes with Close
	}
	return s.why(cw.CloseWrite())
}

// Close implements net.Conn. What was written is still delivered.
func (s *Stream) Close() error {
	s.mu.Lock()
	if s.gone {
		s.mu.Unlock()
		return nil
	}
	s.closed, s.gone = true, true
	ended := s.ended
	s.mu.Unlock()
	if ended {
		s.finish()
		return nil
	}
	if cw, ok := s.data.(interface{ CloseWrite() error }); ok {
		_ = cw.CloseWrite()
	}
	_ = s.data.SetReadDeadline(time.Now().Add(lingerTime))
	go func() {
		_, _ = io.CopyN(io.Discard, s.data, lingerBytes)
		s.finish()
	}()
	return nil
}

func (s *Stream) finish() {
	_ = s.data.Close()
	_ = s.life.Close()
}

// Reset implements tunnel.Stream.
func (s *Stream) Reset(code tunnel.Code) {
	s.mu.Lock()
	if s.gone {
		s.mu.Unlock()
		return
	}
	s.gone = true
	if s.err == nil {
		s.err = &tunnel.Error{Code: code}
	}
	s.mu.Unlock()
	s.life.Reset(code)
	Abort(s.data)
}

// SetDeadline implements net.Conn.
func (s *Stream) SetDeadline(t time.Time) error { return s.data.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.data.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.data.SetWriteDeadline(t) }

// LocalAddr is that of the tunnel stream.
func (s *Stream) LocalAddr() net.Addr { return s.life.LocalAddr() }

// RemoteAddr is that of the tunnel stream.
func (s *Stream) RemoteAddr() net.Addr { return s.life.RemoteAddr() }
