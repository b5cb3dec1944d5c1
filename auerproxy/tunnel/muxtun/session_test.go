package muxtun_test

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// patience is how long something may take that must happen.
const patience = time.Minute

// bound is how long something may take that must not wait for the peer: the
// second that it may take, and more for a busy machine. Waiting for the peer would
// take WriteTimeout, 30 s.
const bound = 5 * time.Second

func TestStreamLimit(t *testing.T) {
	t.Parallel()
	const limit = 8
	client, server := tunneltest.Pair(t, tunneltest.Options{Mux: muxtun.Config{
		MaxIncomingStreams: 1, // overridden by MaxIncoming
		MaxIncoming:        func(identity.ID) int { return limit },
	}})
	var ours, theirs []tunnel.Stream
	for range limit {
		a, b := tunneltest.Streams(t, client, server)
		ours, theirs = append(ours, a), append(theirs, b)
	}
	accepted := make(chan tunnel.Stream, 1)
	go func() {
		st, err := server.Accept(context.Background())
		if err != nil {
			t.Errorf("accept: %v", err)
		}
		accepted <- st
	}()
	over, err := client.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = over.SetReadDeadline(time.Now().Add(patience))
	if _, err := over.Read(make([]byte, 1)); tunnel.CodeOf(err) != tunnel.CodeTooManyStreams {
		t.Errorf("a stream beyond the limit: %v", err)
	}
	_ = over.Close()
	_ = ours[0].Close()
	_ = theirs[0].Close()
	next, err := client.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = next.Write([]byte("x"))
	select {
	case st := <-accepted:
		_, _ = io.ReadFull(st, make([]byte, 1))
	case <-time.After(patience):
		t.Error("no place is free after a close")
	}
}

// stuck gives a pair whose connection takes no byte from the client any more, with
// a stream, and what the first of the writes that wait for it returns.
func stuck(t *testing.T, tr tunnel.Transport, cfg muxtun.Config) (client tunnel.Session, st tunnel.Stream, written <-chan error) {
	t.Helper()
	var p *tunneltest.TCPProxy
	client, server := tunneltest.Pair(t, tunneltest.Options{Transport: tr, Mux: cfg, Via: func(addr string) string {
		p = tunneltest.NewTCPProxy(t, addr)
		return p.Addr()
	}})
	// The windows of the streams together hold more than the kernel's buffers.
	var streams []tunnel.Stream
	for range 32 {
		a, _ := tunneltest.Streams(t, client, server)
		streams = append(streams, a)
	}
	p.Blackhole(true, true)
	ch := make(chan error, len(streams))
	for _, st := range streams[1:] {
		go func() {
			_, err := st.Write(make([]byte, 2<<20))
			ch <- err
		}()
	}
	for failed := 0; failed < 3; failed++ {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := client.Open(ctx)
		cancel()
		if err == nil {
			failed = 0
		}
	}
	return client, streams[0], ch
}

func TestStuckConnectionDelaysNoClose(t *testing.T) {
	t.Parallel()
	for _, tr := range []tunnel.Transport{tunnel.TCP, tunnel.InnerMux} {
		t.Run(string(tr), func(t *testing.T) {
			t.Parallel()
			client, st, _ := stuck(t, tr, muxtun.Config{})
			start := time.Now()
			st.Reset(tunnel.CodeReset)
			_ = st.Close()
			if _, err := client.Open(short(t)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("open: %v", err)
			}
			if d := time.Since(start); d > bound {
				t.Errorf("Reset, Close and Open took %v", d)
			}
			start = time.Now()
			_ = client.CloseWithError(tunnel.CodeShutdown, "")
			if d := time.Since(start); d > bound {
				t.Errorf("CloseWithError took %v, want about 1 s at most", d)
			}
			select {
			case <-client.Done():
			default:
				t.Error("Done is not closed")
			}
		})
	}
}

func short(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestVanishedPeerDelaysNoClose(t *testing.T) {
	t.Parallel()
	var p *tunneltest.TCPProxy
	client, server := tunneltest.Pair(t, tunneltest.Options{Via: func(addr string) string {
		p = tunneltest.NewTCPProxy(t, addr)
		return p.Addr()
	}})
	p.Blackhole(true, true)
	for _, s := range []tunnel.Session{client, server} {
		start := time.Now()
		_ = s.CloseWithError(tunnel.CodeShutdown, "")
		if d := time.Since(start); d > bound {
			t.Errorf("CloseWithError took %v", d)
		}
	}
}

func TestStuckConnectionEndsTheSession(t *testing.T) {
	t.Parallel()
	client, _, written := stuck(t, tunnel.TCP, muxtun.Config{WriteTimeout: time.Second})
	select {
	case <-client.Done():
	case <-time.After(patience):
		t.Fatal("the session lives on a connection that takes nothing")
	}
	if tunnel.CodeOf(client.Err()) != tunnel.CodeHeartbeatLost {
		t.Errorf("it ended with %v", client.Err())
	}
	if err := <-written; tunnel.CodeOf(err) != tunnel.CodeSessionLost || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a write of it ended with %v", err)
	}
}

// TestBusyConnectionLives: many writers on a slow line are no dead connection.
func TestBusyConnectionLives(t *testing.T) {
	t.Parallel()
	client, server := tunneltest.Pair(t, tunneltest.Options{Mux: muxtun.Config{WriteTimeout: 2 * time.Second}})
	var wg sync.WaitGroup
	for range 8 {
		a, b := tunneltest.Streams(t, client, server)
		wg.Go(func() {
			_, err := a.Write(make([]byte, 4<<20))
			if err != nil {
				t.Errorf("write: %v", err)
			}
			_ = a.CloseWrite()
		})
		wg.Go(func() {
			// Nothing is read for longer than WriteTimeout: that is the stream's
			// matter, and not the connection's.
			time.Sleep(2500 * time.Millisecond)
			if n, err := io.Copy(io.Discard, b); n != 4<<20 || err != nil {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
	wg.Wait()
	if client.Err() != nil || server.Err() != nil {
		t.Errorf("the sessions ended: %v, %v", client.Err(), server.Err())
	}
}

func TestCloseReachesABusyPeer(t *testing.T) {
	t.Parallel()
	for range 20 {
		// The windows bound what is ahead of the close.
		client, server, stop := tunneltest.NewPair(t, tunneltest.Options{Mux: muxtun.Config{StreamWindow: 256 << 10}})
		for range 4 {
			a, b := tunneltest.Streams(t, client, server)
			go func() { _, _ = io.Copy(io.Discard, a) }()
			go func() { _, _ = io.Copy(b, endless{}) }()
			go func() { _, _ = io.Copy(a, endless{}) }()
			go func() { _, _ = io.Copy(io.Discard, b) }()
		}
		go func() { _ = server.CloseWithError(tunnel.CodeKicked, "by the operator") }()
		<-client.Done()
		if tunnel.CodeOf(client.Err()) != tunnel.CodeKicked {
			t.Errorf("the peer saw %v", client.Err())
		}
		stop()
	}
}

// endless is a source of zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
