package quictun_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
)

const (
	// patience is how long something may take that must happen.
	patience = time.Minute
	// bound is how long something may take that must not wait for the peer, on a
	// busy machine. Waiting for the peer would take MaxIdleTimeout, 45 s.
	bound = 5 * time.Second
)

func wantEnd(t *testing.T, s tunnel.Session, code tunnel.Code) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(patience):
		t.Fatal("the session goes on")
	}
	if tunnel.CodeOf(s.Err()) != code {
		t.Errorf("the session ended with %v, want %s", s.Err(), code)
	}
}

// TestFullStreamsStallNobody fills all streams but one that a session admits, and
// uses the last. With a connection window below their sum it would wait.
func TestFullStreamsStallNobody(t *testing.T) {
	t.Parallel()
	const limit, window = 24, 64 << 10
	for _, tt := range []struct {
		name   string
		window uint64
		stalls bool
	}{{"default", 0, false}, {"too small (positive control)", 4 * window, true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client, server := tunneltest.Pair(t, tunneltest.Options{Transport: tunnel.QUIC, QUIC: quictun.Config{
				MaxIncomingStreams: limit, StreamWindow: window, MaxStreamWindow: window, ConnectionWindow: tt.window,
			}})
			var last [2]tunnel.Stream
			last[0], last[1] = tunneltest.Streams(t, client, server)
			var wg sync.WaitGroup
			for range limit - 1 {
				st, err := client.Open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				wg.Go(func() {
					_ = st.SetWriteDeadline(time.Now().Add(time.Second))
					if _, err := st.Write(make([]byte, 10*window)); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("nobody reads, and the write ends with %v", err)
					}
				})
			}
			wg.Wait()
			go func() { _, _ = last[0].Write(make([]byte, 1000)) }()
			wait := patience
			if tt.stalls {
				wait = 500 * time.Millisecond
			}
			_ = last[1].SetReadDeadline(time.Now().Add(wait))
			_, err := io.ReadFull(last[1], make([]byte, 1000))
			if (err != nil) != tt.stalls {
				t.Errorf("the stream beside full ones: %v", err)
			}
		})
	}
}

// TestHalfOfAReset holds back the second of a reset's two frames, as a network may:
// the first, once read, ends both directions, also for a Write that waits.
func TestHalfOfAReset(t *testing.T) {
	t.Parallel()
	client, server := tunneltest.Pair(t, tunneltest.Options{Transport: tunnel.QUIC})
	a, b := tunneltest.Streams(t, client, server)
	written := make(chan error, 1)
	go func() {
		_, err := b.Write(make([]byte, 64<<20))
		written <- err
	}()
	if _, err := a.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	quictun.CancelWrite(a, tunnel.CodeSlowReader)
	_, read := io.Copy(io.Discard, b)
	_ = b.SetWriteDeadline(time.Now().Add(patience))
	_, next := b.Write([]byte("x"))
	for what, err := range map[string]error{
		"read": read, "waiting write": <-written, "next write": next, "CloseWrite": b.CloseWrite(),
	} {
		e, ok := errors.AsType[*tunnel.Error](err)
		if !ok || e.Code != tunnel.CodeSlowReader || !e.Remote {
			t.Errorf("%s: %v, want the peer's %s", what, err, tunnel.CodeSlowReader)
		}
	}
}

func TestStreamLimitWaits(t *testing.T) {
	t.Parallel()
	const limit = 4
	client, server := tunneltest.Pair(t, tunneltest.Options{Transport: tunnel.QUIC, QUIC: quictun.Config{MaxIncomingStreams: limit}})
	var a, b tunnel.Stream
	for range limit {
		a, b = tunneltest.Streams(t, client, server)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Open(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("open beyond the limit: %v", err)
	}
	_ = a.Close()
	_ = b.Close()
	tunneltest.Streams(t, client, server)
}

func TestSilenceEndsTheSession(t *testing.T) {
	t.Parallel()
	var p *tunneltest.UDPProxy
	client, server := tunneltest.Pair(t, tunneltest.Options{
		Transport: tunnel.QUIC, QUIC: quictun.Config{MaxIdleTimeout: 2 * time.Second},
		Via: func(addr string) string {
			p = tunneltest.NewUDPProxy(t, addr)
			return p.Addr()
		},
	})
	a, _ := tunneltest.Streams(t, client, server)
	p.Block(true)
	read := make(chan error, 1)
	go func() {
		_, err := a.Read(make([]byte, 1))
		read <- err
	}()
	wantEnd(t, client, tunnel.CodeHeartbeatLost)
	wantEnd(t, server, tunnel.CodeHeartbeatLost)
	err := <-read
	if tunnel.CodeOf(err) != tunnel.CodeSessionLost || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the read ended with %v", err)
	}
}

func TestVanishedPeerDelaysNoClose(t *testing.T) {
	t.Parallel()
	var p *tunneltest.UDPProxy
	client, server := tunneltest.Pair(t, tunneltest.Options{Transport: tunnel.QUIC, Via: func(addr string) string {
		p = tunneltest.NewUDPProxy(t, addr)
		return p.Addr()
	}})
	a, _ := tunneltest.Streams(t, client, server)
	p.Block(true)
	go func() { _, _ = io.Copy(a, endless{}) }()
	start := time.Now()
	_ = a.Close()
	_ = client.CloseWithError(tunnel.CodeShutdown, "")
	_ = server.CloseWithError(tunnel.CodeShutdown, "")
	if d := time.Since(start); d > bound {
		t.Errorf("closing took %v", d)
	}
}

// endless is a source of zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestRestartedPeer: a relay that comes back at its old address does not know its
// sessions, and says so to the first packet that is long enough (RFC 9000 §10.3.3).
func TestRestartedPeer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		key  *[32]byte
	}{{"with a key", &[32]byte{1, 2, 3}}, {"without (positive control)", nil}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := listen(t, quictun.Config{StatelessResetKey: tt.key, MaxIdleTimeout: time.Hour})
			client, server := tunneltest.Connect(t, p.dialer(quictun.Config{MaxIdleTimeout: time.Hour}), p.ln, p.ln.Addr().String())
			a, _ := tunneltest.Streams(t, client, server)
			addr, err := net.ResolveUDPAddr("udp", p.ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_ = p.ln.Shutdown() // without a word, like a crash
			pc, err := net.ListenUDP("udp", addr)
			if err != nil {
				t.Fatal(err)
			}
			p.serve(t, pc, quictun.Config{StatelessResetKey: tt.key})
			heartbeat := make([]byte, 40)
			wait := time.After(patience)
			if tt.key == nil {
				wait = time.After(time.Second)
			}
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				_, _ = a.Write(heartbeat)
				select {
				case <-client.Done():
					if tt.key == nil {
						t.Errorf("the session ended with %v", client.Err())
					} else {
						wantEnd(t, client, tunnel.CodeSessionLost)
					}
					return
				case <-wait:
					if tt.key != nil {
						t.Error("the client did not notice the restart")
					}
					_ = client.CloseWithError(tunnel.CodeShutdown, "")
					return
				case <-tick.C:
				}
			}
		})
	}
}

func TestSharedSocket(t *testing.T) {
	t.Parallel()
	p := listen(t, quictun.Config{})
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: pc}
	defer func() {
		_ = tr.Close()
		_ = pc.Close()
	}()
	d := p.dialer(quictun.Config{})
	d.Transport = tr
	first, firstServer := tunneltest.Connect(t, d, p.ln, p.ln.Addr().String())
	second, secondServer := tunneltest.Connect(t, d, p.ln, p.ln.Addr().String())
	_ = first.CloseWithError(tunnel.CodeShutdown, "")
	wantEnd(t, firstServer, tunnel.CodeShutdown)
	tunneltest.Streams(t, second, secondServer) // the socket is still there
	_ = second.CloseWithError(tunnel.CodeShutdown, "")
}
