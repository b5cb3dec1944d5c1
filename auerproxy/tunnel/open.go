package tunnel

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"time"
)

// MaxHops is how often a stream may be forwarded from relay to relay.
const MaxHops = 1

// NewID makes a random id of [IDLen] bytes.
func NewID() []byte {
	b := make([]byte, IDLen)
	_, _ = rand.Read(b) // crypto/rand never fails since Go 1.24
	return b
}

// Open opens a stream, sends the preamble and waits for the open-ack, at most
// until ctx ends. TimeoutMs is filled in from ctx's deadline and RequestId where
// it is empty. An error is an *Error; [Retryable] says whether the call can have
// reached the device.
func Open(ctx context.Context, s Session, p *Preamble) (Stream, *OpenAck, error) {
	if len(p.GetRequestId()) == 0 {
		p.RequestId = NewID()
	}
	if d, ok := ctx.Deadline(); ok {
		left := time.Until(d)
		if left <= 0 {
			return nil, nil, Errorf(CodeOpenTimeout, "the deadline had passed before the open: %w", context.DeadlineExceeded)
		}
		p.TimeoutMs = max(millis(left), 1)
	}
	st, err := s.Open(ctx)
	if err != nil {
		return nil, nil, openError(ctx, s, err, false)
	}
	ack, err := exchange(ctx, st, p)
	if err != nil {
		code := CodeCancelled
		if ctx.Err() == nil {
			code = CodeOf(err)
		}
		st.Reset(code)
		return nil, nil, openError(ctx, s, err, true)
	}
	if c := Code(ack.GetCode()); c != CodeOK {
		_ = st.Close()
		return nil, ack, &Error{
			Code: c, Message: ack.GetMessage(), Remote: true,
			RetryAfterMin: time.Duration(ack.GetRetryAfterMinMs()) * time.Millisecond,
			RetryAfterMax: time.Duration(ack.GetRetryAfterMaxMs()) * time.Millisecond,
		}
	}
	return st, ack, nil
}

// exchange sends the preamble and reads the open-ack.
func exchange(ctx context.Context, st Stream, p *Preamble) (ack *OpenAck, err error) {
	stop := interrupt(ctx, st)
	if err = writeMessage(st, p, MaxPreambleSize); err == nil {
		ack = new(OpenAck)
		err = readMessage(st, ack, MaxPreambleSize)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	return ack, err
}

// openError turns what went wrong during an open into a numbered error. sent says
// whether the preamble may have left this side. An open-ack is the only proof that the call reached the device; its absence after
// the session's end is [CodeTunnelGone], since a device starts nothing before it
// has sent the ack.
func openError(ctx context.Context, s Session, err error, sent bool) error {
	if !sent && s.Err() != nil {
		// Whatever the session ended for, this call was not part of it.
		return Errorf(CodeTunnelGone, "%w", s.Err())
	}
	if _, ok := errors.AsType[*Error](err); ok && CodeOf(err) < CodeReset {
		return err
	}
	switch {
	case s.Err() != nil:
		return Errorf(CodeTunnelGone, "%w", s.Err())
	case errors.Is(ctx.Err(), context.Canceled):
		return Errorf(CodeCancelled, "%w", ctx.Err())
	case ctx.Err() != nil && !sent:
		return Errorf(CodeTooManyStreams, "no stream became free in time: %w", ctx.Err())
	case ctx.Err() != nil:
		return Errorf(CodeOpenTimeout, "%w", ctx.Err())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), CodeOf(err) >= CodeReset:
		return Errorf(CodeTunnelGone, "the stream ended before the open-ack: %w", err)
	default:
		return Errorf(CodeInternal, "%w", err)
	}
}

// ReadPreamble reads the preamble of a stream that the peer opened, and checks
// it; timeout bounds the wait for its last byte. On error the caller answers with
// [Refuse].
func ReadPreamble(st Stream, timeout time.Duration) (*Preamble, error) {
	if err := st.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	p := new(Preamble)
	if err := readMessage(st, p, MaxPreambleSize); err != nil {
		return nil, err
	}
	switch {
	case len(p.GetRequestId()) != IDLen:
		return nil, Errorf(CodeProtocol, "preamble.request_id has %d bytes, want %d", len(p.GetRequestId()), IDLen)
	case p.GetHop() > MaxHops:
		return nil, Errorf(CodeHopLimit, "hop %d, at most %d", p.GetHop(), MaxHops)
	}
	return p, st.SetReadDeadline(time.Time{})
}

// WriteAck sends an open-ack that opens the stream.
func WriteAck(st Stream, hops ...*Hop) error {
	return WriteOpenAck(st, &OpenAck{Hops: hops})
}

// WriteOpenAck sends any open-ack.
func WriteOpenAck(st Stream, ack *OpenAck) error {
	return writeMessage(st, ack, MaxPreambleSize)
}

// refuseWriteTimeout bounds the write of a refusal.
const refuseWriteTimeout = 5 * time.Second

// Refuse answers a preamble with err's code and public message, and closes the
// stream.
func Refuse(st Stream, err error) {
	e := asError(err)
	ack := &OpenAck{
		Code: uint32(e.Code), Message: e.Message,
		RetryAfterMinMs: millis(e.RetryAfterMin), RetryAfterMaxMs: millis(e.RetryAfterMax),
	}
	_ = st.SetWriteDeadline(time.Now().Add(refuseWriteTimeout))
	if werr := writeMessage(st, ack, MaxPreambleSize); werr != nil {
		st.Reset(e.Code)
		return
	}
	_ = st.Close()
}
