package relay_test

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// TestRollingRestartFailsNoCall restarts two relays in turn, with a drain each,
// under 100 calls per second to devices that hold one tunnel each.
func TestRollingRestartFailsNoCall(t *testing.T) {
	t.Parallel()
	const devices, rate = 6, 100
	a := newWorld(t, func(c *relay.Config) { c.Drain.Deadline = 25 * time.Second })
	b := newWorld(t, func(c *relay.Config) {
		c.Drain.Deadline = 25 * time.Second
		c.Credentials = a.ca.CredentialsWith(a.ca.Issue(identity.Relay(td, "r2"), pkitest.Loopback()))
	})
	relays := []string{a.addr, b.addr}
	serials := make([]identity.Serial, devices)
	for i := range serials {
		serials[i] = identity.Serial([]byte("010000000" + string(rune('0'+i))))
		transport := agent.TransportQUIC
		if i%2 == 0 {
			transport = agent.TransportTCP
		}
		a.device(serials[i], transport, func(c *agent.Config) { c.Relays = relays })
	}
	everywhere := func(w *world, n int) bool { return w.relay.Status().Devices == n }
	eventually(t, 15*time.Second, "all devices", func() bool {
		return a.relay.Status().Devices+b.relay.Status().Devices == devices
	})
	d := a.dialer("ccc", func(c *dial.Config) { c.Relays = relays })

	var done, failed atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second / rate)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			wg.Go(func() {
				if err := callEcho(d, serials[i%devices]); err != nil {
					failed.Add(1)
					t.Errorf("call %d to %s: %v", i, serials[i%devices], err)
				}
				done.Add(1)
			})
		}
	})
	atLeast := func(n int64) {
		want := done.Load() + n
		eventually(t, 30*time.Second, "calls go on", func() bool { return done.Load() >= want })
	}
	atLeast(50)
	for _, w := range []*world{a, b, a} {
		drained := w.relay.Drain(context.Background())
		t.Logf("drained: %+v", drained)
		if drained.Cut > 0 {
			t.Errorf("%d sessions were cut at the deadline", drained.Cut)
		}
		if !everywhere(w, 0) {
			t.Errorf("%d devices are still there after the drain", w.relay.Status().Devices)
		}
		w.stop()
		atLeast(20)
		w.start()
		atLeast(50)
	}
	cancel()
	wg.Wait()
	t.Logf("%d calls, %d failed", done.Load(), failed.Load())
}

func callEcho(d *dial.Dialer, s identity.Serial) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := d.DialContext(ctx, s, "echo")
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "ping"); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 4))
	return err
}

func TestDrainCutsADeviceThatIgnoresGoAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *relay.Config) {
		c.Drain.Deadline = time.Second
		c.Heartbeat = time.Minute // the stubborn device sends none
	})
	s, c, err := w.join(tunnel.TCP, w.clientTLS(w.ca.Issue(identity.Device(td, serial), pkitest.Options{})), newHello())
	if err != nil {
		t.Fatal(err)
	}
	goAway := make(chan *tunnel.Frame, 1)
	go func() {
		if f, err := c.Receive(); err == nil {
			goAway <- f
		}
	}()
	drained := w.relay.Drain(context.Background())
	if drained.Told != 1 || drained.Cut != 1 {
		t.Errorf("%+v, want one told and one cut", drained)
	}
	f := <-goAway
	if g := f.GetGoAway(); g == nil || tunnel.Code(g.GetCode()) != tunnel.CodeDraining || g.GetDeadlineMs() == 0 {
		t.Errorf("got %v, want a GOAWAY with a deadline", f)
	}
	<-s.Done()
	if tunnel.CodeOf(s.Err()) != tunnel.CodeDraining {
		t.Errorf("cut with %v", s.Err())
	}
	// Nobody is welcomed any more.
	_, _, err = w.join(tunnel.QUIC, w.clientTLS(w.ca.Issue(identity.Device(td, "0123456780"), pkitest.Options{})), newHello())
	if tunnel.CodeOf(err) != tunnel.CodeDraining {
		t.Errorf("hello to a drained relay: %v", err)
	}
}
