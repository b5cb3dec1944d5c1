package muxtun

import (
	"errors"
	"io"
	"net"
	"sync"
)

// wire is the connection under TLS. TLS writes each of its records of at most
// 16 KiB by itself; while a large frame is on its way, wire keeps them, and sends
// them in one system call. It has a buffer only then.
type wire struct {
	net.Conn
	first []byte // read already; owned by the reader

	// mu is held during a write: besides the frames of yamux' send loop there are
	// records that TLS sends from its reader, e.g. a change of keys.
	mu   sync.Mutex
	held *[]byte // guarded by mu; the records that are kept, nil while none are
}

// wireBuffer has room for the records of a frame: TLS adds 22 bytes to each, and
// makes them small, of one packet, at first.
const wireBuffer = muxHeader + maxFrame + 2<<10

var wirePool = sync.Pool{New: func() any { b := make([]byte, 0, wireBuffer); return &b }}

// peek reads the first byte and keeps it for Read.
func (w *wire) peek() (byte, error) {
	b := make([]byte, 1)
	if _, err := io.ReadFull(w.Conn, b); err != nil {
		return 0, err
	}
	w.first = b
	return b[0], nil
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	if len(w.first) == 0 {
		return w.Conn.Read(p)
	}
	n := copy(p, w.first)
	w.first = w.first[n:]
	return n, nil
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held == nil {
		return w.Conn.Write(p)
	}
	if len(*w.held)+len(p) > cap(*w.held) {
		if err := w.sendLocked(); err != nil {
			return 0, err
		}
	}
	if len(p) > cap(*w.held) {
		return w.Conn.Write(p)
	}
	*w.held = append(*w.held, p...)
	return len(p), nil
}

func (w *wire) sendLocked() error {
	_, err := w.Conn.Write(*w.held)
	*w.held = (*w.held)[:0]
	return err
}

// hold starts to keep what is written, until flush.
func (w *wire) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held == nil {
		w.held = wirePool.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	}
}

// flush sends what was kept.
func (w *wire) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held == nil {
		return nil
	}
	var err error
	if len(*w.held) > 0 {
		err = w.sendLocked()
	}
	wirePool.Put(w.held)
	w.held = nil
	return err
}

// CloseWrite ends the sending direction where the connection can do that.
func (w *wire) CloseWrite() error {
	if cw, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}
