// Package fleet runs thousands of PBXs in one process: their tunnels share a few UDP
// sockets, their passwords one hasher, and their facts one measurement. Each still has a
// certificate, a state and a tunnel of its own.
//
//	f, err := fleet.New(fleet.Config{Relays: relays, Credentials: creds})
//	go f.Run(ctx)
//	err = f.WaitOnline(ctx, len(creds))
//	f.PBX(serial).Enable(ctx, token, "")
//
// The PBXs have no listener; PBX.Handler answers in memory.
package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/password"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// TransportMix has every second PBX use QUIC, and the others TCP.
const TransportMix = "mix"

// Config says what a fleet is. Credentials are needed, Relays usually.
type Config struct {
	// Relays are the relays that every PBX knows, "host:port". None: there are no
	// tunnels.
	Relays []string
	// Credentials are one device's each.
	Credentials []*enrol.Credentials
	// Transport is agent.TransportQUIC (default), agent.TransportTCP or
	// [TransportMix].
	Transport string
	// Dir has the state of each PBX in Dir/<serial>. Empty: in memory.
	Dir string
	// Dialing bounds the PBXs that shake hands with a relay at once; the others wait
	// as if their processors were slow. Default 16 for each processor; -1: no bound.
	Dialing int
	// PerSocket is how many PBXs share a UDP socket. Default 1000.
	PerSocket int
	// PBX is what all have in common: timing, limits, logger. The fleet sets the rest.
	// Default of its Hasher: one with password.Cheap, as many hashes at once as there
	// are processors.
	PBX pbx.Config
	// Change, where set, gets the configuration of the i-th PBX before it is made, e.g.
	// to make some of them hostile.
	Change func(i int, c *pbx.Config)
}

func (c *Config) fill() error {
	switch c.Transport = cmp.Or(c.Transport, agent.TransportQUIC); c.Transport {
	case agent.TransportQUIC, agent.TransportTCP, TransportMix:
	default:
		return fmt.Errorf("fleet: transport %q, want quic, tcp or mix", c.Transport)
	}
	if len(c.Credentials) == 0 {
		return errors.New("fleet: no credentials")
	}
	c.Dialing = cmp.Or(c.Dialing, 16*runtime.GOMAXPROCS(0))
	c.PerSocket = cmp.Or(c.PerSocket, 1000)
	if c.PerSocket < 1 {
		return fmt.Errorf("fleet: %d PBXs on a socket, want at least 1", c.PerSocket)
	}
	if c.PBX.Hasher == nil {
		c.PBX.Hasher = password.NewHasher(password.Cheap, runtime.GOMAXPROCS(0))
	}
	if c.Dialing > 0 {
		c.PBX.Agent.Timing.ConnectTimeout = cmp.Or(c.PBX.Agent.Timing.ConnectTimeout, time.Minute)
	}
	return nil
}

// Fleet is many PBXs. Make it with [New], run it with [Fleet.Run].
type Fleet struct {
	cfg     Config
	pbxs    []*pbx.PBX
	serials map[identity.Serial]*pbx.PBX
	udp     []*quic.Transport
	dialing chan struct{} // one element per handshake; nil: no bound
	facts   facts
}

// New opens the sockets and makes the PBXs. Run has to be called after it, which closes
// what it has opened.
func New(cfg Config) (*Fleet, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	f := &Fleet{cfg: cfg, serials: make(map[identity.Serial]*pbx.PBX, len(cfg.Credentials))}
	if err := f.open(); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// open opens the sockets and makes the PBXs.
func (f *Fleet) open() error {
	cfg := &f.cfg
	if cfg.Dialing > 0 {
		f.dialing = make(chan struct{}, cfg.Dialing)
	}
	if len(cfg.Relays) > 0 && cfg.Transport != agent.TransportTCP {
		for range (len(cfg.Credentials) + cfg.PerSocket - 1) / cfg.PerSocket {
			pc, err := net.ListenUDP("udp", nil)
			if err != nil {
				return fmt.Errorf("UDP socket of the fleet: %w", err)
			}
			f.udp = append(f.udp, &quic.Transport{Conn: pc, ConnectionIDLength: connectionIDLen})
		}
	}
	f.pbxs = make([]*pbx.PBX, len(cfg.Credentials))
	g := new(errgroup.Group)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range cfg.Credentials {
		g.Go(func() (err error) {
			f.pbxs[i], err = pbx.New(f.member(i))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, p := range f.pbxs {
		f.serials[p.Serial()] = p
	}
	if len(f.serials) != len(f.pbxs) && cfg.Change == nil {
		return errors.New("fleet: two PBXs have one serial")
	}
	return nil
}

// connectionIDLen keeps the connection ids of a socket's sessions apart, also after
// many reconnects.
const connectionIDLen = 8

// streams is how many streams a PBX's session takes at once.
const streams = 64

// member is the configuration of the i-th PBX.
func (f *Fleet) member(i int) pbx.Config {
	c := f.cfg.PBX
	creds := f.cfg.Credentials[i]
	c.Credentials, c.Facts = creds, f.facts.get
	if f.cfg.Dir != "" {
		c.Dir = filepath.Join(f.cfg.Dir, string(creds.ID().Serial()))
	}
	c.Agent = c.Agent.Clone()
	c.Agent.Relays, c.Agent.InstanceID, c.Agent.Program = f.cfg.Relays, agent.NewInstanceID(), "fleet"
	c.Agent.Transport = f.cfg.Transport
	if c.Agent.Transport == TransportMix {
		c.Agent.Transport = []string{agent.TransportQUIC, agent.TransportTCP}[i%2]
	}
	td := creds.ID().TrustDomain
	tls := creds.ClientConfig(identity.RelayDNSName(td), identity.OfKind(td, identity.KindRelay), tunnel.ALPN)
	switch {
	case len(f.cfg.Relays) == 0:
	case c.Agent.Transport == agent.TransportQUIC:
		c.Agent.QUIC = bounded{&quictun.Dialer{
			Config:    quictun.Config{TLS: tls, MaxIncomingStreams: streams},
			Transport: f.udp[i%len(f.udp)],
		}, f.dialing}
	default:
		c.Agent.TCP = bounded{&muxtun.Dialer{Config: muxtun.Config{TLS: tls, MaxIncomingStreams: streams}}, f.dialing}
	}
	if f.cfg.Change != nil {
		f.cfg.Change(i, &c)
	}
	return c
}

// bounded bounds how many PBXs shake hands at once. Each real PBX has a processor of
// its own; thousands that share one would let the handshakes of all time out.
type bounded struct {
	tunnel.Dialer
	places chan struct{} // shared by the fleet; nil: no bound
}

// Dial waits for a place. The agent's ConnectTimeout has to allow for that.
func (b bounded) Dial(ctx context.Context, addr string) (tunnel.Session, error) {
	if b.places != nil {
		select {
		case b.places <- struct{}{}:
			defer func() { <-b.places }()
		case <-ctx.Done():
			return nil, tunnel.Errorf(tunnel.CodeUnreachable, "no processor time for the PBX: %w", ctx.Err())
		}
	}
	return b.Dialer.Dial(ctx, addr)
}

// Run runs the PBXs until ctx ends, or one of them fails. It can be called once.
func (f *Fleet) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.facts.run(ctx) })
	for _, p := range f.pbxs {
		g.Go(func() error {
			if err := p.Run(ctx); err != nil {
				return fmt.Errorf("PBX %s: %w", p.Serial(), err)
			}
			return nil
		})
	}
	return errors.Join(g.Wait(), f.close())
}

func (f *Fleet) close() error {
	var errs []error
	for _, t := range f.udp {
		errs = append(errs, t.Close(), t.Conn.Close())
	}
	return errors.Join(errs...)
}

// PBXs lists the PBXs in the order of the credentials. It must not be changed.
func (f *Fleet) PBXs() []*pbx.PBX { return f.pbxs }

// PBX gives the PBX of a serial, nil if there is none; of clones, the last.
func (f *Fleet) PBX(s identity.Serial) *pbx.PBX { return f.serials[s] }

// Online counts the PBXs that hold a tunnel.
func (f *Fleet) Online() (n int) {
	for _, p := range f.pbxs {
		if a := p.Agent(); a != nil && a.Status().Online() {
			n++
		}
	}
	return n
}

// lookEvery is how often WaitOnline counts.
const lookEvery = 100 * time.Millisecond

// WaitOnline waits until n PBXs hold a tunnel.
func (f *Fleet) WaitOnline(ctx context.Context, n int) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		online := f.Online()
		if online >= n {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d PBXs are online: %w", online, n, context.Cause(ctx))
		}
	}
}
