package quictun_test

import (
	"context"
	"io"
	"sync"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
)

// TestUnreadAnswersStallNobody: a side that lets few streams in opens many, and
// reads none of the answers. That was a stall as long as the connection window
// was made for the streams that come in: no other stream of the session went on.
func TestUnreadAnswersStallNobody(t *testing.T) {
	t.Parallel()
	const streams, window = 96, 256 << 10
	p := listen(t, quictun.Config{MaxIncomingStreams: streams + 1})
	client, server := tunneltest.Connect(t, p.dialer(quictun.Config{
		MaxIncomingStreams: 4, StreamWindow: window, MaxStreamWindow: window,
	}), p.ln, p.ln.Addr().String())
	defer func() { _ = client.CloseWithError(tunnel.CodeShutdown, "") }()

	near, far := tunneltest.Streams(t, client, server)
	answers := make([]tunnel.Stream, streams)
	for i := range answers {
		_, answers[i] = tunneltest.Streams(t, client, server)
	}
	done := make(chan struct{})
	context.AfterFunc(limit(t), func() { _ = client.CloseWithError(tunnel.CodeShutdown, "the test hangs") })
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		for _, st := range answers {
			wg.Go(func() {
				// As much as the stream's own window takes, so that nothing but the
				// connection's window can stop it.
				if _, err := st.Write(make([]byte, window-1)); err != nil {
					t.Errorf("an answer that nobody reads: %v", err)
				}
			})
		}
		wg.Wait()
	}()
	<-done
	if _, err := far.Write([]byte("goes on")); err != nil {
		t.Errorf("the stream beside unread ones: %v", err)
	}
	if _, err := io.ReadFull(near, make([]byte, len("goes on"))); err != nil {
		t.Errorf("the stream beside unread ones: %v", err)
	}
}

// TestDeadStreamsGiveCreditBack kills streams in mid-bulk, with unread data in
// them, until they have held the connection window many times over. A kind of end
// that keeps the credit would stop the writes.
func TestDeadStreamsGiveCreditBack(t *testing.T) {
	t.Parallel()
	const window, atOnce, rounds = 64 << 10, 3, 20
	for name, kill := range map[string]func(reader, writer tunnel.Stream){
		"reader resets": func(r, _ tunnel.Stream) { r.Reset(tunnel.CodeReset) },
		"reader closes": func(r, _ tunnel.Stream) { _ = r.Close() },
		"writer resets": func(_, w tunnel.Stream) { w.Reset(tunnel.CodeReset) },
		"reader closes after the writer": func(r, w tunnel.Stream) {
			_ = w.Close()
			_ = r.Close()
		},
		"both reset": func(r, w tunnel.Stream) {
			r.Reset(tunnel.CodeReset)
			w.Reset(tunnel.CodeReset)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := tunneltest.Pair(t, tunneltest.Options{Transport: tunnel.QUIC, QUIC: quictun.Config{
				StreamWindow: window, MaxStreamWindow: window, ConnectionWindow: (atOnce + 1) * window,
			}})
			near, far := tunneltest.Streams(t, client, server)
			context.AfterFunc(limit(t), func() { _ = client.CloseWithError(tunnel.CodeShutdown, "the test hangs") })
			for range rounds {
				var readers, writers []tunnel.Stream
				for range atOnce {
					a, b := tunneltest.Streams(t, client, server)
					readers, writers = append(readers, a), append(writers, b)
					if _, err := b.Write(make([]byte, window-1)); err != nil {
						t.Fatalf("write: %v", err)
					}
				}
				for i, r := range readers {
					kill(r, writers[i])
				}
				if _, err := far.Write([]byte("goes on")); err != nil {
					t.Fatalf("the stream beside dead ones: %v", err)
				}
				if _, err := io.ReadFull(near, make([]byte, len("goes on"))); err != nil {
					t.Fatalf("the stream beside dead ones: %v", err)
				}
				for i, r := range readers {
					_, _ = r.Close(), writers[i].Close()
				}
			}
		})
	}
}

// TestOpenWaitsForAPlace: the connection window is no smaller than what the open
// streams hold because there are no more of them.
func TestOpenWaitsForAPlace(t *testing.T) {
	t.Parallel()
	client, _ := tunneltest.Pair(t, tunneltest.Options{Transport: tunnel.QUIC, QUIC: quictun.Config{MaxOpenStreams: 2}})
	var open []tunnel.Stream
	for range 2 {
		st, err := client.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, st)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Open(ctx); err == nil {
		t.Fatal("a third stream beside two")
	}
	opened := make(chan error, 1)
	go func() {
		_, err := client.Open(limit(t))
		opened <- err
	}()
	open[0].Reset(tunnel.CodeCancelled)
	_ = open[0].Close() // gives the place up no second time
	if err := <-opened; err != nil {
		t.Errorf("open after a reset: %v", err)
	}
	if _, err := client.Open(ctx); err == nil {
		t.Error("a third stream beside two, after one was closed twice")
	}
}

// limit ends long after anything that a test waits for.
func limit(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
