package dial

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func wantCode(t testing.TB, err error, c tunnel.Code) {
	t.Helper()
	if !errors.Is(err, &tunnel.Error{Code: c}) {
		t.Fatalf("error %v, want %v", err, c)
	}
}

// Many calls run in one session with the device: one relay stream, one TLS
// handshake. The connection says who is on the other side.
func TestPooledSession(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	r, dev := newRelay("r1"), newDevice(ca, device)
	r.set(device, dev.answer)
	d, _ := newDialer(t, ca, Config{}, r)

	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			c, err := d.DialContext(t.Context(), device.Serial(), "web")
			if err != nil {
				t.Error(err)
				return
			}
			echo(t, c, "hello")
			_ = c.Close()
		})
	}
	wg.Wait()
	if s, calls, opens := dev.sessions.Load(), dev.calls.Load(), r.opens.Load(); s != 1 || calls != 50 || opens != 1 {
		t.Errorf("%d sessions, %d calls, %d relay streams; want 1, 50, 1", s, calls, opens)
	}
}

func TestConn(t *testing.T) {
	t.Parallel()
	for name, inner := range map[string]Inner{"mux": Mux, "tls": TLS, "raw": Raw} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := pkitest.New(t, td)
			r, dev := newRelay("r1"), newDevice(ca, device)
			r.set(device, dev.answer)
			d, _ := newDialer(t, ca, Config{}, r)
			id := tunnel.NewID()
			c, err := d.Open(t.Context(), Call{
				Target: device, Service: "web", Purpose: "test", RequestID: id, Traceparent: "00-tp", Inner: inner,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			echo(t, c, "hello")
			if c.Peer() != device || c.Caller() != ccc || c.Service() != "web" {
				t.Errorf("peer %v, caller %v, service %q", c.Peer(), c.Caller(), c.Service())
			}
			if got := c.RemoteAddr().String(); got != "device/0123456789/web" {
				t.Errorf("remote address %q", got)
			}
			if got := c.LocalAddr().String(); got != "service/ccc" {
				t.Errorf("local address %q", got)
			}
			if h := c.Hops(); len(h) != 1 {
				t.Errorf("hops %v", h)
			}
			dev.mu.Lock()
			p := dev.last
			dev.mu.Unlock()
			if p.GetPurpose() != "test" || string(p.GetRequestId()) != string(id) || p.GetTraceparent() != "00-tp" {
				t.Errorf("the device got %v", p)
			}
			// Half-close: the end of our direction comes back as the end of the echo.
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("read gives %d, %v; want io.EOF", n, err)
			}
		})
	}
}

// A session is taken only from the device that was asked for.
func TestWrongDevice(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	r := newRelay("r1")
	r.set(device, newDevice(ca, identity.Device(td, "9999999999")).answer) // a relay that lies
	d, _ := newDialer(t, ca, Config{}, r)
	for _, inner := range []Inner{Mux, TLS} {
		_, err := d.Open(t.Context(), Call{Target: device, Service: "web", Inner: inner})
		if err == nil || tunnel.Retryable(err) {
			t.Errorf("inner %d: error %v, want one that ends the search", inner, err)
		}
	}
	// The positive control: the right certificate, the same way.
	r.set(device, newDevice(ca, device).answer)
	c, err := d.DialContext(t.Context(), device.Serial(), "web")
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for want, sentinel := range map[tunnel.Code]error{
		tunnel.CodeNotReachable: ErrOffline, tunnel.CodePolicyDenied: ErrPolicy,
		tunnel.CodeRefusedByDevice: ErrRefusedByDevice, tunnel.CodeServiceUnknown: ErrServiceUnknown,
		tunnel.CodeTargetUnreachable: ErrTargetDown, tunnel.CodeOpenTimeout: ErrTimeout,
	} {
		t.Run(want.Info().Name, func(t *testing.T) {
			t.Parallel()
			ca := pkitest.New(t, td)
			r := newRelay("r1")
			r.set(device, refuse(want))
			d, _ := newDialer(t, ca, Config{}, r)
			c, err := d.DialContext(t.Context(), device.Serial(), "web")
			if c != nil || !errors.Is(err, sentinel) {
				t.Errorf("got %v, %v; want %v", c, err, sentinel)
			}
			// The same number when the device refuses within its session.
			dev := newDevice(ca, device)
			dev.refusal.Store(&tunnel.Error{Code: want})
			r.set(device, dev.answer)
			if _, err := d.DialContext(t.Context(), device.Serial(), "web"); !errors.Is(err, sentinel) {
				t.Errorf("within the session: %v, want %v", err, sentinel)
			}
		})
	}
}

// The next relay is asked only when the answer guarantees that nothing reached
// the device.
func TestNextRelay(t *testing.T) {
	t.Parallel()
	for code, asksNext := range map[tunnel.Code]bool{
		tunnel.CodeNotReachable: true, tunnel.CodeTryLater: true, tunnel.CodeTooManyStreams: true, tunnel.CodeHopLimit: true,
		tunnel.CodePolicyDenied: false, tunnel.CodeRefusedByDevice: false, tunnel.CodeOpenTimeout: false, tunnel.CodeInternal: false,
	} {
		t.Run(code.Info().Name, func(t *testing.T) {
			t.Parallel()
			ca := pkitest.New(t, td)
			a, b, dev := newRelay("a"), newRelay("b"), newDevice(ca, device)
			d, _ := newDialer(t, ca, Config{}, a, b)
			a.set(device, refuse(code))
			b.set(device, dev.answer)
			d.remember(device, d.links[0]) // ask a first
			if err := d.start(); err != nil {
				t.Fatal(err)
			}
			if _, err := d.links[0].get(t.Context()); err != nil {
				t.Fatal(err)
			}
			c, err := d.DialContext(t.Context(), device.Serial(), "web")
			if a.opens.Load() == 0 {
				t.Fatal("relay a was not asked first")
			}
			if !asksNext {
				wantCode(t, err, code)
				if b.opens.Load() != 0 {
					t.Error("relay b was asked")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
			// The second search goes to b at once.
			asked := a.opens.Load()
			dev.kill()
			for range 3 {
				c, err := d.Open(t.Context(), Call{Target: device, Service: "web", Inner: Raw})
				if err != nil {
					t.Fatal(err)
				}
				_ = c.Close()
			}
			if a.opens.Load() != asked {
				t.Error("relay a was asked again though b had the device")
			}
		})
	}
}

func TestMostTellingError(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b tunnel.Code // b 0: the relay is down
		want tunnel.Code
	}{
		{tunnel.CodeNotReachable, 0, tunnel.CodeNotReachable},
		{tunnel.CodeNotReachable, tunnel.CodePolicyDenied, tunnel.CodePolicyDenied},
		{tunnel.CodeTryLater, tunnel.CodeNotReachable, tunnel.CodeNotReachable},
		{tunnel.CodeTryLater, 0, tunnel.CodeTryLater},
		{0, 0, tunnel.CodeUnreachable},
	} {
		ca := pkitest.New(t, td)
		a, b := newRelay("a"), newRelay("b")
		d, n := newDialer(t, ca, Config{}, a, b)
		for addr, r := range map[string]struct {
			*fakeRelay
			code tunnel.Code
		}{"a:1": {a, tt.a}, "b:1": {b, tt.b}} {
			if r.code == 0 {
				n.mu.Lock()
				delete(n.relays, addr)
				n.mu.Unlock()
			}
			r.set(device, refuse(r.code))
		}
		_, err := d.DialContext(t.Context(), device.Serial(), "web")
		wantCode(t, err, tt.want)
	}
}

// A session that died while it was idle costs the next call a new session, not an
// error.
func TestDeadSessionIsReplaced(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	r, dev := newRelay("r1"), newDevice(ca, device)
	r.set(device, dev.answer)
	d, _ := newDialer(t, ca, Config{}, r)
	for i := range 5 {
		c, err := d.DialContext(t.Context(), device.Serial(), "web")
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		echo(t, c, "x")
		_ = c.Close()
		dev.kill()
	}
	if n := dev.sessions.Load(); n != 5 {
		t.Errorf("%d sessions, want 5", n)
	}
}

// A caller that gives up does so at once although the making of the session goes
// on, and the next call profits from that.
func TestCallerGivesUp(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	r, dev := newRelay("r1"), newDevice(ca, device)
	asked, release := make(chan struct{}), make(chan struct{})
	r.set(device, func(ctx context.Context, st tunnel.Stream, p *tunnel.Preamble) {
		close(asked) // a second stream would panic
		<-release
		dev.answer(ctx, st, p)
	})
	d, _ := newDialer(t, ca, Config{}, r)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, err := d.DialContext(ctx, device.Serial(), "web")
	wantCode(t, err, tunnel.CodeCancelled)
	close(release)
	c, err := d.DialContext(t.Context(), device.Serial(), "web")
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// Without an answer a call ends at its deadline, and without a deadline at the
// configured one.
func TestOpenTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := pkitest.New(t, td)
		r := newRelay("r1")
		r.set(device, func(ctx context.Context, _ tunnel.Stream, _ *tunnel.Preamble) { <-ctx.Done() })
		d, _ := newDialer(t, ca, Config{}, r)
		for _, inner := range []Inner{Mux, Raw} {
			begin := time.Now()
			_, err := d.Open(t.Context(), Call{Target: device, Service: "web", Inner: inner})
			wantCode(t, err, tunnel.CodeOpenTimeout)
			if took := time.Since(begin); took != 15*time.Second {
				t.Errorf("took %v, want 15s", took)
			}
		}
	})
}

func TestOpensAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := pkitest.New(t, td)
		r := newRelay("r1")
		r.set(device, func(ctx context.Context, st tunnel.Stream, _ *tunnel.Preamble) {
			<-ctx.Done() // never answers
			st.Reset(tunnel.CodeShutdown)
		})
		d, _ := newDialer(t, ca, Config{Limits: Limits{Opens: 2}}, r)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if _, err := d.DialContext(ctx, device.Serial(), "web"); !errors.Is(err, ErrTimeout) {
					t.Errorf("error %v, want ErrTimeout", err)
				}
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := d.DialContext(ctx, device.Serial(), "web")
		wantCode(t, err, tunnel.CodeTooManyStreams)
		wg.Wait()
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	r, dev := newRelay("r1"), newDevice(ca, device)
	r.set(device, dev.answer)
	d, _ := newDialer(t, ca, Config{}, r)
	c, err := d.DialContext(t.Context(), device.Serial(), "web")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := d.Open(t.Context(), Call{Target: device, Service: "web", Inner: Raw})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := d.Listen("events")
	if err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
	for _, c := range []net.Conn{c, raw} {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a call outlives its dialer")
		}
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept gives %v, want net.ErrClosed", err)
	}
	_, err = d.DialContext(t.Context(), device.Serial(), "web")
	if !errors.Is(err, ErrClosed) {
		t.Errorf("open gives %v, want ErrClosed", err)
	}
	if _, err := d.Listen("x"); !errors.Is(err, ErrClosed) {
		t.Errorf("listen gives %v, want ErrClosed", err)
	}
}

func TestBadCalls(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	r := newRelay("r1")
	d, _ := newDialer(t, ca, Config{}, r)
	for name, call := range map[string]Call{
		"no target":  {Service: "web"},
		"bad serial": {Target: d.Device("123"), Service: "web"},
		"no service": {Target: device},
		"short id":   {Target: device, Service: "web", RequestID: []byte("x")},
		"inner":      {Target: device, Service: "web", Inner: 9},
	} {
		if _, err := d.Open(t.Context(), call); err == nil || tunnel.Retryable(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := r.dials.Load(); n != 0 {
		t.Errorf("%d dials for calls that are never valid", n)
	}
}
