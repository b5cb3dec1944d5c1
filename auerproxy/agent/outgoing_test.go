package agent

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/e2e"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// cloud answers the streams of a device as a service would, and counts the
// end-to-end sessions.
type cloud struct {
	creds    *enrol.Credentials
	sessions atomic.Int64
	last     atomic.Pointer[e2e.Session]
}

func (c *cloud) serve(t *testing.T, rs *relaySession) {
	for {
		st, err := rs.Accept(context.Background())
		if err != nil {
			return
		}
		go c.answer(t, st)
	}
}

func (c *cloud) answer(t *testing.T, st tunnel.Stream) {
	p, err := tunnel.ReadPreamble(st, time.Second)
	if err != nil || p.GetInner() != tunnelpb.Inner_INNER_MUX || p.GetTarget() != ccc.Path() {
		t.Errorf("preamble %v, %v", p, err)
		return
	}
	if err := tunnel.WriteAck(st); err != nil {
		t.Error(err)
		return
	}
	s, err := e2e.Server(context.Background(), st, c.creds, identity.Exactly(self), 0)
	if err != nil {
		return // the device refuses this service
	}
	c.sessions.Add(1)
	c.last.Store(s)
	_ = e2e.Serve(context.Background(), s, e2e.ServeConfig{
		Drain: s.Draining(),
		Handle: func(_ context.Context, st tunnel.Stream, p *tunnel.Preamble) {
			if p.GetService() != "pairing" {
				tunnel.Refuse(st, tunnel.Errorf(tunnel.CodeServiceUnknown, "no such service"))
				return
			}
			if tunnel.WriteAck(st) == nil {
				c := &Conn{duplex: st, call: newCall(p, s.Peer(), true), closed: func() {}}
				greetAndEcho(c)
			}
		},
	})
}

func dialCloud(t *testing.T, d *device, service string) (duplex, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := d.Dial(ctx, service, "pairing")
	if err != nil {
		return nil, err
	}
	return c.(duplex), nil
}

func TestDial(t *testing.T) {
	live(t, func(t *testing.T, n *fakeNet) {
		d, rs := n.online(nil)
		c := &cloud{creds: d.ca.Credentials(ccc)}
		go c.serve(t, rs)
		for _, name := range []string{"ccc", "service/ccc"} {
			conn, err := dialCloud(t, d, name)
			if err != nil {
				t.Fatal(err)
			}
			if who := check(t, conn); who != self.Path() {
				t.Errorf("the service saw %q", who)
			}
		}
		if got := c.sessions.Load(); got != 1 {
			t.Errorf("%d sessions for two calls", got)
		}
		// A session that has ended is replaced without the caller noticing.
		_ = c.last.Load().CloseWithError(tunnel.CodeShutdown, "restart")
		conn, err := dialCloud(t, d, "ccc")
		if err != nil {
			t.Fatal(err)
		}
		check(t, conn)
		if got := c.sessions.Load(); got != 2 {
			t.Errorf("%d sessions after a restart", got)
		}
		if _, err := d.Dial(t.Context(), "ccc", "other"); tunnel.CodeOf(err) != tunnel.CodeServiceUnknown {
			t.Errorf("unknown service: %v", err)
		}
		if _, err := d.Dial(t.Context(), "device/0000000001", "x"); tunnel.CodeOf(err) != tunnel.CodeProtocol {
			t.Errorf("a device: %v", err)
		}
	})
}

func TestDialVerifiesTheService(t *testing.T) {
	live(t, func(t *testing.T, n *fakeNet) {
		d, rs := n.online(nil)
		for _, other := range []identity.ID{identity.Service(td, "ara"), identity.Device(td, "0000000001"), identity.Relay(td, "ccc")} {
			c := &cloud{creds: d.ca.Credentials(other)}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				if st, err := rs.Accept(ctx); err == nil {
					c.answer(t, st)
				}
			}()
			if _, err := dialCloud(t, d, "ccc"); err == nil {
				t.Errorf("%s was taken for %s", other, ccc)
			}
			cancel()
			<-done
		}
	})
}

func TestDialWithoutTunnel(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		n.quic, n.tcp = pathRefused, pathRefused
		d := n.run(nil)
		after(time.Second)
		if _, err := dialCloud(t, d, "ccc"); tunnel.CodeOf(err) != tunnel.CodeUnreachable || !tunnel.Retryable(err) {
			t.Errorf("got %v", err)
		}
	})
}

// An outgoing call keeps the session that it runs in while the device moves.
func TestDialSurvivesGoAway(t *testing.T) {
	live(t, func(t *testing.T, n *fakeNet) {
		d, rs := n.online(nil)
		c := &cloud{creds: d.ca.Credentials(ccc)}
		go c.serve(t, rs)
		conn, err := dialCloud(t, d, "ccc")
		if err != nil {
			t.Fatal(err)
		}
		rs.goAway(5*time.Minute, 0)
		until(t, "the device has moved", func() bool { return len(n.welcomed()) == 2 })
		go c.serve(t, n.welcomed()[1])
		until(t, "the service was told to use another session", func() bool {
			select {
			case <-c.last.Load().Draining():
				return true
			default:
				return false
			}
		})
		if rs.ended() {
			t.Fatalf("the call's session ended under it: %v", rs.Err())
		}
		second, err := dialCloud(t, d, "ccc")
		if err != nil {
			t.Fatal(err)
		}
		check(t, second)
		if got := c.sessions.Load(); got != 2 {
			t.Errorf("the new call uses session %d, want the second", got)
		}
		check(t, conn)
		until(t, "the old session ends after its last call", rs.ended)
	})
}
