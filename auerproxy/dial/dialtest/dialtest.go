// Package dialtest runs relays and devices in the process of a test, for programs
// that reach devices with package dial.
//
//	n := dialtest.New(t, 2)                        // two relays
//	n.Device("0123456789", map[string]dialtest.Handler{"web": dialtest.Echo}, nil)
//	d := n.Dialer("ccc", nil)
//	conn, err := d.DialContext(ctx, "0123456789", "web")
//
// Everything is real but the certificate authority, listens on loopback, and ends
// with the test.
package dialtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// patience bounds the wait for a component to start, to connect or to end.
const patience = 2 * time.Minute

// Net is a trust domain with some relays.
type Net struct {
	CA     *pkitest.CA
	Relays []*Relay
	t      testing.TB
	// log shows with a failed test what its relays and devices said.
	log hclog.Logger
}

// Relay is one running relay. Relays share no registry: a device is reached
// through those that it is connected to.
type Relay struct {
	*relay.Relay
	// Addr is its address, also after a restart.
	Addr string

	net  *Net
	cfg  relay.Config
	stop func()
}

// New starts relays that let every service open every service of every device and
// watch presence, and every device open every service of "ccc".
func New(t testing.TB, relays int) *Net {
	t.Helper()
	n := &Net{t: t, CA: pkitest.New(t, identity.DefaultTrustDomain), log: hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: t.Output()})}
	for i := range relays {
		id := identity.Relay(n.CA.TrustDomain, fmt.Sprint("r", i+1))
		r := &Relay{net: n, cfg: relay.Config{
			Listen:      "127.0.0.1:0",
			Credentials: n.CA.Credentials(id), Logger: n.log.Named(id.Name),
			Drain: relay.Drain{Deadline: 3 * time.Second},
			Policy: []relay.Rule{
				{Caller: "service/*", Target: "device", Services: []string{"*"}, Raw: true},
				{Caller: "device", Target: "service/ccc", Services: []string{"*"}},
				{Caller: "service/*", Target: "relay", Services: []string{"presence"}},
			},
		}}
		r.Start()
		n.Relays = append(n.Relays, r)
	}
	return n
}

// Start starts the relay, again after a [Relay.Stop].
func (r *Relay) Start() {
	r.net.t.Helper()
	run, err := relay.New(r.cfg)
	if err != nil {
		r.net.t.Fatal(err)
	}
	r.Relay = run
	r.stop = start(r.net.t, run.Run)
	select {
	case <-run.Ready():
	case <-time.After(patience):
		r.net.t.Fatal("the relay does not get ready")
	}
	r.Addr = run.Addr()
	r.cfg.Listen = r.Addr
}

// Stop stops the relay.
func (r *Relay) Stop() { r.stop() }

// Addrs lists the relays' addresses.
func (n *Net) Addrs() []string {
	var out []string
	for _, r := range n.Relays {
		out = append(out, r.Addr)
	}
	return out
}

// Handler serves one call; the connection is closed after it.
type Handler func(c net.Conn)

// Echo sends back what it gets.
func Echo(c net.Conn) { _, _ = io.Copy(c, c) }

// Device starts an agent with services that knows all relays, and waits until it
// is online with its first one. change, where set, changes the configuration
// first, e.g. for a second slot.
func (n *Net) Device(serial identity.Serial, services map[string]Handler, change func(*agent.Config)) *agent.Agent {
	n.t.Helper()
	cfg := agent.Config{
		Relays: n.Addrs(), Credentials: n.CA.Credentials(identity.Device(n.CA.TrustDomain, serial)),
		Timing: agent.Timing{BackoffBase: 50 * time.Millisecond, BackoffCap: 200 * time.Millisecond},
		Logger: n.log.Named(string(serial)),
	}
	for name := range services {
		cfg.Services = append(cfg.Services, agent.Service{Name: name, Raw: true})
	}
	if change != nil {
		change(&cfg)
	}
	online := make(chan struct{})
	cfg.OnStatus = func(s agent.SlotStatus) {
		if s.State.Online() {
			select {
			case <-online:
			default:
				close(online)
			}
		}
	}
	a, err := agent.New(cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	var calls sync.WaitGroup
	n.t.Cleanup(calls.Wait)
	for name, handle := range services {
		ln, err := a.Listen(name)
		if err != nil {
			n.t.Fatal(err)
		}
		calls.Go(func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				calls.Go(func() {
					defer func() { _ = c.Close() }()
					handle(c)
				})
			}
		})
	}
	start(n.t, a.Run)
	select {
	case <-online:
	case <-time.After(patience):
		n.t.Fatal("the device does not get online")
	}
	return a
}

// Dialer makes a dialer of a service, that knows all relays.
func (n *Net) Dialer(service string, change func(*dial.Config)) *dial.Dialer {
	n.t.Helper()
	cfg := dial.Config{
		Relays:      n.Addrs(),
		Credentials: n.CA.Credentials(identity.Service(n.CA.TrustDomain, service)),
	}
	if change != nil {
		change(&cfg)
	}
	d, err := dial.New(cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = d.Close() })
	return d
}

// start runs a component until the test ends or stop is called.
func start(t testing.TB, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(patience):
			t.Error("a component does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}
