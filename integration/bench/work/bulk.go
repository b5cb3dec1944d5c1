package work

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

var errStill = fmt.Errorf("no byte came for %s", patience)

// dial connects, and bounds all that the connection does.
func (r *run) dial(ctx context.Context) (net.Conn, error) {
	c, err := r.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(r.Duration + 2*patience))
}

func (r *run) dialTCP(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: patience, KeepAlive: -1}
	d.SetMultipathTCP(false)
	return d.DialContext(ctx, "tcp", r.Entry)
}

// dialAll opens the connections of the work, each ready to be measured.
func (r *run) dialAll(ctx context.Context, first func(net.Conn) error) ([]net.Conn, error) {
	conns := make([]net.Conn, r.Work.Conns)
	for i := range conns {
		c, err := r.dial(ctx)
		if err == nil {
			conns[i] = c
			err = first(c)
		}
		if err != nil {
			closeAll(conns)
			return nil, err
		}
	}
	return conns, nil
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
}

// wait waits for the end of the measured time.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bulk moves bytes in one direction over all connections.
func (r *run) bulk(ctx context.Context) error {
	command, counter := byte(cmdUp), &r.Target.received
	move := net.Conn.Write
	if r.Work.Kind == Down {
		command, counter, move = cmdDown, new(atomic.Int64), net.Conn.Read
	}
	conns, err := r.dialAll(ctx, func(c net.Conn) error {
		if _, err := c.Write([]byte{command}); err != nil {
			return err
		}
		_, err := move(c, make([]byte, 1))
		return err
	})
	if err != nil {
		return err
	}
	var stopping atomic.Bool
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			buf := make([]byte, bulkBuffer)
			for {
				n, err := move(c, buf)
				if r.Work.Kind == Down {
					counter.Add(int64(n))
				}
				if err != nil {
					if !stopping.Load() {
						r.failed(err)
					}
					return
				}
			}
		})
	}
	// Windows grow at first.
	err = wait(ctx, r.Duration/8)
	if err == nil {
		err = r.begin()
	}
	began, bytes := time.Now(), counter.Load()
	if err == nil {
		err = wait(ctx, r.Duration)
	}
	// A starved machine can stand still for longer than a short measurement; that is
	// a low figure, no failure, and a connection that stands still for good is one.
	for limit := began.Add(r.Duration + patience); err == nil && counter.Load() == bytes && time.Now().Before(limit); {
		err = wait(ctx, time.Millisecond)
	}
	r.result.Elapsed, r.result.Bytes = time.Since(began), counter.Load()-bytes
	if err == nil && r.result.Bytes == 0 {
		r.failed(errStill) // no error of a connection tells, and it is no slow answer
	}
	if err == nil {
		err = r.end()
	}
	stopping.Store(true)
	closeAll(conns)
	wg.Wait()
	return err
}
