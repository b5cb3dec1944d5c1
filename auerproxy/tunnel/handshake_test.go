package tunnel_test

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
)

// patience is how long something may take that must happen.
const patience = time.Minute

// onEach runs a test on a pair of sessions of each transport.
func onEach(t *testing.T, test func(t *testing.T, client, server tunnel.Session)) {
	t.Helper()
	for _, tr := range []tunnel.Transport{tunnel.QUIC, tunnel.TCP} {
		t.Run(string(tr), func(t *testing.T) {
			t.Parallel()
			client, server := tunneltest.Pair(t, tunneltest.Options{Transport: tr})
			test(t, client, server)
		})
	}
}

func hello() *tunnel.Hello {
	return &tunnel.Hello{InstanceId: tunnel.NewID(), BootId: tunnel.NewID(), Services: []string{"web", "ssh"}}
}

func limit(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// connect runs Connect beside the test.
func connect(ctx context.Context, s tunnel.Session, h *tunnel.Hello) <-chan connected {
	ch := make(chan connected, 1)
	go func() {
		c, w, err := tunnel.Connect(ctx, s, h)
		ch <- connected{c, w, err}
	}()
	return ch
}

type connected struct {
	control *tunnel.Control
	welcome *tunnel.Welcome
	err     error
}

func TestWelcome(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, client, server tunnel.Session) {
		sent := hello()
		ctx, cancel := context.WithCancel(limit(t, patience))
		ch := connect(ctx, client, sent)
		control, h, err := tunnel.AcceptHello(ctx, server)
		if err != nil {
			t.Fatal(err)
		}
		if string(h.GetInstanceId()) != string(sent.GetInstanceId()) || strings.Join(h.GetServices(), " ") != "web ssh" || h.GetVersion() != tunnel.Version {
			t.Errorf("hello arrives as %v", h)
		}
		id := tunnel.NewID()
		if err := control.Welcome(&tunnel.Welcome{Session: id, Epoch: 7, Relay: "relay/r1", HeartbeatMs: 20000}); err != nil {
			t.Fatal(err)
		}
		got := <-ch
		if got.err != nil || string(got.welcome.GetSession()) != string(id) || got.welcome.GetEpoch() != 7 {
			t.Fatalf("welcome arrives as %v, %v", got.welcome, got.err)
		}

		// The end of the handshake's context means nothing to the control streams.
		cancel()
		var wg sync.WaitGroup
		const n = 20
		for i := range uint64(n) {
			wg.Go(func() {
				if err := got.control.Send(&tunnel.Frame{Frame: &tunnelpb.Control_Probe{Probe: &tunnelpb.Probe{Nonce: i}}}); err != nil {
					t.Error(err)
				}
			})
		}
		seen := make(map[uint64]bool)
		for range n {
			f, err := control.Receive()
			if err != nil {
				t.Fatal(err)
			}
			seen[f.GetProbe().GetNonce()] = true
		}
		wg.Wait()
		if len(seen) != n {
			t.Errorf("%d of %d frames arrived whole", len(seen), n)
		}
		_ = control.SetReadDeadline(time.Unix(1, 0))
		if _, err := control.Receive(); err == nil {
			t.Error("a deadline does not end Receive")
		}
	})
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, client, server tunnel.Session) {
		ch := connect(limit(t, patience), client, hello())
		control, _, err := tunnel.AcceptHello(limit(t, patience), server)
		if err != nil {
			t.Fatal(err)
		}
		cause := errors.New("not for the peer")
		control.Refuse(server, &tunnel.Error{
			Code: tunnel.CodeTryLater, Message: "full", Cause: cause, RetryAfterMin: time.Second, RetryAfterMax: 3 * time.Second,
		})
		got := <-ch
		e, ok := errors.AsType[*tunnel.Error](got.err)
		if !ok || e.Code != tunnel.CodeTryLater || !e.Remote || e.Message != "full" || e.RetryAfterMin != time.Second || e.RetryAfterMax != 3*time.Second {
			t.Errorf("the client sees %#v", got.err)
		}
		for range 100 {
			if d := e.RetryAfter(); d < time.Second || d >= 3*time.Second {
				t.Fatalf("RetryAfter() = %v", d)
			}
		}
		<-client.Done()
		<-server.Done()
	})
}

func TestBadHello(t *testing.T) {
	t.Parallel()
	short := func(change func(*tunnel.Hello)) *tunnel.Frame {
		h := hello()
		h.Version, h.MinVersion = tunnel.Version, tunnel.MinVersion
		change(h)
		return &tunnel.Frame{Frame: &tunnelpb.Control_Hello{Hello: h}}
	}
	for name, tt := range map[string]struct {
		bytes []byte
		want  tunnel.Code
	}{
		"too old":            {frame(short(func(h *tunnel.Hello) { h.Version, h.MinVersion = 0, 0 })), tunnel.CodeVersion},
		"too new":            {frame(short(func(h *tunnel.Hello) { h.Version, h.MinVersion = 9, 9 })), tunnel.CodeVersion},
		"no instance":        {frame(short(func(h *tunnel.Hello) { h.InstanceId = nil })), tunnel.CodeProtocol},
		"short boot id":      {frame(short(func(h *tunnel.Hello) { h.BootId = h.BootId[1:] })), tunnel.CodeProtocol},
		"another frame":      {frame(&tunnel.Frame{Frame: &tunnelpb.Control_Probe{Probe: &tunnelpb.Probe{}}}), tunnel.CodeProtocol},
		"garbage":            {[]byte{3, 0xff, 0xff, 0xff}, tunnel.CodeProtocol},
		"endless length":     {[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, tunnel.CodeProtocol},
		"longer than agreed": {binary.AppendUvarint(nil, tunnel.MaxControlSize+1), tunnel.CodeMessageTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, client, server tunnel.Session) {
				st, err := client.Open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := st.Write(tt.bytes); err != nil {
					t.Fatal(err)
				}
				_, _, err = tunnel.AcceptHello(limit(t, patience), server)
				if tunnel.CodeOf(err) != tt.want {
					t.Errorf("%v, want %s", err, tt.want)
				}
				<-client.Done()
				if tunnel.CodeOf(client.Err()) != tt.want {
					t.Errorf("the client's session ends with %v", client.Err())
				}
			})
		})
	}
}

func TestBadWelcome(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		welcome *tunnel.Welcome
		want    tunnel.Code
	}{
		"version":                 {&tunnel.Welcome{Version: 99, Session: tunnel.NewID()}, tunnel.CodeVersion},
		"session":                 {&tunnel.Welcome{Version: tunnel.Version, Session: []byte("short")}, tunnel.CodeProtocol},
		"good (positive control)": {&tunnel.Welcome{Version: tunnel.Version, Session: tunnel.NewID()}, tunnel.CodeOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := tunneltest.Pair(t, tunneltest.Options{})
			ch := connect(limit(t, patience), client, hello())
			control, _, err := tunnel.AcceptHello(limit(t, patience), server)
			if err != nil {
				t.Fatal(err)
			}
			// A frame that this side does not know comes first; it is ignored.
			_ = control.Send(&tunnel.Frame{})
			_ = control.Send(&tunnel.Frame{Frame: &tunnelpb.Control_Welcome{Welcome: tt.welcome}})
			if got := <-ch; tunnel.CodeOf(got.err) != tt.want {
				t.Errorf("%v, want %s", got.err, tt.want)
			}
		})
	}
}

func TestHandshakeTimeouts(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, client, server tunnel.Session) {
		_, _, err := tunnel.AcceptHello(limit(t, 50*time.Millisecond), server)
		if tunnel.CodeOf(err) != tunnel.CodeHandshakeTimeout {
			t.Errorf("no hello: %v", err)
		}
		<-client.Done()
		if tunnel.CodeOf(client.Err()) != tunnel.CodeHandshakeTimeout {
			t.Errorf("the client's session ends with %v", client.Err())
		}
	})
	onEach(t, func(t *testing.T, client, server tunnel.Session) {
		_, _, err := tunnel.Connect(limit(t, 50*time.Millisecond), client, hello())
		if tunnel.CodeOf(err) != tunnel.CodeHandshakeTimeout || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no welcome: %v", err)
		}
		<-server.Done()
	})
	onEach(t, func(t *testing.T, client, server tunnel.Session) {
		ch := connect(limit(t, patience), client, hello())
		if _, err := server.Accept(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = server.CloseWithError(tunnel.CodeDraining, "")
		got := <-ch
		if tunnel.CodeOf(got.err) != tunnel.CodeDraining || !tunnel.Retryable(got.err) {
			t.Errorf("the session ends before the welcome: %v", got.err)
		}
	})
}

// late is a session whose streams learn of its end before Err does, as those of
// quic-go may.
type late struct{ tunnel.Session }

func (late) Err() error { return nil }

func TestEndBeforeWelcomeIsToldByTheStream(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, client, server tunnel.Session) {
		ch := connect(limit(t, patience), late{client}, hello())
		if _, err := server.Accept(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = server.CloseWithError(tunnel.CodeBlocked, "")
		if got := <-ch; tunnel.CodeOf(got.err) != tunnel.CodeBlocked {
			t.Errorf("got %v, want %s", got.err, tunnel.CodeBlocked)
		}
	})
}
