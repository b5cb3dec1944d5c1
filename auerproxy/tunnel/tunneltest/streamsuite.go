package tunneltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// much is more than any session takes of a stream that nobody reads. It is never
// written to.
var much = make([]byte, 16<<20)

// random gives n bytes that depend on nothing but the seed.
func random(seed uint64, n int) []byte {
	p := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = rng.Read(p) // never fails
	return p
}

func testHalfClose(t *testing.T, from, to tunnel.Session) {
	a, b := Streams(t, from, to)
	for _, ends := range [][2]tunnel.Stream{{a, b}, {b, a}} {
		write(t, ends[0], []byte("all of it"))
		if err := ends[0].CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := ends[0].CloseWrite(); err != nil {
			t.Errorf("second CloseWrite: %v", err)
		}
		_, err := ends[0].Write([]byte("more"))
		wantClosed(t, "write after CloseWrite", err)
		wantNext(t, ends[1], "all of it")
		wantEOF(t, ends[1])
	}
	for _, st := range []tunnel.Stream{a, b} {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}

func testCloseDelivers(t *testing.T, from, to tunnel.Session) {
	for i := range 20 {
		a, b := Streams(t, from, to)
		if i%2 == 1 {
			a, b = b, a
		}
		want := random(uint64(i), 200<<10)
		write(t, a, want)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		a.Reset(tunnel.CodeInternal) // after Close it does nothing
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("stream %d: %d bytes, %v, want %d", i, len(got), err, len(want))
		}
		_ = b.Close()
	}
}

func testCloseStopsThePeer(t *testing.T, from, to tunnel.Session) {
	a, b := Streams(t, from, to)
	for range 2 {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	_, err := b.Read(make([]byte, 1))
	wantClosed(t, "own read", err)
	_, err = b.Write(make([]byte, 1))
	wantClosed(t, "own write", err)
	wantEOF(t, a)
	within(t, "write to a closed stream", func() {
		for err = nil; err == nil; {
			_, err = a.Write(make([]byte, 1000))
		}
	})
	wantCode(t, "peer's write", err, tunnel.CodeCancelled, true)
	wantCode(t, "peer's CloseWrite", a.CloseWrite(), tunnel.CodeCancelled, true)
	if err := a.Close(); err != nil {
		t.Errorf("close of a stopped stream: %v", err)
	}
}

// blocked starts a read and a write that cannot end by themselves, and gives what
// they return once they do.
func blocked(st tunnel.Stream) (read, written <-chan error) {
	r, w := make(chan error, 1), make(chan error, 1)
	started := make(chan struct{})
	go func() {
		started <- struct{}{}
		_, err := io.Copy(io.Discard, st)
		r <- err
	}()
	go func() {
		started <- struct{}{}
		_, err := st.Write(much)
		w <- err
	}()
	<-started
	<-started
	return r, w
}

func testCloseUnblocks(t *testing.T, from, to tunnel.Session) {
	a, b := Streams(t, from, to)
	read, written := blocked(a)
	wantSome(t, b)
	if err := a.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	within(t, "blocked calls", func() {
		wantClosed(t, "read", <-read)
		wantClosed(t, "write", <-written)
	})
	_ = b.Close()
}

// wantSome reads one byte: the peer's write has begun.
func wantSome(t *testing.T, st tunnel.Stream) {
	t.Helper()
	if _, err := st.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func testReset(t *testing.T, from, to tunnel.Session, byAcceptor bool) {
	a, b := Streams(t, from, to)
	if byAcceptor {
		a, b = b, a
	}
	read, written := blocked(a)
	peerRead, peerWritten := make(chan error, 1), make(chan error, 1)
	wantSome(t, b)
	go func() {
		_, err := b.Write(much)
		peerWritten <- err
	}()
	a.Reset(tunnel.CodeSlowReader)
	a.Reset(tunnel.CodeInternal) // only the first counts
	go func() {
		_, err := io.Copy(io.Discard, b)
		peerRead <- err
	}()
	within(t, "blocked calls", func() {
		wantCode(t, "own read", <-read, tunnel.CodeSlowReader, false)
		wantCode(t, "own write", <-written, tunnel.CodeSlowReader, false)
		wantCode(t, "peer's read", <-peerRead, tunnel.CodeSlowReader, true)
		wantCode(t, "peer's write", <-peerWritten, tunnel.CodeSlowReader, true)
	})
	_, err := b.Read(make([]byte, 1))
	wantCode(t, "peer's next read", err, tunnel.CodeSlowReader, true)
	_, err = b.Write(make([]byte, 1))
	wantCode(t, "peer's next write", err, tunnel.CodeSlowReader, true)
	wantCode(t, "peer's CloseWrite", b.CloseWrite(), tunnel.CodeSlowReader, true)
	wantCode(t, "own CloseWrite", a.CloseWrite(), tunnel.CodeSlowReader, false)
	for _, st := range []tunnel.Stream{a, b} {
		if err := st.Close(); err != nil {
			t.Errorf("close after reset: %v", err)
		}
	}
}

func testResetBeforeAccept(t *testing.T, from, to tunnel.Session) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const n = 20
	for range n {
		st, err := from.Open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		write(t, st, []byte("lost"))
		st.Reset(tunnel.CodeRateLimited)
	}
	for range n {
		st, err := to.Accept(ctx)
		if err != nil {
			t.Fatal(err)
		}
		within(t, "read of a reset stream", func() {
			_, err = io.Copy(io.Discard, st)
		})
		wantCode(t, "read", err, tunnel.CodeRateLimited, true)
		_, err = st.Write([]byte("x"))
		wantCode(t, "write", err, tunnel.CodeRateLimited, true)
		_ = st.Close()
	}
}

// testResetIsNoEnd cuts flows that could look complete: each byte of one is there,
// but for the end.
func testResetIsNoEnd(t *testing.T, from, to tunnel.Session) {
	for i := range 200 {
		a, b := Streams(t, from, to)
		cut, other := a, b
		if i%2 == 1 {
			cut, other = b, a
		}
		read := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, other)
			read <- err
		}()
		write(t, cut, []byte("looks complete"))
		cut.Reset(tunnel.CodeStreamIdle)
		within(t, "read", func() { wantCode(t, "read of a cut flow", <-read, tunnel.CodeStreamIdle, true) })
		_ = other.Close()
	}
}

func testDeadlines(t *testing.T, from, to tunnel.Session) {
	a, b := Streams(t, from, to)
	past := time.Unix(1, 0)
	timedOut := func(what string, n int, err error) {
		t.Helper()
		ne, ok := err.(interface{ Timeout() bool }) // bare, as callers of net.Conn assert it
		if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !ok || !ne.Timeout() {
			t.Errorf("%s past its deadline: %d bytes, %v", what, n, err)
		}
	}
	_ = a.SetDeadline(past)
	n, err := a.Write([]byte("x"))
	timedOut("write", n, err)
	n, err = a.Read(make([]byte, 1))
	timedOut("read", n, err)
	_ = a.SetDeadline(time.Time{})
	write(t, a, []byte("works"))
	wantNext(t, b, "works")

	// A read that waits already sees a new deadline.
	read := make(chan error, 1)
	go func() {
		_, err := a.Read(make([]byte, 1))
		read <- err
	}()
	_ = a.SetReadDeadline(past)
	within(t, "read", func() { timedOut("waiting read", 0, <-read) })
	_ = a.SetReadDeadline(time.Time{})
	write(t, b, []byte("again"))
	wantNext(t, a, "again")
}

func testFlowControl(t *testing.T, from, to tunnel.Session) {
	a, b := Streams(t, from, to)
	want := random(1, 10<<20)
	_ = a.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	n, err := a.Write(want)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("nobody reads, and a write of %d bytes returns %d, %v", len(want), n, err)
	}
	if n == 0 || n >= len(want) {
		t.Errorf("%d bytes written, want some and not all", n)
	}
	_ = a.SetWriteDeadline(time.Time{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := a.Write(want[n:]); err != nil {
			t.Errorf("the rest: %v", err)
		}
		_ = a.CloseWrite()
	})
	within(t, "the rest", func() {
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v, want the %d bytes sent", len(got), err, len(want))
		}
	})
	wg.Wait()
}

func testFullDuplex(t *testing.T, from, to tunnel.Session) {
	a, b := Streams(t, from, to)
	var wg sync.WaitGroup
	for i, st := range []tunnel.Stream{a, b} {
		wg.Go(func() {
			if _, err := st.Write(random(uint64(i), 2<<20)); err != nil {
				t.Error(err)
			}
			_ = st.CloseWrite()
		})
		wg.Go(func() {
			got, err := io.ReadAll(st)
			if err != nil || !bytes.Equal(got, random(uint64(1-i), 2<<20)) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	within(t, "both directions", wg.Wait)
}

func testSlowReaders(t *testing.T, from, to tunnel.Session) {
	const n = 16
	var wg sync.WaitGroup
	for range n {
		a, b := Streams(t, from, to)
		deadline := time.Now().Add(500 * time.Millisecond)
		for _, st := range []tunnel.Stream{a, b} {
			wg.Go(func() {
				_ = st.SetWriteDeadline(deadline)
				if _, err := st.Write(much); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("nobody reads, and the write ends with %v", err)
				}
			})
		}
	}
	wg.Wait()
	a, b := Streams(t, from, to)
	within(t, "a stream beside full ones", func() {
		for i := range 100 {
			s := fmt.Sprint("ping ", i)
			write(t, a, []byte(s))
			wantNext(t, b, s)
			write(t, b, []byte(s))
			wantNext(t, a, s)
		}
	})
}

// testDeadStreams ends streams in mid-bulk, with unread data in them, in each way
// that there is, and uses another stream meanwhile.
func testDeadStreams(t *testing.T, from, to tunnel.Session) {
	kills := []func(reader, writer tunnel.Stream){
		func(r, _ tunnel.Stream) { r.Reset(tunnel.CodeReset) },
		func(r, _ tunnel.Stream) { _ = r.Close() },
		func(_, w tunnel.Stream) { w.Reset(tunnel.CodeReset) },
		func(r, w tunnel.Stream) { _, _ = w.Close(), r.Close() },
	}
	a, b := Streams(t, from, to)
	for i := range 10 * len(kills) {
		var writes sync.WaitGroup
		var dead []tunnel.Stream
		for j := range 4 {
			r, w := Streams(t, from, to)
			if j%2 == 1 {
				r, w = w, r
			}
			writes.Go(func() {
				if n, err := w.Write(much); err == nil {
					t.Errorf("nobody reads, and a write of %d bytes succeeds", n)
				}
			})
			wantSome(t, r)
			kills[i%len(kills)](r, w)
			dead = append(dead, r, w)
		}
		within(t, "a stream beside dead ones", func() {
			write(t, a, []byte("ping"))
			wantNext(t, b, "ping")
			write(t, b, []byte("pong"))
			wantNext(t, a, "pong")
		})
		within(t, "writes to dead streams", writes.Wait)
		for _, st := range dead {
			_ = st.Close()
		}
	}
}
