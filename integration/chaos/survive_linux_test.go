package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/integration/chaos/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var transports = []string{agent.TransportQUIC, agent.TransportTCP}

// exchange sends random bytes and checks that they come back.
func exchange(c net.Conn, size int) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	sent, got := make([]byte, size), make([]byte, size)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(sent) // never fails
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		wrote <- err
	}()
	_, err := io.ReadFull(c, got)
	if err := errors.Join(err, <-wrote); err != nil {
		return err
	}
	if !bytes.Equal(sent, got) {
		return errors.New("other bytes come back")
	}
	return nil
}

func (s *Site) call(size int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := s.Dialer.DialContext(ctx, Serial, "echo")
	if err != nil {
		return err
	}
	return errors.Join(exchange(c, size), c.Close())
}

// The line of many access networks: what carries PPPoE, a tunnel or mobile data.
func TestSmallMTU(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		transport string
		blackHole bool
		want      tunnel.Transport
	}{
		{agent.TransportQUIC, false, tunnel.QUIC},
		{agent.TransportTCP, false, tunnel.TCP},
		// TCP finds no way where nobody tells it the MTU; QUIC does, and so does the
		// device that may choose.
		{agent.TransportQUIC, true, tunnel.QUIC},
		{agent.TransportAuto, true, tunnel.QUIC},
	} {
		t.Run(fmt.Sprintf("%s black hole %t", tt.transport, tt.blackHole), func(t *testing.T) {
			t.Parallel()
			s := NewSite(t, SiteConfig{Transport: tt.transport, Link: link.Config{MTU: 1280, BlackHole: tt.blackHole, Delay: 5 * time.Millisecond}})
			if err := s.call(1 << 20); err != nil {
				t.Error(err)
			}
			if got := s.Agent.Status().Slots[0].Transport; got != tt.want {
				t.Errorf("the device is connected by %s, want %s", got, tt.want)
			}
			if c := s.Link.Counters(link.Both); c.TooBig == 0 {
				t.Errorf("no packet was too big: %+v", c)
			}
		})
	}
}

func TestLossAndReordering(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := NewSite(t, SiteConfig{Transport: transport, Link: link.Config{
				Delay: 5 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.05, Reorder: 0.05, Seed: 1,
			}})
			for _, size := range []int{64, 1 << 20} {
				if err := s.call(size); err != nil {
					t.Errorf("%d bytes: %v", size, err)
				}
			}
			if c := s.Link.Counters(link.Both); c.Lost == 0 || c.Reordered == 0 {
				t.Errorf("nothing was lost or overtaken: %+v", c)
			}
		})
	}
}

// The device notices that one direction is dead, whichever it is, while the other
// still brings it what is sent; and comes back by itself.
func TestOneWayCut(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes several heartbeats")
	}
	for name, d := range map[string]link.Direction{"to the device": link.AToB, "to the relay": link.BToA} {
		for _, transport := range transports {
			t.Run(transport+" "+name, func(t *testing.T) {
				t.Parallel()
				s := NewSite(t, SiteConfig{Transport: transport, Heartbeat: 2 * time.Second, Timing: agent.Timing{
					BackoffBase: 50 * time.Millisecond, BackoffCap: 200 * time.Millisecond, ConnectTimeout: 2 * time.Second,
				}})
				if err := s.call(1000); err != nil {
					t.Fatalf("before: %v", err)
				}
				before := s.Agent.Status().Slots[0]
				cut := func(on bool) {
					if err := s.Link.Change(d, func(c *link.Config) { c.Cut = on }); err != nil {
						t.Fatal(err)
					}
				}
				cut(true)
				other := s.Link.Counters(link.Both &^ d).Passed
				s.Await("the device notices", func(d agent.SlotStatus) bool { return !d.State.Online() })
				// Longer than the heartbeats: new sessions fail too.
				s.Await("an attempt fails", func(d agent.SlotStatus) bool { return d.Failures > 1 })
				if c := s.Link.Counters(link.Both &^ d); c.Passed == other || c.Cut > 0 {
					t.Errorf("the cut is not one-way: %+v", c)
				}
				cut(false)
				after := s.Await("the device is back", func(d agent.SlotStatus) bool { return d.State.Online() && d.Session != before.Session })
				if err := s.call(1000); err != nil {
					t.Errorf("after: %v", err)
				}
				if after.Epoch <= before.Epoch {
					t.Errorf("epoch %d after %d", after.Epoch, before.Epoch)
				}
			})
		}
	}
}

// A firewall begins to block UDP, and lets it through again: the device moves to TCP
// while QUIC is silent, and back to QUIC, without an end of the call that runs.
func TestUDPBlockedForAWhile(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes several heartbeats")
	}
	s := NewSite(t, SiteConfig{Link: link.Config{Delay: 5 * time.Millisecond}, Heartbeat: 3 * time.Second, Timing: agent.Timing{
		BackoffBase: 50 * time.Millisecond, BackoffCap: 200 * time.Millisecond, ConnectTimeout: 2 * time.Second,
		ReprobeMin: 3 * time.Second,
	}})
	if d := s.Agent.Status().Slots[0]; d.Transport != tunnel.QUIC || d.Choice != "preferred" {
		t.Fatalf("at first: %+v", d)
	}
	block := func(on bool) {
		if err := s.Link.Change(link.Both, func(c *link.Config) { c.BlockUDP = on }); err != nil {
			t.Fatal(err)
		}
	}
	block(true)
	d := s.Await("the device is connected by TCP", func(d agent.SlotStatus) bool { return d.State.Online() && d.Transport == tunnel.TCP })
	if d.Choice != "silent" {
		t.Errorf("status %+v", d)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// The caller's connection to the relay is in its own namespace, so only that of
	// the device is blocked.
	c, err := s.Dialer.DialContext(ctx, Serial, "echo")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := exchange(c, 1000); err != nil {
		t.Fatalf("a call over TCP: %v", err)
	}
	if n := s.Link.Counters(link.BToA).Cut; n == 0 {
		t.Error("nothing was blocked")
	}
	block(false)
	d = s.Await("the device is back at QUIC", func(d agent.SlotStatus) bool { return d.State.Online() && d.Transport == tunnel.QUIC })
	if d.Choice != "preferred" {
		t.Errorf("status %+v", d)
	}
	if err := exchange(c, 1<<20); err != nil {
		t.Errorf("the call that runs: %v", err)
	}
	if err := s.call(1000); err != nil {
		t.Errorf("a new call: %v", err)
	}
	var told []string
	for _, i := range s.Relay.Sessions("device/" + string(Serial)) {
		told = append(told, string(i.Transport)+" "+i.Choice)
	}
	slices.Sort(told)
	if want := []string{"quic preferred", "tcp silent"}; !slices.Equal(told, want) {
		t.Errorf("the relay has %v, want %v", told, want)
	}
}

// Over a line that loses packets TCP with BBR carries many times what QUIC does, whose
// congestion control takes each loss for a full line: the device measures both, and
// stays with TCP.
func TestLossyQUICIsLeftForBBR(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes several heartbeats")
	}
	s := NewSite(t, SiteConfig{
		Link:      link.Config{Delay: 10 * time.Millisecond, Loss: 0.03, Rate: 100e6, Seed: 1},
		Heartbeat: 2 * time.Second, TunnelCongestion: "bbr",
	})
	if err := s.Link.SetCongestion("bbr"); err != nil {
		t.Skipf("this kernel has no bbr: %v", err)
	}
	if d := s.Agent.Status().Slots[0]; d.Transport != tunnel.QUIC || d.Choice != "preferred" {
		t.Fatalf("at first: %+v", d)
	}
	stop, calls := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				calls <- nil
				return
			default:
			}
			if err := s.call(1 << 20); err != nil {
				calls <- err
				return
			}
		}
	}()
	d := s.Await("both transports are compared", func(d agent.SlotStatus) bool { return d.Choice == "measured" })
	close(stop)
	if err := <-calls; err != nil {
		t.Errorf("a call: %v", err)
	}
	t.Logf("compared: %+v", d.Compared)
	if d.Transport != tunnel.TCP || len(d.Compared) != 2 || d.Compared[0].Loss < 0.01 {
		t.Errorf("status %+v", d)
	}
}

// A QUIC session goes on from the new address, and the calls in it. TCP cannot.
func TestAddressChange(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := NewSite(t, SiteConfig{Transport: transport, Heartbeat: 2 * time.Second})
			before := s.Agent.Status().Slots[0]
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c, err := s.Dialer.DialContext(ctx, Serial, "echo")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if err := exchange(c, 1000); err != nil {
				t.Fatal(err)
			}
			addr := netip.MustParseAddr("10.77.0.7")
			if err := s.Link.B.SetAddr(addr); err != nil {
				t.Fatal(err)
			}
			after := before
			if transport == agent.TransportQUIC {
				// The relay learns the address from what the device sends.
				if err := exchange(c, 1000); err != nil {
					t.Errorf("the call in progress: %v", err)
				}
				after = s.Agent.Status().Slots[0]
			} else {
				after = s.Await("the device is back", func(d agent.SlotStatus) bool { return d.State.Online() && d.Session != before.Session })
			}
			if same := after.Session == before.Session; same != (transport == agent.TransportQUIC) {
				t.Errorf("session %s, before %s", after.Session, before.Session)
			}
			if err := s.call(1000); err != nil {
				t.Errorf("a new call: %v", err)
			}
			list := s.Relay.Sessions("device/" + string(Serial))
			if len(list) != 1 {
				t.Fatalf("sessions %+v", list)
			}
			if got, err := netip.ParseAddrPort(list[0].Address); err != nil || got.Addr() != addr {
				t.Errorf("the relay sees %s, want %s: %v", list[0].Address, addr, err)
			}
		})
	}
}
