// Package wire is the connection under TLS, for the tunnel over TCP and for single
// end-to-end flows.
package wire

import (
	"errors"
	"io"
	"net"
	"sync"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/socket"
)

// Conn is the connection under TLS. TLS writes each of its records of at most
// 16 KiB by itself; while much is written at once, Conn keeps them, and sends them in
// one system call. It has a buffer only then. Make it with [New].
type Conn struct {
	net.Conn
	bytes net.Conn // the same, for Read and Write

	// Large keeps up to 256 KiB of what is written at once, instead of 64.
	Large bool

	first []byte // read already; owned by the reader

	// mu is held during a write: besides those of the writer there are records that
	// TLS sends from its reader, e.g. a change of keys.
	mu   sync.Mutex
	held *[]byte // guarded by mu; the records that are kept, nil while none are
}

// New gives the connection under TLS on conn.
func New(conn net.Conn) *Conn { return &Conn{Conn: conn, bytes: socket.Wrap(conn)} }

// Buffer is how many bytes are kept at most: the records of 64 KiB and a header.
// TLS adds 22 bytes to each, and makes them small, of one packet, at first.
const (
	Buffer      = 66<<10 + 64
	LargeBuffer = 4 * Buffer
)

var (
	pool  = sync.Pool{New: func() any { b := make([]byte, 0, Buffer); return &b }}
	large = sync.Pool{New: func() any { b := make([]byte, 0, LargeBuffer); return &b }}
)

func (w *Conn) pool() *sync.Pool {
	if w.Large {
		return &large
	}
	return &pool
}

// Peek reads the first byte and keeps it for Read.
func (w *Conn) Peek() (byte, error) {
	b := make([]byte, 1)
	if _, err := io.ReadFull(w.bytes, b); err != nil {
		return 0, err
	}
	w.first = b
	return b[0], nil
}

// Read implements net.Conn.
func (w *Conn) Read(p []byte) (int, error) {
	if len(w.first) == 0 {
		return w.bytes.Read(p)
	}
	n := copy(p, w.first)
	w.first = w.first[n:]
	return n, nil
}

// Write implements net.Conn.
func (w *Conn) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held == nil {
		return w.bytes.Write(p)
	}
	if len(*w.held)+len(p) > cap(*w.held) {
		if err := w.sendLocked(); err != nil {
			return 0, err
		}
	}
	if len(p) > cap(*w.held) {
		return w.bytes.Write(p)
	}
	*w.held = append(*w.held, p...)
	return len(p), nil
}

func (w *Conn) sendLocked() error {
	_, err := w.bytes.Write(*w.held)
	*w.held = (*w.held)[:0]
	return err
}

// Hold starts to keep what is written, until Flush.
func (w *Conn) Hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held == nil {
		w.held = w.pool().Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	}
}

// Flush sends what was kept.
func (w *Conn) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held == nil {
		return nil
	}
	var err error
	if len(*w.held) > 0 {
		err = w.sendLocked()
	}
	w.pool().Put(w.held)
	w.held = nil
	return err
}

// Holds reports whether records are kept now.
func (w *Conn) Holds() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held != nil
}

// CloseWrite ends the sending direction where the connection can do that.
func (w *Conn) CloseWrite() error {
	if cw, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}
