package tunnel

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
)

// Short names for the messages; their fields are documented in tunnel.proto.
type (
	Hello    = tunnelpb.Hello
	Welcome  = tunnelpb.Welcome
	Frame    = tunnelpb.Control
	Preamble = tunnelpb.Preamble
	OpenAck  = tunnelpb.OpenAck
	Hop      = tunnelpb.Hop
)

// IDLen is the length of an instance id, boot id, session id and request id.
const IDLen = 16

// Control is the control stream of a session. Send may be called by several
// goroutines, Receive by one.
type Control struct {
	stream Stream

	mu    sync.Mutex // serialises writes
	first [1]byte    // owned by Receive and Await
	begun bool       // owned by Receive and Await; first has been read
}

// controlWriteTimeout bounds the write of one frame: a peer that does not even
// read its control stream is as good as gone.
const controlWriteTimeout = 10 * time.Second

// Send writes one frame.
func (c *Control) Send(f *Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.stream.SetWriteDeadline(time.Now().Add(controlWriteTimeout)); err != nil {
		return err
	}
	return writeMessage(c.stream, f, MaxControlSize)
}

// Receive waits for the next frame, until the deadline set by SetReadDeadline.
func (c *Control) Receive() (*Frame, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	c.begun = false
	f := new(Frame)
	if err := readBegun(c.stream, c.first[0], f, MaxControlSize); err != nil {
		return nil, err
	}
	return f, nil
}

// begin waits for the first byte of a frame: with one byte of buffer, and few calls
// deep, so that the smallest stack is enough for the wait.
func (c *Control) begin() error {
	for !c.begun {
		n, err := c.stream.Read(c.first[:])
		if n > 0 {
			break // an error comes again
		}
		if err != nil {
			return err
		}
	}
	c.begun = true
	return nil
}

// Await has f called once, in another goroutine, when Receive has something to say. It
// reports false, and f is never called, where it has already. Until f is called nobody
// may call Receive. A wait costs what the stream's does where that is an [Awaiter], and
// a goroutine of a small stack where it is not. It may end at the read deadline, too.
func (c *Control) Await(f func()) bool {
	if a, ok := c.stream.(Awaiter); ok {
		return a.Await(f)
	}
	go func() {
		_ = c.begin() // an error comes again
		f()
	}()
	return true
}

// SetReadDeadline bounds Receive; the zero time lifts the bound.
func (c *Control) SetReadDeadline(t time.Time) error { return c.stream.SetReadDeadline(t) }

// Connect runs the dialling side's handshake: it opens the control stream, sends
// hello and waits for the answer. A refusal is an *Error with Remote set and the
// peer's retry-after. Version and MinVersion of hello are filled in. On error the
// session is closed.
func Connect(ctx context.Context, s Session, hello *Hello) (*Control, *Welcome, error) {
	c, w, err := connect(ctx, s, hello)
	if err != nil {
		err = sessionEnd(s, err)
		if ctx.Err() != nil && !isRefusal(err) {
			err = Errorf(CodeHandshakeTimeout, "no welcome from %s: %w", s.Peer(), ctx.Err())
		}
		_ = s.CloseWithError(CodeOf(err), "handshake failed")
		return nil, nil, err
	}
	return c, w, nil
}

// sessionEnd is the end of the session where the handshake failed by it: that says
// more than the failed read.
func sessionEnd(s Session, err error) error {
	if isRefusal(err) {
		return err
	}
	if serr := s.Err(); serr != nil {
		return serr
	}
	return UnderStream(err)
}

// UnderStream gives the end of the session where err is that of a stream which ended
// with it, and err itself otherwise. A stream may learn of the end before the session's
// Err does.
func UnderStream(err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Code == CodeSessionLost {
		if cause, ok := errors.AsType[*Error](e.Cause); ok {
			return cause
		}
	}
	return err
}

func isRefusal(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Remote
}

func connect(ctx context.Context, s Session, hello *Hello) (*Control, *Welcome, error) {
	st, err := s.Open(ctx)
	if err != nil {
		return nil, nil, err
	}
	c := &Control{stream: st}
	stop := interrupt(ctx, st)
	w, err := c.greet(hello)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	return c, w, err
}

// greet sends hello and waits for the answer.
func (c *Control) greet(hello *Hello) (*Welcome, error) {
	hello.Version, hello.MinVersion = Version, MinVersion
	if err := c.Send(&Frame{Frame: &tunnelpb.Control_Hello{Hello: hello}}); err != nil {
		return nil, err
	}
	for {
		f, err := c.Receive()
		if err != nil {
			return nil, err
		}
		switch f := f.GetFrame().(type) {
		case *tunnelpb.Control_Welcome:
			w := f.Welcome
			if w.GetVersion() < MinVersion || w.GetVersion() > Version {
				return nil, Errorf(CodeVersion, "peer speaks version %d, this side %d to %d", w.GetVersion(), MinVersion, Version)
			}
			if len(w.GetSession()) != IDLen {
				return nil, Errorf(CodeProtocol, "welcome.session has %d bytes, want %d", len(w.GetSession()), IDLen)
			}
			return w, nil
		case *tunnelpb.Control_Refused:
			r := f.Refused
			return nil, &Error{
				Code: Code(r.GetCode()), Message: r.GetMessage(), Remote: true,
				RetryAfterMin: time.Duration(r.GetRetryAfterMinMs()) * time.Millisecond,
				RetryAfterMax: time.Duration(r.GetRetryAfterMaxMs()) * time.Millisecond,
			}
		}
	}
}

// AcceptHello runs the first half of the accepting side's handshake: it waits for
// the control stream and its hello, and checks it. On error the session is closed
// with the error's code. The caller answers with [Control.Welcome] or
// [Control.Refuse].
func AcceptHello(ctx context.Context, s Session) (*Control, *Hello, error) {
	c, h, err := acceptHello(ctx, s)
	if err != nil {
		if ctx.Err() != nil && s.Err() == nil {
			err = Errorf(CodeHandshakeTimeout, "no hello from %s: %w", s.Peer(), ctx.Err())
		}
		if c != nil && s.Err() == nil {
			c.Refuse(s, err)
		} else {
			_ = s.CloseWithError(CodeOf(err), "handshake failed")
		}
		return nil, nil, err
	}
	return c, h, nil
}

func acceptHello(ctx context.Context, s Session) (*Control, *Hello, error) {
	st, err := s.Accept(ctx)
	if err != nil {
		return nil, nil, err
	}
	c := &Control{stream: st}
	stop := interrupt(ctx, st)
	f, err := c.Receive()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return c, nil, err
	}
	h := f.GetHello()
	switch {
	case h == nil:
		return c, nil, Errorf(CodeProtocol, "the first frame is not a hello")
	case h.GetVersion() < MinVersion || h.GetMinVersion() > Version:
		return c, nil, Errorf(CodeVersion, "peer speaks %d to %d, this side %d to %d", h.GetMinVersion(), h.GetVersion(), MinVersion, Version)
	case len(h.GetInstanceId()) != IDLen:
		return c, nil, Errorf(CodeProtocol, "hello.instance_id has %d bytes, want %d", len(h.GetInstanceId()), IDLen)
	case len(h.GetBootId()) != IDLen:
		return c, nil, Errorf(CodeProtocol, "hello.boot_id has %d bytes, want %d", len(h.GetBootId()), IDLen)
	}
	return c, h, nil
}

// Welcome answers a hello; the session carries streams from now on. The version
// is filled in.
func (c *Control) Welcome(w *Welcome) error {
	w.Version = Version
	return c.Send(&Frame{Frame: &tunnelpb.Control_Welcome{Welcome: w}})
}

// Refuse answers a hello with err's code and message, waits until the peer has
// seen it, at most a second, and closes the session.
func (c *Control) Refuse(s Session, err error) {
	e := asError(err)
	r := &tunnelpb.Refused{
		Code: uint32(e.Code), Message: e.Message,
		RetryAfterMinMs: millis(e.RetryAfterMin), RetryAfterMaxMs: millis(e.RetryAfterMax),
	}
	if c.Send(&Frame{Frame: &tunnelpb.Control_Refused{Refused: r}}) == nil && c.stream.CloseWrite() == nil {
		// The peer closes the session when it has read the refusal; closing first
		// could overtake it.
		t := time.NewTimer(time.Second)
		defer t.Stop()
		select {
		case <-s.Done():
		case <-t.C:
		}
	}
	_ = s.CloseWithError(e.Code, e.Message)
}

// asError gives any error a number. The text of an error without one is not
// shown to the peer.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeOf(err), Cause: err}
}

func millis(d time.Duration) uint32 {
	return uint32(min(max(d.Milliseconds(), 0), 1<<32-1)) //nolint:gosec // bounded in the same line
}

// interrupt makes reads and writes on st fail when ctx ends, until stop is called.
// Stop reports whether it was in time, so that st works as before.
func interrupt(ctx context.Context, st Stream) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = st.SetDeadline(time.Unix(1, 0)) })
}
