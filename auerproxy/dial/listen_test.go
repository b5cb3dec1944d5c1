package dial

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/e2e"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// fromDevice opens a stream towards the dialer over the relay's only session, as
// a relay does that forwards a device's call.
func fromDevice(ctx context.Context, r *fakeRelay, p *tunnel.Preamble) (tunnel.Stream, error) {
	r.mu.Lock()
	s := r.sessions[len(r.sessions)-1]
	r.mu.Unlock()
	st, _, err := tunnel.Open(ctx, s, p)
	return st, err
}

func listening(t *testing.T, cfg Config) (*pkitest.CA, *fakeRelay, *Dialer, *Listener) {
	t.Helper()
	ca := pkitest.New(t, td)
	r := newRelay("r1")
	d, _ := newDialer(t, ca, cfg, r)
	ln, err := d.Listen("events")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.links[0].get(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ca, r, d, ln
}

func hello() *tunnel.Hello { return &tunnel.Hello{InstanceId: tunnel.NewID(), BootId: tunnel.NewID()} }

func preamble(service string, inner tunnelpb.Inner) *tunnel.Preamble {
	return &tunnel.Preamble{Target: ccc.Path(), Service: service, Caller: device.Path(), Purpose: "test", Traceparent: "00-tp", Inner: inner}
}

// A device calls the service, over a session and over a flow of its own; the
// service learns from the certificate who it is.
func TestListen(t *testing.T) {
	t.Parallel()
	for name, inner := range map[string]tunnelpb.Inner{"mux": tunnelpb.Inner_INNER_MUX, "tls": tunnelpb.Inner_INNER_TLS} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca, r, _, ln := listening(t, Config{})
			outer, err := fromDevice(t.Context(), r, preamble("events", inner))
			if err != nil {
				t.Fatal(err)
			}
			var call net.Conn
			if inner == tunnelpb.Inner_INNER_TLS {
				call, err = e2e.ClientTLS(t.Context(), outer, ca.Credentials(device), ccc)
			} else {
				var s *e2e.Session
				if s, err = e2e.Client(t.Context(), outer, ca.Credentials(device), ccc, hello()); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = s.CloseWithError(tunnel.CodeShutdown, "") }()
				call, _, err = tunnel.Open(t.Context(), s, preamble("events", tunnelpb.Inner_INNER_PLAIN))
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = call.Close() }()
			accepted, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c := accepted.(*Conn)
			if c.Caller() != device || c.Peer() != device || c.Service() != "events" || c.Purpose() != "test" ||
				c.Traceparent() != "00-tp" || len(c.RequestID()) != tunnel.IDLen {
				t.Errorf("caller %v, peer %v, call %+v", c.Caller(), c.Peer(), c.call)
			}
			if l, r := c.LocalAddr().String(), c.RemoteAddr().String(); l != "service/ccc/events" || r != "device/0123456789" {
				t.Errorf("addresses %q, %q", l, r)
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
			echo(t, call, "hello")
		})
	}
}

func TestListenRefuses(t *testing.T) {
	t.Parallel()
	_, r, _, _ := listening(t, Config{})
	other := preamble("events", tunnelpb.Inner_INNER_MUX)
	other.Target = "service/ara"
	nobody := preamble("events", tunnelpb.Inner_INNER_MUX)
	nobody.Caller = "nobody"
	for name, tt := range map[string]struct {
		p    *tunnel.Preamble
		want tunnel.Code
	}{
		"unknown service": {preamble("nothing", tunnelpb.Inner_INNER_MUX), tunnel.CodeServiceUnknown},
		"other target":    {other, tunnel.CodeNotReachable},
		"no caller":       {nobody, tunnel.CodeProtocol},
		"raw":             {preamble("events", tunnelpb.Inner_INNER_RAW), tunnel.CodeRefusedByDevice},
		"plain":           {preamble("events", tunnelpb.Inner_INNER_PLAIN), tunnel.CodeRefusedByDevice},
	} {
		_, err := fromDevice(t.Context(), r, tt.p)
		if !errors.Is(err, &tunnel.Error{Code: tt.want}) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// The certificate must be that of the caller whom the relay has authorised.
func TestListenChecksTheCaller(t *testing.T) {
	t.Parallel()
	ca, r, _, _ := listening(t, Config{})
	other := ca.Credentials(identity.Device(td, "9999999999"))
	outer, err := fromDevice(t.Context(), r, preamble("events", tunnelpb.Inner_INNER_MUX))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := e2e.Client(t.Context(), outer, other, ccc, hello()); err == nil {
		_ = s.CloseWithError(tunnel.CodeShutdown, "")
		t.Error("a session under another device's name")
	}
	outer, err = fromDevice(t.Context(), r, preamble("events", tunnelpb.Inner_INNER_TLS))
	if err != nil {
		t.Fatal(err)
	}
	// In TLS 1.3 the client learns of the refusal from its first read.
	f, err := e2e.ClientTLS(t.Context(), outer, other, ccc)
	if err == nil {
		_, err = f.Read(make([]byte, 1))
		_ = f.Close()
	}
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a flow under another device's name: %v", err)
	}
}

// A session that was opened for one service gives no access to another.
func TestSessionIsForOneService(t *testing.T) {
	t.Parallel()
	ca, r, d, _ := listening(t, Config{})
	if _, err := d.Listen("admin"); err != nil {
		t.Fatal(err)
	}
	outer, err := fromDevice(t.Context(), r, preamble("events", tunnelpb.Inner_INNER_MUX))
	if err != nil {
		t.Fatal(err)
	}
	s, err := e2e.Client(t.Context(), outer, ca.Credentials(device), ccc, hello())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.CloseWithError(tunnel.CodeShutdown, "") }()
	_, _, err = tunnel.Open(t.Context(), s, preamble("admin", tunnelpb.Inner_INNER_PLAIN))
	wantCode(t, err, tunnel.CodePolicyDenied)
	_, _, err = tunnel.Open(t.Context(), s, preamble("events", tunnelpb.Inner_INNER_RAW))
	wantCode(t, err, tunnel.CodeProtocol)
	c, _, err := tunnel.Open(t.Context(), s, preamble("events", tunnelpb.Inner_INNER_PLAIN)) // the positive control
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// Calls that nobody accepts are bounded, and end with the listener.
func TestBacklog(t *testing.T) {
	t.Parallel()
	ca, r, d, ln := listening(t, Config{Limits: Limits{Backlog: 2}})
	if _, err := d.Listen("events"); err == nil {
		t.Error("a second listener for one name")
	}
	outer, err := fromDevice(t.Context(), r, preamble("events", tunnelpb.Inner_INNER_MUX))
	if err != nil {
		t.Fatal(err)
	}
	s, err := e2e.Client(t.Context(), outer, ca.Credentials(device), ccc, hello())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.CloseWithError(tunnel.CodeShutdown, "") }()
	open := func() (tunnel.Stream, string, error) {
		p := preamble("events", tunnelpb.Inner_INNER_PLAIN)
		st, _, err := tunnel.Open(t.Context(), s, p)
		return st, string(p.GetRequestId()), err
	}
	opened := make(map[string]tunnel.Stream) // by request id: calls may overtake one another
	mustOpen := func() {
		t.Helper()
		st, id, err := open()
		if err != nil {
			t.Fatal(err)
		}
		opened[id] = st
	}
	mustOpen()
	mustOpen()
	_, _, err = open()
	wantCode(t, err, tunnel.CodeTooManyStreams)
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	mustOpen() // there is room again
	_ = ln.Close()
	accepted := string(c.(*Conn).RequestID())
	for id, st := range opened {
		if id == accepted {
			continue
		}
		if _, err := st.Read(make([]byte, 1)); !errors.Is(err, ErrClosed) {
			t.Errorf("a call that nobody accepted ends with %v, want ErrClosed", err)
		}
	}
	go func() { _, _ = c.Write([]byte("x")) }() // an accepted call lives on
	if _, err := io.ReadFull(opened[accepted], make([]byte, 1)); err != nil {
		t.Error(err)
	}
	_, _, err = open()
	wantCode(t, err, tunnel.CodeServiceUnknown)
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept gives %v", err)
	}
	again, err := d.Listen("events")
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Addr().String(); got != "service/ccc/events" {
		t.Errorf("address %q", got)
	}
}
