package muxtun

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

const td = identity.DefaultTrustDomain

// hostile gives a session whose client is plain TLS, to be misused.
func hostile(t *testing.T, cfg Config) (*tls.Conn, func() *session) {
	t.Helper()
	ca := pkitest.New(t, td)
	cfg.TLS = ca.Credentials(identity.Relay(td, "r1")).ServerConfig(nil, tunnel.ALPN)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := Listen(tcp, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	client := ca.Credentials(identity.Device(td, "0123456789")).ClientConfig("localhost", nil, tunnel.ALPN)
	conn, err := tls.Dial("tcp", ln.Addr().String(), client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, func() *session {
		t.Helper()
		s, err := ln.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.CloseWithError(tunnel.CodeShutdown, "") })
		return s.(*session) //nolint:forcetypeassert // the listener's
	}
}

// hostileMux gives a session whose client is plain yamux.
func hostileMux(t *testing.T, cfg Config) (*yamux.Session, *session) {
	t.Helper()
	conn, accept := hostile(t, cfg)
	yc := yamux.DefaultConfig()
	yc.LogOutput, yc.StreamCloseTimeout, yc.EnableKeepAlive = io.Discard, 0, false
	y, err := yamux.Client(conn, yc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = y.Close() })
	if _, err := y.OpenStream(); err != nil { // the signalling stream
		t.Fatal(err)
	}
	return y, accept()
}

func wantEnd(t *testing.T, s *session, code tunnel.Code) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the session goes on")
	}
	if tunnel.CodeOf(s.Err()) != code {
		t.Errorf("the session ended with %v, want %s", s.Err(), code)
	}
}

func TestStreamsThatNeverEndEndTheSession(t *testing.T) {
	t.Parallel()
	const limit = 8
	t.Run("Peers", func(t *testing.T) {
		t.Parallel()
		y, s := hostileMux(t, Config{MaxIncomingStreams: limit})
		opened := make(chan struct{})
		go func() {
			defer close(opened)
			for {
				st, err := y.OpenStream()
				if err != nil {
					return
				}
				_, _ = st.Write(make([]byte, 1<<10)) // and no FIN
			}
		}()
		n := 0
		for ; ; n++ {
			st, err := s.Accept(t.Context())
			if err != nil {
				break
			}
			_ = st.Close()
		}
		wantEnd(t, s, tunnel.CodeProtocol)
		if most := 2*limit + zombieSlack + acceptBacklog; n > most || n < limit {
			t.Errorf("%d streams were accepted before, want %d to %d", n, limit, most)
		}
		<-opened
	})
	t.Run("Own", func(t *testing.T) {
		t.Parallel()
		y, s := hostileMux(t, Config{MaxIncomingStreams: limit})
		go func() {
			for {
				st, err := y.AcceptStream()
				if err != nil {
					return
				}
				_, _ = st.Write([]byte{0})
			}
		}()
		n := 0
		for ; ; n++ {
			st, err := s.Open(t.Context())
			if err != nil {
				break
			}
			_, _ = st.Read(make([]byte, 1)) // it has been accepted
			_ = st.Close()
		}
		wantEnd(t, s, tunnel.CodeProtocol)
		if most := 2*limit + zombieSlack + 1; n > most || n < limit {
			t.Errorf("%d streams were opened before, want %d to %d", n, limit, most)
		}
	})
}

func TestPingEndsTheSession(t *testing.T) {
	t.Parallel()
	y, s := hostileMux(t, Config{})
	go func() { _, _ = y.Ping() }()
	wantEnd(t, s, tunnel.CodeProtocol)
}

func TestForeignStreamIDEndsTheSession(t *testing.T) {
	t.Parallel()
	conn, accept := hostile(t, Config{})
	frame := func(id uint32) []byte {
		b := []byte{0, 1, 0, muxFlagSYN}
		b = binary.BigEndian.AppendUint32(b, id)
		return binary.BigEndian.AppendUint32(b, 0)
	}
	_, _ = conn.Write(frame(1))
	s := accept()
	_, _ = conn.Write(frame(3))
	if _, err := s.Accept(t.Context()); err != nil {
		t.Fatalf("positive control: %v", err)
	}
	_, _ = conn.Write(frame(6))
	wantEnd(t, s, tunnel.CodeProtocol)
}

func TestFirstStreamIsTheSignallingStream(t *testing.T) {
	t.Parallel()
	conn, _ := hostile(t, Config{})
	_, _ = conn.Write([]byte{0, 1, 0, muxFlagSYN, 0, 0, 0, 3, 0, 0, 0, 0})
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
		t.Error("the connection is still open")
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error) //nolint:errorlint // as it comes
	return ok && ne.Timeout()
}

func TestNoSignallingStream(t *testing.T) {
	t.Parallel()
	conn, _ := hostile(t, Config{HandshakeTimeout: time.Second})
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
		t.Error("the connection is still open")
	}
}

func TestUnreadSignalsDelayNoClose(t *testing.T) {
	t.Parallel()
	y, s := hostileMux(t, Config{})
	s.signalTimeout = 5 * time.Second
	st, err := y.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	_ = st
	b, err := s.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// More than the window of the signalling stream holds.
	reason := string(make([]byte, maxReason))
	for range minStreamWindow/maxReason + 1 {
		s.say(notice{signal: &signal{kind: 99, reason: reason}})
	}
	start := time.Now()
	_ = b.Close()
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("Close took %v", d)
	}
	wantEnd(t, s, tunnel.CodeProtocol)
}

func TestSignalsForNoStreamEndTheSession(t *testing.T) {
	t.Parallel()
	conn, accept := hostile(t, Config{})
	_, _ = conn.Write([]byte{0, 1, 0, muxFlagSYN, 0, 0, 0, 1, 0, 0, 0, 0})
	s := accept()
	send := func(i int) {
		sig := signal{kind: signalReset, id: uint32(2*i + 3), code: tunnel.CodeReset}.encode() //nolint:gosec // small
		frame := []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, byte(len(sig))}
		if _, err := conn.Write(append(frame, sig...)); err != nil {
			t.Error(err)
		}
	}
	for i := range maxEarly {
		send(i)
		send(i) // a second one for the same stream is none too many
	}
	const all = 2 * maxEarly * signalHeader
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		s.mu.Lock()
		heard := s.heard
		s.mu.Unlock()
		if heard == all {
			break
		}
		if time.Now().After(deadline) || s.Err() != nil {
			t.Fatalf("as many signals as allowed: %v, %d of %d bytes heard", s.Err(), heard, all)
		}
	}
	send(maxEarly)
	wantEnd(t, s, tunnel.CodeProtocol)
}

func TestEndOfSignalsEndsTheSession(t *testing.T) {
	t.Parallel()
	for name, flag := range map[string]byte{"FIN": muxFlagFIN, "RST": muxFlagRST} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, accept := hostile(t, Config{})
			_, _ = conn.Write([]byte{0, 1, 0, muxFlagSYN, 0, 0, 0, 1, 0, 0, 0, 0})
			s := accept()
			_, _ = conn.Write([]byte{0, 1, 0, flag, 0, 0, 0, 1, 0, 0, 0, 0})
			wantEnd(t, s, tunnel.CodeProtocol)
		})
	}
}

// TestIdleSessionNoticesItsEnd: nobody waits in an idle session, neither for a
// stream nor for signals, and still it ends with its connection.
func TestIdleSessionNoticesItsEnd(t *testing.T) {
	t.Parallel()
	conn, accept := hostile(t, Config{})
	_, _ = conn.Write([]byte{0, 1, 0, muxFlagSYN, 0, 0, 0, 1, 0, 0, 0, 0})
	s := accept()
	_ = conn.Close()
	wantEnd(t, s, tunnel.CodeSessionLost)
}

// TestEndBeforeTheStart: what the peer sent with the last bytes of its handshake
// ends yamux while the session is being made.
func TestEndBeforeTheStart(t *testing.T) {
	t.Parallel()
	for range 50 {
		conn, _ := hostile(t, Config{HandshakeTimeout: 20 * time.Second})
		_, _ = conn.Write([]byte{0, muxTypePing, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
			t.Fatal("the connection is still open")
		}
	}
}

// TestSignalInPieces: the parts of a signal may come at any time, and be heard by
// different goroutines.
func TestSignalInPieces(t *testing.T) {
	t.Parallel()
	conn, accept := hostile(t, Config{})
	_, _ = conn.Write([]byte{0, 1, 0, muxFlagSYN, 0, 0, 0, 1, 0, 0, 0, 0})
	s := accept()
	for _, b := range (signal{kind: signalClose, code: tunnel.CodeKicked, reason: "in pieces"}).encode() {
		if _, err := conn.Write([]byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, b}); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); ; { // until nobody hears any more
			s.mu.Lock()
			idle := s.over || !s.hears && s.heard == s.conn.guard.signals.Load() && s.heard > 0
			s.mu.Unlock()
			if idle {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("a part of a signal was not heard")
			}
			runtime.Gosched()
		}
	}
	wantEnd(t, s, tunnel.CodeKicked)
	if e, ok := errors.AsType[*tunnel.Error](s.Err()); !ok || e.Message != "in pieces" || !e.Remote {
		t.Errorf("ended with %v", s.Err())
	}
}
