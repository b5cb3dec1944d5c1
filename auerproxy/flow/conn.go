package flow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

const (
	// Subprotocol is the name of what the messages mean.
	Subprotocol = "ara-flow"
	// StatusEnded is the status with which a flow is closed that has not ended by itself.
	StatusEnded websocket.StatusCode = 4000
	// MaxMessage bounds the messages that a [Conn] sends, in bytes.
	MaxMessage = 32 << 10
)

// EndedError says that the remote access is over, and with it the flow.
type EndedError struct {
	// Cause is why, e.g. grant.CauseAdmin; empty where the gateway does not know.
	Cause grant.Cause
}

// Error says it in a line.
func (e *EndedError) Error() string {
	if e.Cause == "" {
		return "the remote access has ended"
	}
	return "the remote access has ended: " + string(e.Cause)
}

// Conn is one end of a flow. Read, Write and CloseWrite may be called at the same time,
// from one goroutine each.
type Conn struct {
	ws     *websocket.Conn
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc

	message io.Reader // owned by Read; nil: between two
	ended   error     // owned by Read; what every further Read gives

	mu       sync.Mutex
	sentEnd  bool      // guarded by mu
	gotEnd   bool      // guarded by mu
	writeBy  time.Time // guarded by mu; zero: no bound
	readStop *time.Timer
}

// New makes an end of a flow of a WebSocket that nobody else uses. limit bounds a message
// that comes, in bytes.
func New(ws *websocket.Conn, limit int64) *Conn {
	ws.SetReadLimit(limit)
	c := &Conn{ws: ws}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Read reads what the other end has written; io.EOF after its end.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for c.ended == nil {
		if c.message == nil {
			c.ended = c.next()
			continue
		}
		n, err := c.message.Read(p)
		if errors.Is(err, io.EOF) {
			c.message, err = nil, nil
		}
		if err != nil {
			c.ended = reason(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, c.ended
}

// next waits for a message that is not empty.
func (c *Conn) next() error {
	kind, r, err := c.ws.Reader(c.ctx)
	if err != nil {
		return reason(err)
	}
	if kind != websocket.MessageBinary {
		return errors.New("a message of a flow is not binary")
	}
	first := make([]byte, 1)
	switch _, err := io.ReadFull(r, first); {
	case errors.Is(err, io.EOF):
		c.mu.Lock()
		c.gotEnd = true
		c.mu.Unlock()
		return io.EOF
	case err != nil:
		return reason(err)
	}
	c.message = io.MultiReader(strings.NewReader(string(first)), r)
	return nil
}

// Write sends p.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.mu.Lock()
	ended, by := c.sentEnd, c.writeBy
	c.mu.Unlock()
	if ended {
		return 0, net.ErrClosed
	}
	ctx := c.ctx
	if !by.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, by)
		defer cancel()
	}
	for len(p) > 0 {
		part := p[:min(len(p), MaxMessage)]
		if err := c.ws.Write(ctx, websocket.MessageBinary, part); err != nil {
			return n, reason(err)
		}
		n += len(part)
		p = p[len(part):]
	}
	return n, nil
}

// CloseWrite ends the direction to the other end.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	done := c.sentEnd
	c.sentEnd = true
	c.mu.Unlock()
	if done {
		return nil
	}
	return reason(c.ws.Write(c.ctx, websocket.MessageBinary, nil))
}

// Close ends the flow: in an orderly way where both directions have ended.
func (c *Conn) Close() error {
	c.mu.Lock()
	orderly := c.sentEnd && c.gotEnd
	c.mu.Unlock()
	defer c.cancel()
	if orderly {
		_ = c.ws.Close(websocket.StatusNormalClosure, "") // the other end may have been faster
		return nil
	}
	_ = c.ws.CloseNow()
	return nil
}

// Reset gives the flow up.
func (c *Conn) Reset(tunnel.Code) { _ = c.Close() }

// End ends the flow and says why: err is an [EndedError], or one with a number; others
// stand for [tunnel.CodeReset].
func (c *Conn) End(err error) {
	text := tunnel.CodeReset.String()
	if e, ok := errors.AsType[*EndedError](err); ok {
		text = strings.TrimSpace("ended " + string(e.Cause))
	} else if e, ok := errors.AsType[*tunnel.Error](err); ok {
		text = e.Code.String()
	}
	_ = c.ws.Close(StatusEnded, text) // the other end may have gone
	c.cancel()
}

// reason makes the error of a close of what the other end has said.
func reason(err error) error {
	var ce websocket.CloseError
	if err == nil || !errors.As(err, &ce) {
		return err
	}
	switch {
	case ce.Code == websocket.StatusNormalClosure: // whose end message has not come: it was no end
		return io.ErrUnexpectedEOF
	case ce.Code != StatusEnded:
		return fmt.Errorf("the gateway closes the flow: %d %q", ce.Code, ce.Reason)
	}
	if cause, ok := strings.CutPrefix(ce.Reason, "ended"); ok {
		e := &EndedError{Cause: grant.Cause(strings.TrimSpace(cause))}
		if !e.Cause.Valid() {
			e.Cause = ""
		}
		return e
	}
	number, ok := strings.CutPrefix(ce.Reason, "AUER-")
	if n, err := strconv.ParseUint(number, 10, 16); ok && err == nil {
		return tunnel.Errorf(tunnel.Code(n), "at the far end")
	}
	return tunnel.Errorf(tunnel.CodeReset, "at the far end")
}

type addr struct{}

func (addr) Network() string { return "websocket" }
func (addr) String() string  { return Subprotocol }

// LocalAddr is a name and no address.
func (c *Conn) LocalAddr() net.Addr { return addr{} }

// RemoteAddr is a name and no address.
func (c *Conn) RemoteAddr() net.Addr { return addr{} }

// SetDeadline is that of both.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline ends the flow at t, as nothing can be read afterwards.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readStop != nil {
		c.readStop.Stop()
	}
	if !t.IsZero() {
		c.readStop = time.AfterFunc(time.Until(t), c.cancel)
	}
	return nil
}

// SetWriteDeadline bounds the writes that begin from now on; one that it interrupts ends
// the flow.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeBy = t
	return nil
}
