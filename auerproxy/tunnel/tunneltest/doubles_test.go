package tunneltest_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
)

// silence is how long nothing may arrive where nothing should.
const silence = 50 * time.Millisecond

// echo writes p to a, and says whether b read it in time.
func echo(t *testing.T, a, b net.Conn, p []byte, wait time.Duration) error {
	t.Helper()
	if _, err := a.Write(p); err != nil {
		return err
	}
	if err := b.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(p))
	if _, err := io.ReadFull(b, got); err != nil {
		return err
	}
	if !bytes.Equal(got, p) {
		t.Errorf("got %q, want %q", got, p)
	}
	return nil
}

func TestProxiesHoldBackAndLetPass(t *testing.T) {
	t.Parallel()
	type proxy interface {
		Addr() string
		Block(on bool)
		Blackhole(toClient, toServer bool)
	}
	for _, tr := range []tunnel.Transport{tunnel.QUIC, tunnel.TCP} {
		t.Run(string(tr), func(t *testing.T) {
			t.Parallel()
			var p proxy
			client, server := tunneltest.Pair(t, tunneltest.Options{Transport: tr, Via: func(addr string) string {
				if tr == tunnel.QUIC {
					p = tunneltest.NewUDPProxy(t, addr)
				} else {
					p = tunneltest.NewTCPProxy(t, addr)
				}
				return p.Addr()
			}})
			a, b := tunneltest.Streams(t, client, server)
			pass := func(when string, from, to net.Conn) {
				t.Helper()
				if err := echo(t, from, to, []byte(when), 10*time.Second); err != nil {
					t.Errorf("%s: %v", when, err)
				}
			}
			// held sends what must not arrive, opens the line, and takes it.
			held := func(when string, from, to net.Conn) {
				t.Helper()
				if err := echo(t, from, to, []byte(when), silence); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: %v, want a timeout", when, err)
				}
				p.Blackhole(false, false)
				p.Block(false)
				got := make([]byte, len(when))
				_ = to.SetReadDeadline(time.Now().Add(10 * time.Second))
				if _, err := io.ReadFull(to, got); err != nil || string(got) != when {
					t.Errorf("after %s: %q, %v", when, got, err)
				}
			}
			pass("open to server", a, b)
			pass("open to client", b, a)
			p.Blackhole(false, true)
			held("black to server", a, b)
			p.Blackhole(true, false)
			held("black to client", b, a)
			p.Block(true)
			held("blocked", a, b)
		})
	}
}

func TestUDPProxyRebind(t *testing.T) {
	t.Parallel()
	var p *tunneltest.UDPProxy
	client, server := tunneltest.Pair(t, tunneltest.Options{Transport: tunnel.QUIC, Via: func(addr string) string {
		p = tunneltest.NewUDPProxy(t, addr)
		return p.Addr()
	}})
	a, b := tunneltest.Streams(t, client, server)
	before := server.RemoteAddr().String()
	for i := range 3 {
		p.Rebind()
		if err := echo(t, a, b, []byte("to the server"), 10*time.Second); err != nil {
			t.Fatalf("rebind %d: %v", i, err)
		}
		if err := echo(t, b, a, []byte("and back"), 10*time.Second); err != nil {
			t.Fatalf("rebind %d: %v", i, err)
		}
	}
	if after := server.RemoteAddr().String(); after == before {
		t.Errorf("the server still sees %s", after)
	}
}

func TestUDPProxyLosesDatagrams(t *testing.T) {
	t.Parallel()
	var p *tunneltest.UDPProxy
	client, server := tunneltest.Pair(t, tunneltest.Options{Transport: tunnel.QUIC, Via: func(addr string) string {
		p = tunneltest.NewUDPProxy(t, addr)
		p.Lose(7)
		// From the start: QUIC may have found out that larger ones pass, and goes on
		// with these.
		p.MaxSize(1280)
		return p.Addr()
	}})
	a, b := tunneltest.Streams(t, client, server)
	if err := echo(t, a, b, bytes.Repeat([]byte("x"), 100<<10), 20*time.Second); err == nil {
		return
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("100 KiB did not get through")
	} else {
		t.Error(err)
	}
}

func TestTCPProxyResetsAndRefuses(t *testing.T) {
	t.Parallel()
	var p *tunneltest.TCPProxy
	client, server := tunneltest.Pair(t, tunneltest.Options{Via: func(addr string) string {
		p = tunneltest.NewTCPProxy(t, addr)
		return p.Addr()
	}})
	p.Rebind()
	for _, s := range []tunnel.Session{client, server} {
		select {
		case <-s.Done():
		case <-time.After(10 * time.Second):
			t.Fatal("the session survived the reset of its connection")
		}
	}
	p.Block(true)
	c, err := net.Dial("tcp", p.Addr())
	if err == nil {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, err = c.Read(make([]byte, 1))
		_ = c.Close()
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a blocked proxy answers %v, want a reset", err)
	}
}

func TestRecorderSeesBothDirections(t *testing.T) {
	t.Parallel()
	var rec tunneltest.Recorder
	client, server := tunneltest.Pair(t, tunneltest.Options{})
	a, b := tunneltest.Streams(t, rec.Session(client), server)
	for _, s := range []string{"cana", "ry"} {
		if err := echo(t, a, b, []byte(s), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if err := echo(t, b, a, []byte(s+"!"), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for s, want := range map[string]bool{"canary": true, "cana!ry!": true, "canary!": false} {
		if got := rec.Contains([]byte(s)); got != want {
			t.Errorf("Contains(%q) = %t", s, got)
		}
	}
	if got := rec.Len(); got != 1+6+8 {
		t.Errorf("Len() = %d", got)
	}
}
