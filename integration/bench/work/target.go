package work

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// The first byte of a connection says what the target does with it.
const (
	cmdEcho = 'e' // send back what comes
	cmdDown = 'd' // send until the connection ends
	cmdUp   = 'u' // read and count
)

// bulkBuffer is the size of reads and writes of bulk work, on both ends.
const bulkBuffer = 256 << 10

// Target is the local server that every way leads to. Make it with [NewTarget].
type Target struct {
	ln       *net.TCPListener
	received atomic.Int64 // bytes of cmdUp
	active   atomic.Int64 // connections
}

// NewTarget listens on a free port of a loopback address.
func NewTarget(host string) (*Target, error) {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.ParseIP(host)})
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	return &Target{ln: ln}, nil
}

// Addr is "host:port".
func (t *Target) Addr() string { return t.ln.Addr().String() }

// Run serves until ctx ends, and ends every connection then.
func (t *Target) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = t.ln.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := t.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("target: %w", err)
		}
		t.active.Add(1)
		wg.Go(func() {
			defer t.active.Add(-1)
			end := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer end()
			t.serve(c)
			_ = c.Close()
		})
	}
}

// serve ends with the connection; the client sees what is missing.
func (t *Target) serve(c net.Conn) {
	buf := make([]byte, 4<<10)
	n, err := c.Read(buf)
	if err != nil {
		return
	}
	switch buf[0] {
	case cmdEcho:
		for rest := buf[1:n]; err == nil; rest = buf[:n] {
			if len(rest) > 0 {
				if _, err = c.Write(rest); err != nil {
					return
				}
			}
			n, err = c.Read(buf)
		}
	case cmdDown:
		chunk := make([]byte, bulkBuffer)
		for err == nil {
			_, err = c.Write(chunk)
		}
	case cmdUp:
		t.received.Add(int64(n - 1))
		chunk := make([]byte, bulkBuffer)
		for err == nil {
			n, err = c.Read(chunk)
			t.received.Add(int64(n))
		}
	}
}

// settle waits until no connection is left.
func (t *Target) settle(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for t.active.Load() > 0 {
		select {
		case <-tick.C:
		case <-late.C:
			return fmt.Errorf("%d connections to the target are left %s after the clients closed theirs", t.active.Load(), patience)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
