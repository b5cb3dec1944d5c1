package relay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// network is what lies between a device and the relay.
type network struct {
	udp *tunneltest.UDPProxy
	tcp *tunneltest.TCPProxy
}

// via dials another address than it is told.
type via struct {
	tunnel.Dialer
	addr string
}

func (v via) Dial(ctx context.Context, _ string) (tunnel.Session, error) {
	return v.Dialer.Dial(ctx, v.addr)
}

// deviceBehind starts a device whose packets go through a network.
func (w *world) deviceBehind(transport string, change func(*agent.Config)) (*agent.Agent, network) {
	w.t.Helper()
	n := network{tunneltest.NewUDPProxy(w.t, w.addr), tunneltest.NewTCPProxy(w.t, w.addr)}
	creds := w.ca.Credentials(identity.Device(td, serial))
	tlsCfg := creds.ClientConfig(identity.RelayDNSName(td), identity.OfKind(td, identity.KindRelay), tunnel.ALPN)
	a, _ := w.device(serial, transport, func(c *agent.Config) {
		c.Credentials = creds
		c.QUIC = via{&quictun.Dialer{Config: quictun.Config{TLS: tlsCfg, MaxIdleTimeout: 3 * time.Second}}, n.udp.Addr()}
		c.TCP = via{&muxtun.Dialer{Config: muxtun.Config{TLS: tlsCfg}}, n.tcp.Addr()}
		c.Timing.ConnectTimeout = 2 * time.Second
		c.Timing.ReprobeMin, c.Timing.ReprobeMax = 300*time.Millisecond, time.Second
		if change != nil {
			change(c)
		}
	})
	return a, n
}

func (w *world) onlineOver(tr tunnel.Transport, within time.Duration) time.Duration {
	w.t.Helper()
	start := time.Now()
	eventually(w.t, within, "online over "+string(tr), func() bool {
		list := w.relay.Sessions(identity.Device(td, serial).Path())
		return len(list) == 1 && list[0].Transport == tr
	})
	return time.Since(start)
}

// patience is far more than the budgets under test; what is measured is logged.
const patience = 30 * time.Second

func TestUDPBlockedMeansTCPAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	_, n := w.deviceBehind(agent.TransportAuto, nil)
	w.onlineOver(tunnel.QUIC, patience)

	// Mid-session: noticed by the missing heartbeats.
	n.udp.Block(true)
	t.Logf("UDP blocked mid-session: online over TCP after %s", w.onlineOver(tunnel.TCP, patience))

	// From the start: the relay kicks the device, UDP stays blocked.
	w.relay.Kick(identity.Device(td, serial))
	eventually(t, patience, "kicked", func() bool { return counter(t, w, "auerproxy_sessions_ended_total") > 0 })
	t.Logf("UDP blocked from the start: online over TCP after %s", w.onlineOver(tunnel.TCP, patience))

	n.udp.Block(false)
	t.Logf("UDP open again: back on QUIC after %s", w.onlineOver(tunnel.QUIC, patience))
}

func TestFirstConnectWithoutUDP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *relay.Config) { c.DisableQUIC = true }) // UDP goes nowhere
	start := time.Now()
	w.deviceBehind(agent.TransportAuto, nil)
	w.onlineOver(tunnel.TCP, patience)
	t.Logf("online over TCP %s after the start of the device", time.Since(start))
}

func TestNATRebindingLosesNoTunnel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	_, n := w.deviceBehind(agent.TransportQUIC, nil)
	w.onlineOver(tunnel.QUIC, patience)
	before := w.relay.Sessions(identity.Device(td, serial).Path())[0]

	c, err := w.dialer("ccc", nil).DialContext(timeout(t, patience), serial, "echo")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for range 5 {
		ping(t, c)
		n.udp.Rebind()
		// What the relay sends goes to the old port until the device's next packet,
		// a heartbeat at the latest.
		ping(t, c)
	}
	after := w.relay.Sessions(identity.Device(td, serial).Path())[0]
	if after.Epoch != before.Epoch {
		t.Errorf("epoch %d became %d: the session was lost", before.Epoch, after.Epoch)
	}
	if after.Address == before.Address {
		t.Errorf("the device is still at %s: nothing was rebound", after.Address)
	}
}

func ping(t testing.TB, c net.Conn) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
}

// TestRelayRestartedWithoutAWord is a kill -9 as a device sees it: the relay is
// gone without a word, and another one answers at its address with the same
// stateless-reset key.
func TestRelayRestartedWithoutAWord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a, n := w.deviceBehind(agent.TransportQUIC, func(c *agent.Config) {
		// Not the idle timeout must tell the device.
		tlsCfg := c.Credentials.ClientConfig(identity.RelayDNSName(td), identity.OfKind(td, identity.KindRelay), tunnel.ALPN)
		c.QUIC = via{&quictun.Dialer{Config: quictun.Config{TLS: tlsCfg, MaxIdleTimeout: 10 * time.Minute}}, c.QUIC.(via).addr}
	})
	w.onlineOver(tunnel.QUIC, patience)
	d := w.dialer("ccc", func(c *dial.Config) { c.Transport = dial.TransportQUIC })
	call, err := d.DialContext(timeout(t, patience), serial, "echo")
	if err != nil {
		t.Fatal(err)
	}
	ping(t, call)

	n.udp.Blackhole(true, true)
	w.stop()
	w.start()
	n.udp.Rebind() // what the old relay has sent is lost, also what is in the socket's buffer
	n.udp.Blackhole(false, false)
	back := w.onlineOver(tunnel.QUIC, patience)
	t.Logf("back %s after the relay was there again; the heartbeat is %s", back, time.Second)
	if code := a.Status().Slots[0].LastCode; code != tunnel.CodeSessionLost {
		t.Errorf("the old session ended with %s, want %s by a stateless reset", code, tunnel.CodeSessionLost)
	}
	_ = call.SetDeadline(time.Now().Add(patience))
	_, err = io.ReadFull(call, make([]byte, 1))
	if _, ok := errors.AsType[*tunnel.Error](err); !ok {
		t.Errorf("the open stream failed with %v, want a numbered error", err)
	}
	_ = call.Close()
	// The dialer may have knocked while the old relay was stopping, and then waits a
	// moment.
	eventually(t, patience, "a new call", func() bool { return callEcho(d, serial) == nil })
}

func TestHalfOpenTCPIsNoticed(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]struct{ toClient, toServer bool }{
		"both ways": {true, true}, "to the device": {true, false}, "to the relay": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *relay.Config) { c.Heartbeat = time.Second })
			_, n := w.deviceBehind(agent.TransportTCP, nil)
			w.onlineOver(tunnel.TCP, patience)
			first := w.relay.Sessions(identity.Device(td, serial).Path())[0]
			n.tcp.Blackhole(cut.toClient, cut.toServer)
			start := time.Now()
			eventually(t, patience, "the relay notices", func() bool {
				list := w.relay.Sessions(identity.Device(td, serial).Path())
				return len(list) == 0 || list[0].Epoch != first.Epoch
			})
			t.Logf("the relay noticed after %s at a heartbeat of 1s", time.Since(start))
			n.tcp.Blackhole(false, false)
			eventually(t, patience, "a new session", func() bool {
				list := w.relay.Sessions(identity.Device(td, serial).Path())
				return len(list) == 1 && list[0].Epoch > first.Epoch
			})
			// The old session's late end must not remove the new one.
			if err := callEcho(w.dialer("ccc", nil), serial); err != nil {
				t.Error(err)
			}
		})
	}
}
