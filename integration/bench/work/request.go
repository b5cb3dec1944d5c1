package work

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// size is how many bytes a request has, and its answer.
const size = 64

var errWrong = errors.New("the answer is not what was sent")

// question is the request; the first one of a connection begins with the command.
var question = append([]byte{cmdEcho}, bytes.Repeat([]byte("0123456789abcdef"), size/16)...)

// ask makes a request; the first one of a connection says that echo is wanted.
func ask(c net.Conn, first bool, buf []byte) error {
	q := question[1:]
	if first {
		q = question
	}
	if _, err := c.Write(q); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, buf); err != nil {
		return err
	}
	if !bytes.Equal(buf, question[1:]) {
		return errWrong
	}
	return nil
}

func askFirst(c net.Conn) error { return ask(c, true, make([]byte, size)) }

// requests makes request after request on each connection.
func (r *run) requests(ctx context.Context) error {
	conns, err := r.dialAll(ctx, askFirst)
	if err != nil {
		return err
	}
	defer closeAll(conns)
	if err := r.begin(); err != nil {
		return err
	}
	began := time.Now()
	end := began.Add(r.Duration)
	var ops atomic.Int64
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			buf := make([]byte, size)
			for at, first := time.Now(), true; (first || at.Before(end)) && ctx.Err() == nil; first = false {
				if err := ask(c, false, buf); err != nil {
					r.failed(err)
					return
				}
				now := time.Now()
				r.histogram.Add(now.Sub(at))
				ops.Add(1)
				at = now
			}
		})
	}
	wg.Wait()
	r.result.Elapsed, r.result.Ops = time.Since(began), ops.Load()
	return errors.Join(ctx.Err(), r.end())
}

const (
	// maxOpens bounds an open work: each connection leaves two ports in TIME_WAIT for
	// a minute, that of the client and that of the device, and there are 28,000
	// (net.ipv4.ip_local_port_range) for a program that binds before it connects.
	maxOpens = 3000
	// maxErrors ends an open work that does nothing but fail.
	maxErrors = 100
)

// opens connects, asks once and closes, again and again.
func (r *run) opens(ctx context.Context) error {
	if err := r.begin(); err != nil {
		return err
	}
	began := time.Now()
	end := began.Add(r.Duration)
	var begun, ops, errs atomic.Int64
	var wg sync.WaitGroup
	for range r.Work.Conns {
		wg.Go(func() {
			buf := make([]byte, size)
			more := func() bool { return begun.Add(1) <= maxOpens && errs.Load() < maxErrors && ctx.Err() == nil }
			for at, first := time.Now(), true; (first || at.Before(end)) && more(); at, first = time.Now(), false {
				if err := r.openOne(ctx, buf); err != nil {
					errs.Add(1)
					r.failed(err)
					continue
				}
				r.histogram.Add(time.Since(at))
				ops.Add(1)
			}
		})
	}
	wg.Wait()
	r.result.Elapsed, r.result.Ops = time.Since(began), ops.Load()
	return errors.Join(ctx.Err(), r.end())
}

func (r *run) openOne(ctx context.Context, buf []byte) error {
	c, err := r.dial(ctx)
	if err != nil {
		return err
	}
	return errors.Join(ask(c, true, buf), c.Close())
}

// settle is how long the process in the middle is left alone before each reading of
// memory, so that neither counts what passes: the start of one, and the opening of the
// other.
const settle = 3 * time.Second

// idle opens connections and leaves them alone; the memory is read before and
// after.
func (r *run) idle(ctx context.Context) error {
	rest := r.Duration
	if r.Meter != nil {
		rest = max(rest, settle)
		if err := wait(ctx, rest); err != nil {
			return err
		}
	}
	if err := r.begin(); err != nil {
		return err
	}
	began := time.Now()
	conns, err := r.dialAll(ctx, askFirst)
	if err != nil {
		return err
	}
	defer closeAll(conns)
	if err := wait(ctx, rest); err != nil {
		return err
	}
	r.result.Elapsed, r.result.Ops = time.Since(began), int64(len(conns))
	return r.end()
}
