package chaos

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/integration/chaos/link"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// Serial is the serial of a site's device.
const Serial identity.Serial = "0123456789"

// CallerName is the service that calls it.
const CallerName = "ccc"

// patience bounds the wait for a component to start or to end.
const patience = 2 * time.Minute

// SiteConfig says what a site is like. The zero value is a device with the service
// echo on a perfect line.
type SiteConfig struct {
	// Link is the line between relay and device.
	Link link.Config
	// Transport of the device: auto (default), quic or tcp.
	Transport string
	// Heartbeat of the relay. Default 10 s: shorter ones take a machine that has other
	// work to do for a dead peer.
	Heartbeat time.Duration
	// Timing of the device. Default: the agent's, with a back-off of 50 to 200 ms.
	Timing agent.Timing
	// Congestion is the congestion control of TCP in both namespaces, e.g. "cubic".
	// Default: the machine's.
	Congestion string
	// TunnelCongestion is that of the tunnel's connections alone, on both sides.
	TunnelCongestion string
	// Services of the device, each called with a connection that it need not close.
	// They may be called raw and in bulk too. Default: "echo".
	Services map[string]func(net.Conn)
}

// Site is a relay and a caller in namespace A of a link, and a device in B. It ends
// with the test.
type Site struct {
	Link   *link.Link
	CA     *pkitest.CA
	Relay  *relay.Relay
	Agent  *agent.Agent
	Dialer *dial.Dialer

	t    testing.TB
	mu   sync.Mutex
	wake chan struct{} // guarded by mu; closed and replaced when the device's state changes
}

// Echo sends back what it gets.
func Echo(c net.Conn) { _, _ = io.Copy(c, c) }

// NewSite starts a site and waits until relay and device are connected. It skips the
// test where this machine has no links.
func NewSite(t testing.TB, cfg SiteConfig) *Site {
	t.Helper()
	s := &Site{Link: link.Pair(t, cfg.Link), CA: pkitest.New(t, identity.DefaultTrustDomain), t: t, wake: make(chan struct{})}
	if cfg.Congestion != "" {
		if err := s.Link.SetCongestion(cfg.Congestion); err != nil {
			t.Fatal(err)
		}
	}
	log := hclog.NewNullLogger()
	if os.Getenv("AUER_TEST_LOG") != "" {
		log = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug})
	}
	s.startRelay(cfg, log)
	s.startDevice(cfg, log)
	creds := s.CA.Credentials(identity.Service(s.CA.TrustDomain, CallerName))
	tcp, quic := s.dialers(s.Link.A, creds, "")
	var err error
	s.Dialer, err = dial.New(dial.Config{
		Relays: []string{s.Relay.Addr()}, Credentials: creds, TCP: tcp, QUIC: quic, Logger: log.Named("dial"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Dialer.Close(); err != nil {
			t.Errorf("close dialer: %v", err)
		}
	})
	s.Await("the device is online", func(d agent.SlotStatus) bool { return d.State.Online() })
	return s
}

func (s *Site) startRelay(cfg SiteConfig, log hclog.Logger) {
	s.t.Helper()
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 10 * time.Second
	}
	r, err := relay.New(relay.Config{
		TCPCongestion: cfg.TunnelCongestion,
		Listen:        s.Link.A.Addr().String() + ":0", Heartbeat: cfg.Heartbeat, Logger: log.Named("relay"),
		Credentials: s.CA.Credentials(identity.Relay(s.CA.TrustDomain, "r1")),
		Drain:       relay.Drain{Deadline: time.Second},
		Policy:      []relay.Rule{{Caller: "service/*", Target: "device", Services: []string{"*"}, Raw: true}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.Relay = r
	// The goroutine that calls Run opens the sockets.
	run(s.t, "relay", func(ctx context.Context) error {
		return s.Link.A.Do(func() error { return r.Run(ctx) })
	})
	select {
	case <-r.Ready():
	case <-time.After(patience):
		s.t.Fatal("the relay does not get ready")
	}
}

func (s *Site) startDevice(cfg SiteConfig, log hclog.Logger) {
	s.t.Helper()
	if cfg.Timing == (agent.Timing{}) {
		cfg.Timing = agent.Timing{BackoffBase: 50 * time.Millisecond, BackoffCap: 200 * time.Millisecond}
	}
	if cfg.Services == nil {
		cfg.Services = map[string]func(net.Conn){"echo": Echo}
	}
	creds := s.CA.Credentials(identity.Device(s.CA.TrustDomain, Serial))
	tcp, quic := s.dialers(s.Link.B, creds, cfg.TunnelCongestion)
	ac := agent.Config{
		Relays: []string{s.Relay.Addr()}, Credentials: creds, Transport: cfg.Transport, Timing: cfg.Timing,
		TCP: tcp, QUIC: quic, Logger: log.Named("agent"), OnStatus: func(agent.SlotStatus) { s.changed() },
	}
	for name := range cfg.Services {
		ac.Services = append(ac.Services, agent.Service{Name: name, Raw: true, Bulk: true})
	}
	var err error
	if s.Agent, err = agent.New(ac); err != nil {
		s.t.Fatal(err)
	}
	var calls sync.WaitGroup
	s.t.Cleanup(calls.Wait)
	for name, serve := range cfg.Services {
		ln, err := s.Agent.Listen(name)
		if err != nil {
			s.t.Fatal(err)
		}
		calls.Go(func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return // the agent has ended
				}
				calls.Go(func() {
					defer func() { _ = c.Close() }()
					serve(c)
				})
			}
		})
	}
	run(s.t, "device", s.Agent.Run)
}

// dialers are what agent and dialer would make themselves, in a namespace.
func (s *Site) dialers(n *link.Namespace, creds *enrol.Credentials, congestion string) (tcp, quic tunnel.Dialer) {
	td := s.CA.TrustDomain
	tls := creds.ClientConfig(identity.RelayDNSName(td), identity.OfKind(td, identity.KindRelay), tunnel.ALPN)
	return Inside{n, &muxtun.Dialer{Config: muxtun.Config{TLS: tls, Congestion: congestion}}}, Inside{n, &quictun.Dialer{Config: quictun.Config{TLS: tls}}}
}

// Inside dials in a namespace. The dialer must open its socket in Dial, as those of
// quictun and muxtun do.
type Inside struct {
	Namespace *link.Namespace
	Dialer    tunnel.Dialer
}

// Dial implements tunnel.Dialer.
func (i Inside) Dial(ctx context.Context, addr string) (s tunnel.Session, err error) {
	err = i.Namespace.Do(func() error {
		s, err = i.Dialer.Dial(ctx, addr)
		return err
	})
	return s, err
}

// Connect makes the TCP connection of a data connection, see package bulk.
func (i Inside) Connect(ctx context.Context, addr string) (c net.Conn, err error) {
	d, ok := i.Dialer.(*muxtun.Dialer)
	if !ok {
		return nil, fmt.Errorf("%T makes no connections", i.Dialer)
	}
	err = i.Namespace.Do(func() error {
		c, err = d.Connect(ctx, addr)
		return err
	})
	return c, err
}

func (s *Site) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.wake)
	s.wake = make(chan struct{})
}

// Await waits until the state of the device's tunnel is as wanted, and gives it.
func (s *Site) Await(what string, wanted func(agent.SlotStatus) bool) agent.SlotStatus {
	s.t.Helper()
	end := time.After(patience)
	for {
		s.mu.Lock()
		wake := s.wake
		s.mu.Unlock()
		now := s.Agent.Status().Slots[0]
		if wanted(now) {
			return now
		}
		select {
		case <-wake:
		case <-end:
			s.t.Fatalf("not in time: %s; the device is %s: %s", what, now.State, now.LastError)
		}
	}
}

// run runs a component until the test ends.
func run(t testing.TB, name string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background()) // t.Context ends before cleanups
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(patience):
			t.Errorf("%s does not end", name)
		}
	})
}
