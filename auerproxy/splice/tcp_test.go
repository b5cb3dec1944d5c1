package splice_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// tcpPair is a TCP connection over loopback.
func tcpPair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// joinTCP starts a splice between two connections, and gives their other ends.
func joinTCP(t testing.TB, o splice.Options) (a, b *net.TCPConn, result <-chan splice.Result) {
	t.Helper()
	a, x := tcpPair(t)
	b, y := tcpPair(t)
	res := make(chan splice.Result, 1)
	go func() { res <- splice.JoinTCP(x, y, o) }()
	return a, b, res
}

func TestTCPCarriesBothWays(t *testing.T) {
	t.Parallel()
	var ab, ba atomic.Int64
	a, b, res := joinTCP(t, splice.Options{AtoB: &ab, BtoA: &ba})
	up, down := make([]byte, 3<<20+7), make([]byte, 1<<20+1)
	for i := range up {
		up[i] = byte(rand.Uint32())
	}
	copy(down, up)
	for _, side := range []struct {
		conn *net.TCPConn
		data []byte
	}{{a, up}, {b, down}} {
		go func() {
			_, _ = side.conn.Write(side.data)
			_ = side.conn.CloseWrite()
		}()
	}
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, up) {
		t.Errorf("%d bytes up, %v", len(got), err)
	}
	got, err = io.ReadAll(a)
	if err != nil || !bytes.Equal(got, down) {
		t.Errorf("%d bytes down, %v", len(got), err)
	}
	r := <-res
	if r.Reason != tunnel.CodeOK || r.AtoB != int64(len(up)) || r.BtoA != int64(len(down)) || ab.Load() != r.AtoB || ba.Load() != r.BtoA {
		t.Errorf("%+v, live %d and %d", r, ab.Load(), ba.Load())
	}
}

// TestTCPEndOfOneDirection: an answer comes after the end of the question.
func TestTCPEndOfOneDirection(t *testing.T) {
	t.Parallel()
	a, b, res := joinTCP(t, splice.Options{})
	_ = a.CloseWrite()
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("the end arrives as %v", err)
	}
	_, _ = b.Write([]byte("answer"))
	_ = b.CloseWrite()
	if got, err := io.ReadAll(a); err != nil || string(got) != "answer" {
		t.Errorf("%q, %v", got, err)
	}
	if r := <-res; r.Reason != tunnel.CodeOK {
		t.Errorf("%+v", r)
	}
}

// TestTCPBreakIsNoEnd: a connection that breaks does not look complete to the
// other side.
func TestTCPBreakIsNoEnd(t *testing.T) {
	t.Parallel()
	a, b, res := joinTCP(t, splice.Options{})
	_ = a.SetLinger(0)
	_ = a.Close()
	if _, err := io.ReadAll(b); err == nil {
		t.Error("the break of one side is the end for the other")
	}
	if r := <-res; r.Reason != tunnel.CodeReset {
		t.Errorf("%+v", r)
	}
}

func TestTCPLimits(t *testing.T) {
	t.Parallel()
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		a, _, res := joinTCP(t, splice.Options{IdleTimeout: 50 * time.Millisecond})
		if r := <-res; r.Reason != tunnel.CodeStreamIdle {
			t.Errorf("%+v", r)
		}
		if _, err := a.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the cut arrives as %v", err)
		}
	})
	t.Run("slow reader", func(t *testing.T) {
		t.Parallel()
		a, _, res := joinTCP(t, splice.Options{WriteTimeout: 50 * time.Millisecond})
		go func() { _, _ = io.Copy(a, endless{}) }()
		if r := <-res; r.Reason != tunnel.CodeSlowReader {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a pause is no end", func(t *testing.T) {
		t.Parallel()
		// The read deadline passes many times before the bytes come.
		a, b, res := joinTCP(t, splice.Options{IdleTimeout: -1, WriteTimeout: -1, HalfClosedTimeout: time.Millisecond})
		_ = b.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
		if _, err := b.Read(make([]byte, 1)); err == nil {
			t.Fatal("a byte from nowhere")
		}
		_ = b.SetReadDeadline(time.Time{})
		_, _ = a.Write([]byte("late"))
		if _, err := io.ReadFull(b, make([]byte, 4)); err != nil {
			t.Error(err)
		}
		_, _ = a.Close(), b.Close()
		<-res
	})
	t.Run("rate", func(t *testing.T) {
		t.Parallel()
		var asked atomic.Int64
		limiter := rate.NewLimiter(rate.Inf, splice.MaxChunk)
		a, b, res := joinTCP(t, splice.Options{LimitAtoB: limiter.WaitN, AtoB: &asked})
		go func() {
			_, _ = a.Write(make([]byte, 1<<20))
			_ = a.CloseWrite()
		}()
		if n, err := io.Copy(io.Discard, b); n != 1<<20 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		_ = b.CloseWrite()
		if r := <-res; r.Reason != tunnel.CodeOK {
			t.Errorf("%+v", r)
		}
	})
}

// endless is a source that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
