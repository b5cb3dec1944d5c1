package gateway

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
)

// half is a connection that notes the end of its sending direction.
type half struct {
	net.Conn
	ended bool
}

func (h *half) CloseWrite() error { h.ended = true; return nil }

// given is a listener with the connections that it was made with.
type given struct {
	net.Listener
	conns []net.Conn
	times int
}

func (g *given) Accept() (net.Conn, error) {
	if g.times == len(g.conns) {
		return nil, net.ErrClosed
	}
	g.times++
	return g.conns[g.times-1], nil
}

// TestLimit: no more connections than there may be, and they can end one direction where
// the listener's can.
func TestLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		whole, plain := &half{Conn: a}, b
		inner := &given{conns: []net.Conn{whole, plain}}
		ln := (&Gateway{cfg: Config{Limits: Limits{Connections: 1}}}).Limit(inner)
		first, err := ln.Accept()
		must(t, err)
		h, ok := first.(halfCloser)
		if !ok {
			t.Fatal("it cannot end one direction")
		}
		if must(t, h.CloseWrite()); !whole.ended {
			t.Error("it has not ended one direction")
		}
		second := make(chan net.Conn)
		go func() {
			c, err := ln.Accept()
			if err != nil {
				t.Error(err)
			}
			second <- c
		}()
		synctest.Wait()
		if inner.times != 1 {
			t.Errorf("%d connections, want 1", inner.times)
		}
		must(t, first.Close())
		c := <-second
		if _, ok := c.(halfCloser); ok {
			t.Error("this one cannot end one direction")
		}
		must(t, c.Close())
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}
