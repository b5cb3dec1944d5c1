package tunneltest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

func testManyStreams(t *testing.T, from, to tunnel.Session) {
	const n = 1000
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all, opened sync.WaitGroup
	opened.Add(n)
	all.Go(func() {
		for range n {
			b, err := to.Accept(ctx)
			if err != nil {
				t.Errorf("accept: %v", err)
				return
			}
			all.Go(func() {
				_, _ = io.Copy(b, b)
				_ = b.Close()
			})
		}
	})
	for i := range n {
		all.Go(func() {
			a, err := from.Open(ctx)
			if err != nil {
				opened.Done()
				t.Errorf("open: %v", err)
				return
			}
			defer func() { _ = a.Close() }()
			p := binary.BigEndian.AppendUint64(nil, uint64(i)) //nolint:gosec // an index
			_, err = a.Write(p)
			opened.Done()
			opened.Wait() // all of them are open at once
			if err != nil {
				t.Errorf("write: %v", err)
				return
			}
			_ = a.CloseWrite()
			got, err := io.ReadAll(a)
			if err != nil || string(got) != string(p) {
				t.Errorf("stream %d: %x, %v", i, got, err)
			}
		})
	}
	within(t, "many streams", all.Wait)
}

func testOrder(t *testing.T, from, to tunnel.Session) {
	const n = 50
	for i := range n {
		st, err := from.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		write(t, st, []byte{byte(i)})
	}
	for i := range n {
		st, err := to.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wantNext(t, st, string([]byte{byte(i)}))
	}
}

// testChurn ends streams in every way, more than may be open at once.
func testChurn(t *testing.T, from, to tunnel.Session) {
	const n = 1200
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			b, err := to.Accept(ctx)
			if err != nil {
				t.Errorf("accept %d: %v", i, err)
				return
			}
			var how [1]byte
			_, err = io.ReadFull(b, how[:])
			switch how[0] {
			case 1: // nothing read, nothing said
			case 2:
				b.Reset(tunnel.CodeReset)
			case 3:
				_, _ = io.Copy(b, b)
			case 4:
				_, _ = b.Write(make([]byte, 4096))
				_ = b.CloseWrite()
				_, _ = io.Copy(io.Discard, b)
			default:
				if err == nil {
					t.Errorf("stream %d: unknown way %d", i, how[0])
				}
			}
			_ = b.Close()
		}
	})
	for i := range n {
		a, err := from.Open(ctx)
		if err != nil {
			t.Errorf("open %d: %v", i, err)
			break
		}
		way := byte(i%5) + 1
		if way == 5 {
			// The acceptor may see the byte, or only the reset.
			_, _ = a.Write([]byte{1})
			a.Reset(tunnel.CodeCancelled)
			continue
		}
		_, _ = a.Write([]byte{way, 'x'})
		switch way {
		case 3:
			_ = a.CloseWrite()
			if got, err := io.ReadAll(a); err != nil || string(got) != "x" {
				t.Errorf("stream %d: %q, %v", i, got, err)
			}
		case 4:
			_, _ = io.Copy(io.Discard, a)
		}
		_ = a.Close()
	}
	within(t, "accepting side", wg.Wait)
}

func testCloseWithError(t *testing.T, from, to tunnel.Session) {
	a, b := Streams(t, from, to)
	if err := from.Err(); err != nil {
		t.Errorf("Err of a living session: %v", err)
	}
	start := time.Now()
	if err := from.CloseWithError(tunnel.CodeKicked, "by the operator"); err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d > 5*time.Second { // on a busy machine
		t.Errorf("it took %v, want at most about 1 s", d)
	}
	for _, s := range []tunnel.Session{from, to} {
		select {
		case <-s.Done():
		case <-time.After(patience):
			t.Fatal("Done is not closed")
		}
	}
	wantCode(t, "own Err", from.Err(), tunnel.CodeKicked, false)
	wantCode(t, "peer's Err", to.Err(), tunnel.CodeKicked, true)
	if e, ok := errors.AsType[*tunnel.Error](to.Err()); !ok || e.Message != "by the operator" {
		t.Errorf("peer's Err: %v, without the reason", to.Err())
	}
	for name, st := range map[string]tunnel.Stream{"own": a, "peer's": b} {
		_, err := st.Read(make([]byte, 1))
		wantCode(t, name+" read", err, tunnel.CodeSessionLost, false)
		if !errors.Is(err, &tunnel.Error{Code: tunnel.CodeSessionLost}) || !strings.Contains(err.Error(), "AUER-1206") {
			t.Errorf("%s read: %v does not name the reason", name, err)
		}
		_, err = st.Write(make([]byte, 1))
		wantCode(t, name+" write", err, tunnel.CodeSessionLost, false)
		wantCode(t, name+" CloseWrite", st.CloseWrite(), tunnel.CodeSessionLost, false)
		st.Reset(tunnel.CodeReset)
		_ = st.Close()
	}
	for name, s := range map[string]tunnel.Session{"own": from, "peer's": to} {
		remote := name != "own"
		_, err := s.Open(t.Context())
		wantCode(t, name+" Open", err, tunnel.CodeKicked, remote)
		_, err = s.Accept(t.Context())
		wantCode(t, name+" Accept", err, tunnel.CodeKicked, remote)
	}
}

func testCloseWithErrorUnblocks(t *testing.T, from, to tunnel.Session) {
	a, b := Streams(t, from, to)
	read, written := blocked(a)
	wantSome(t, b)
	peerRead := make(chan error, 1)
	go func() {
		// What has arrived may still be read.
		for {
			if _, err := b.Read(make([]byte, 1<<20)); err != nil {
				peerRead <- err
				return
			}
		}
	}()
	accepted := make(chan error, 2)
	for _, s := range []tunnel.Session{from, to} {
		go func() {
			_, err := s.Accept(context.Background())
			accepted <- err
		}()
	}
	if err := to.CloseWithError(tunnel.CodeDraining, ""); err != nil {
		t.Error(err)
	}
	within(t, "blocked calls", func() {
		wantCode(t, "read", <-read, tunnel.CodeSessionLost, false)
		wantCode(t, "write", <-written, tunnel.CodeSessionLost, false)
		wantCode(t, "peer's read", <-peerRead, tunnel.CodeSessionLost, false)
		for range 2 {
			if err := <-accepted; tunnel.CodeOf(err) != tunnel.CodeDraining {
				t.Errorf("accept: %v", err)
			}
		}
	})
}

func testCloseWithErrorTwice(t *testing.T, from, to tunnel.Session) {
	if err := from.CloseWithError(tunnel.CodeKicked, "first"); err != nil {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { _ = from.CloseWithError(tunnel.CodeInternal, "later") })
		wg.Go(func() { _ = to.CloseWithError(tunnel.CodeInternal, "later") })
	}
	within(t, "later calls", wg.Wait)
	wantCode(t, "own Err", from.Err(), tunnel.CodeKicked, false)
	<-to.Done()
	if e, ok := errors.AsType[*tunnel.Error](to.Err()); !ok || e.Code != tunnel.CodeKicked && e.Remote {
		t.Errorf("peer's Err: %v", to.Err())
	}
}

func testBothClose(t *testing.T, from, to tunnel.Session) {
	var wg sync.WaitGroup
	for _, s := range []tunnel.Session{from, to} {
		for range 3 {
			wg.Go(func() { _ = s.CloseWithError(tunnel.CodeShutdown, "") })
		}
	}
	within(t, "both", wg.Wait)
	for _, s := range []tunnel.Session{from, to} {
		if c := tunnel.CodeOf(s.Err()); c != tunnel.CodeShutdown {
			t.Errorf("Err: %v", s.Err())
		}
	}
}

func testLongReason(t *testing.T, from, to tunnel.Session) {
	if err := from.CloseWithError(tunnel.CodeInternal, strings.Repeat("ä", 64<<10)); err != nil {
		t.Error(err)
	}
	within(t, "the end", func() { <-to.Done() })
	wantCode(t, "peer's Err", to.Err(), tunnel.CodeInternal, true)
	if e, ok := errors.AsType[*tunnel.Error](to.Err()); ok && !strings.HasPrefix(e.Message, strings.Repeat("ä", 100)) {
		t.Errorf("reason %.300q", e.Message)
	}
}

func testAcceptCancel(t *testing.T, from, to tunnel.Session) {
	cause := errors.New("enough")
	for _, early := range []bool{true, false} {
		ctx, cancel := context.WithCancelCause(t.Context())
		if early {
			cancel(cause)
		}
		accepted := make(chan error, 1)
		go func() {
			_, err := to.Accept(ctx)
			accepted <- err
		}()
		cancel(cause)
		within(t, "accept", func() {
			if err := <-accepted; !errors.Is(err, cause) {
				t.Errorf("accept: %v, want the context's cause", err)
			}
		})
	}
	a, b := Streams(t, from, to)
	write(t, a, []byte("still works"))
	wantNext(t, b, "still works")
}

func testOpenCancel(t *testing.T, from, to tunnel.Session) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if st, err := from.Open(ctx); err == nil {
		// Allowed: a stream was free.
		_ = st.Close()
	} else if !errors.Is(err, cause) {
		t.Errorf("open: %v, want the context's cause", err)
	}
	// The peer accepts nothing: opens end with their context, and cost nothing else.
	for range 300 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		st, err := from.Open(ctx)
		cancel()
		if err != nil {
			break
		}
		_ = st.Close()
	}
	go func() {
		for {
			st, err := to.Accept(context.Background())
			if err != nil {
				return
			}
			_ = st.Close()
		}
	}()
	opened := make(chan error, 1)
	go func() {
		st, err := from.Open(t.Context())
		if err == nil {
			_ = st.Close()
		}
		opened <- err
	}()
	within(t, "open once the peer accepts", func() {
		if err := <-opened; err != nil {
			t.Errorf("open: %v", err)
		}
	})
}

// testConcurrent calls everything at once; the race detector and the contract's
// "may be called at the same time" are the test.
func testConcurrent(t *testing.T, from, to tunnel.Session) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var open, accept sync.WaitGroup
	for _, s := range []tunnel.Session{from, to} {
		for g := range 4 {
			open.Go(func() {
				for i := range 100 {
					st, err := s.Open(ctx)
					if err != nil {
						t.Errorf("open: %v", err)
						return
					}
					abuse(st, rand.New(rand.NewPCG(uint64(g), uint64(i)))) //nolint:gosec // a test
				}
			})
			accept.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(g), 1<<32)) //nolint:gosec // a test
				for {
					st, err := s.Accept(ctx)
					if err != nil {
						return
					}
					abuse(st, rng)
					_, _, _, _, _ = s.Peer(), s.LocalAddr(), s.RemoteAddr(), s.Err(), s.Transport()
				}
			})
		}
	}
	within(t, "everything at once", func() {
		open.Wait()
		cancel()
		accept.Wait()
	})
	if from.Err() != nil || to.Err() != nil {
		t.Errorf("the sessions ended: %v, %v", from.Err(), to.Err())
	}
}

// abuse calls a stream's methods side by side and closes it.
func abuse(st tunnel.Stream, rng *rand.Rand) {
	var wg sync.WaitGroup
	deadline := time.Now().Add(time.Duration(rng.IntN(5)) * time.Millisecond)
	wg.Go(func() { _, _ = st.Write(make([]byte, 10<<10)) })
	wg.Go(func() { _, _ = st.Read(make([]byte, 10<<10)) })
	wg.Go(func() { _ = st.SetDeadline(deadline) })
	switch rng.IntN(4) {
	case 0:
		wg.Go(func() { st.Reset(tunnel.CodeReset) })
	case 1:
		wg.Go(func() { _ = st.Close() })
	case 2:
		wg.Go(func() { _ = st.CloseWrite() })
	}
	wg.Wait()
	_ = st.Close()
}
