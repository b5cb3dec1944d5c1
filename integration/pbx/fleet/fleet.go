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
//
// A PBX can be switched off and on again while the fleet runs ([Fleet.Off], [Fleet.On]):
// it forgets what a real one forgets without power, and comes back from its state. So
// does a whole fleet with Config.Dir in another process.
package fleet

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/integration/dev/facts"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/password"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
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
	// Dir has the state of each PBX in Dir/<serial>. Empty: in memory, for as long as
	// there is the fleet.
	Dir string
	// Seed, with the PBX's number, decides calls and instance ids: those of a fleet that
	// comes back are the same, so that no relay takes it for copies of itself.
	Seed uint64
	// Rate is how many PBXs are started per second. 0: all at once.
	Rate float64
	// Dialing bounds the PBXs that shake hands with a relay at once; the others wait
	// as if their processors were slow. Default 16 for each processor; -1: no bound.
	Dialing int
	// PerSocket is how many PBXs share a UDP socket. Default 1000.
	PerSocket int
	// PBX is what all have in common: timing, limits, logger. The fleet sets the rest;
	// each has one tunnel.
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
	if c.PerSocket < 1 || c.Rate < 0 {
		return fmt.Errorf("fleet: %d PBXs on a socket and %g started per second, want at least 1 and at least 0", c.PerSocket, c.Rate)
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
	members []*member // never changed after New
	serials map[identity.Serial]int
	udp     []*quic.Transport
	dialing chan struct{} // one element per handshake; nil: no bound
	facts   *facts.Server

	mu    sync.Mutex // guards count and what members say is guarded by it
	count Counts
}

// New opens the sockets and makes the PBXs. Run has to be called after it, which closes
// what it has opened.
func New(cfg Config) (*Fleet, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	f := &Fleet{
		cfg: cfg, serials: make(map[identity.Serial]int, len(cfg.Credentials)), facts: facts.New(facts.Config{Interval: pbx.MeasureEvery}),
		count: Counts{PBXs: len(cfg.Credentials), Failed: map[string]int{}, Lost: map[string]int{}},
	}
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
	f.members = make([]*member, len(cfg.Credentials))
	g := new(errgroup.Group)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range cfg.Credentials {
		g.Go(func() (err error) {
			f.members[i], err = f.newMember(i)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, m := range f.members {
		f.serials[m.cfg.Credentials.ID().Serial()] = i
	}
	if len(f.serials) != len(f.members) && cfg.Change == nil {
		return errors.New("fleet: two PBXs have one serial")
	}
	return nil
}

// connectionIDLen keeps the connection ids of a socket's sessions apart, also after
// many reconnects.
const connectionIDLen = 8

// streams is how many streams a PBX's session takes at once.
const streams = 64

// config is the configuration of the i-th PBX.
func (f *Fleet) config(i int) pbx.Config {
	c := f.cfg.PBX
	creds := f.cfg.Credentials[i]
	c.Credentials, c.Facts = creds, f.facts.Latest
	if f.cfg.Dir != "" {
		c.Dir = filepath.Join(f.cfg.Dir, string(creds.ID().Serial()))
	} else {
		c.Disk = new(state.Memory)
	}
	rng := rand.New(rand.NewPCG(f.cfg.Seed, uint64(i))) //nolint:gosec // not negative; no secret
	c.Seed = cmp.Or(rng.Uint64(), 1)                    // 0 would be the serial's
	c.Agent = c.Agent.Clone()
	c.Agent.Relays, c.Agent.InstanceID, c.Agent.Program = f.cfg.Relays, instanceID(rng), "fleet"
	c.Agent.Transport, c.Agent.Slots = f.cfg.Transport, 1
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

func instanceID(rng *rand.Rand) []byte {
	id := make([]byte, 0, tunnel.IDLen+8)
	for len(id) < tunnel.IDLen {
		id = binary.BigEndian.AppendUint64(id, rng.Uint64())
	}
	return id[:tunnel.IDLen]
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

// Run starts the PBXs and runs them until ctx ends, or one of them fails. It can be
// called once.
func (f *Fleet) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.facts.Run(ctx) })
	begin := time.Now()
	for i, m := range f.members {
		if f.cfg.Rate > 0 {
			sleep(ctx, time.Until(begin.Add(time.Duration(float64(i)/f.cfg.Rate*float64(time.Second)))))
		}
		g.Go(func() error { return m.run(ctx) })
	}
	return errors.Join(g.Wait(), f.close())
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (f *Fleet) close() error {
	var errs []error
	for _, t := range f.udp {
		errs = append(errs, t.Close(), t.Conn.Close())
	}
	return errors.Join(errs...)
}

// PBXs lists the PBXs in the order of the credentials. One that is switched off and on
// is another one afterwards.
func (f *Fleet) PBXs() []*pbx.PBX {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]*pbx.PBX, len(f.members))
	for i, m := range f.members {
		list[i] = m.pbx
	}
	return list
}

// PBX gives the PBX of a serial, nil if there is none; of clones, the last. It is the
// one of now, see PBXs.
func (f *Fleet) PBX(s identity.Serial) *pbx.PBX {
	i, ok := f.serials[s]
	if !ok {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[i].pbx
}

// Online counts the PBXs that hold a tunnel.
func (f *Fleet) Online() int { return f.Counts().Online }

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
