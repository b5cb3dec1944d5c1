package pbx

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	ara "github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/dev/facts"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/remote"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/tlsend"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// PBX is one PBX. Make it with [New]; all methods may be called at the same time from
// several goroutines.
type PBX struct {
	cfg      Config
	self     identity.ID
	disk     state.Disk
	store    *state.Store
	agent    atomic.Pointer[agent.Agent] // nil: no tunnel; another after each restart
	cloud    wire.CCC
	log      hclog.Logger
	sessions sessions
	guard    guard
	typos    typos
	offering offering
	local    http.Handler // pages and API
	pairing  http.Handler // what the control centre calls
	gateway  http.Handler // what the gateway calls, about its session
	remote   *remote.Machine
	tls      *tlsend.End   // nil: there is none
	tunnelUp chan struct{} // closed when a tunnel is up for the first time
	host     func() (facts.Facts, error)
	measure  func(context.Context) error // nil: Config.Facts is used
	life     lifetime
	upkeep   upkeep
	kick     chan struct{} // wakes talk; holds one
	first    chan struct{} // holds one while the first password and its files change

	mu         sync.Mutex  // guards what follows
	completion *completion // nil while nothing is being completed
	want       want
	contact    time.Time       // last answer of the control centre, with monotonic clock
	refusals   []refusal       // in a row
	slots      map[int]string  // the last session of each slot of the tunnel
	recorded   *wire.Complete  // of a PBX that replays; nil: none yet
	over       context.Context // of Run; nil before and after it

	dials sync.WaitGroup // those of dialCloud; added to while over is not nil
	cut   atomic.Int64   // see Cut
}

// New reads the state, or makes that of a new PBX. It starts nothing; Handler can be
// used at once.
func New(cfg Config) (*PBX, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	p := &PBX{
		cfg: cfg, self: cfg.Credentials.ID(), log: cfg.Logger,
		life: lifetime{restarts: make(chan struct{}, 1)}, upkeep: upkeep{install: make(chan struct{}, 1)},
		kick: make(chan struct{}, 1), first: make(chan struct{}, 1), typos: newTypos(), offering: newOffering(), host: cfg.Facts,
		slots: make(map[int]string), tunnelUp: make(chan struct{}),
	}
	switch {
	case cfg.Disk != nil:
		p.disk = cfg.Disk
	case cfg.Dir == "":
		p.disk = new(state.Memory)
	default:
		p.disk = state.Dir(cfg.Dir)
	}
	var err error
	if p.store, err = state.Open(p.disk, p.firstState); err != nil {
		return nil, err
	}
	if err := p.settleFirst(); err != nil {
		return nil, err
	}
	if err := p.openRemote(); err != nil {
		return nil, err
	}
	if err := p.openTLS(); err != nil {
		return nil, err
	}
	if err := p.openFirmware(); err != nil {
		return nil, err
	}
	p.contact = p.lastContact()
	if p.host == nil {
		s := facts.New(facts.Config{Serial: p.Serial(), Interval: MeasureEvery, Logger: p.log})
		p.host, p.measure = s.Latest, s.Run
	}
	if err := p.startUp(); err != nil {
		return nil, err
	}
	p.cloud = wire.CCC{HTTP: p.hostileClient(wire.HTTPClient(p.dialCloud)), MaxBody: cfg.Limits.MaxBody}
	p.pairing = p.hostileHandler(p.pairingHandler())
	p.local = p.handler()
	p.want.sync = true
	return p, nil
}

func (p *PBX) newAgent() error {
	ac := p.cfg.Agent.Clone()
	ac.Credentials, ac.Logger = p.cfg.Credentials, p.log
	ac.OnStatus = func(st agent.SlotStatus) {
		p.tunnelChanged(st)
		if f := p.cfg.Agent.OnStatus; f != nil {
			f(st)
		}
	}
	ac.Services = []agent.Service{
		{Name: wire.Service, Allow: []string{cloudName}},
		{Name: webService, Allow: []string{cloudName, remoteName}},
		{Name: ara.ServiceName, Allow: []string{remoteName}},
		{Name: string(grant.TCP), Allow: []string{remoteName}},
		{Name: string(grant.SSH), Allow: []string{remoteName}},
	}
	if p.tls != nil {
		ac.Services = append(ac.Services, agent.Service{Name: string(grant.TLS), Allow: []string{remoteName}})
	}
	if ac.Program == "" {
		ac.Program = "pbx"
	}
	a, err := agent.New(ac)
	if err != nil {
		return fmt.Errorf("pbx: %w", err)
	}
	p.agent.Store(a)
	return nil
}

// Serial is the PBX's.
func (p *PBX) Serial() identity.Serial { return p.self.Serial() }

// State gives a snapshot of what the PBX remembers. It must not be changed.
func (p *PBX) State() *state.State { return p.store.View() }

// Agent is the PBX's tunnel, nil where it has none. After a restart it is another.
func (p *PBX) Agent() *agent.Agent { return p.agent.Load() }

// Handler serves the pages and the API to the local network.
func (p *PBX) Handler() http.Handler { return p.local }

// Run holds the tunnel, answers what comes through it and talks with the control
// centre until ctx ends, over all restarts. It returns when everything that it started has
// ended. It can be called once.
func (p *PBX) Run(ctx context.Context) error {
	defer p.remote.Close()
	ctx, end := context.WithCancel(ctx)
	defer end()
	g, ctx := errgroup.WithContext(ctx)
	if p.measure != nil {
		g.Go(func() error { return p.measure(ctx) })
	}
	if p.tls != nil && p.Agent() != nil {
		g.Go(func() error { return p.runTLS(ctx) })
	}
	err := p.lives(ctx)
	end()
	return errors.Join(err, g.Wait())
}

// live is Run from one start to the next, before which it returns errRestart.
func (p *PBX) live(ctx context.Context) error {
	var listeners []net.Listener
	targets := make(map[grant.Service]net.Listener)
	services := []string{wire.Service, webService, ara.ServiceName, string(grant.TCP), string(grant.SSH)}
	if p.tls != nil {
		services = append(services, string(grant.TLS))
	}
	var proofs sync.WaitGroup
	defer proofs.Wait()
	ctx, end := context.WithCancel(ctx)
	defer end()
	g, ctx := errgroup.WithContext(ctx)
	tunnel := p.Agent()
	for _, service := range services {
		if tunnel == nil {
			break
		}
		ln, err := tunnel.Listen(service)
		if err != nil {
			return err
		}
		switch service {
		case string(grant.TCP), string(grant.SSH):
			targets[grant.Service(service)] = ln
			continue
		case webService:
			ln = webListener{ln, p}
		case string(grant.TLS):
			listeners = append(listeners, p.tlsListener(ctx, ln, &proofs))
			continue
		}
		listeners = append(listeners, p.hostileListener(ln))
	}
	defer p.dialling(ctx)()
	if tunnel != nil {
		srv := p.tunnelServer(ctx)
		own := newHanded()
		listeners = append(listeners, own)
		for service, ln := range targets {
			g.Go(func() error { return p.forward(ctx, ln, service, own) })
			defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
		}
		for _, ln := range listeners {
			g.Go(func() error {
				if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
					return err
				}
				return nil
			})
		}
		defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
		g.Go(func() error { return tunnel.Run(ctx) })
	}
	g.Go(func() error { return p.talk(ctx) })
	again := p.maintain(ctx)
	end()
	if err := g.Wait(); err != nil {
		return err
	}
	return again
}

// update changes the state and tells whom it concerns.
func (p *PBX) update(f func(*state.State) error) error {
	if err := p.store.Update(f); err != nil {
		return err
	}
	if p.cfg.OnChange != nil {
		p.cfg.OnChange()
	}
	return nil
}

// now is the time by which statements of others are verified.
func (p *PBX) now() time.Time { return p.cfg.Clock.Now() }

// dialCloud opens a connection to the control centre's service "pairing". An HTTP
// client goes on dialling when its request is over, so the end of Run ends it.
func (p *PBX) dialCloud(ctx context.Context) (net.Conn, error) {
	p.mu.Lock()
	over := p.over
	if over == nil {
		p.mu.Unlock()
		return nil, errNotRunning
	}
	p.dials.Add(1)
	p.mu.Unlock()
	defer p.dials.Done()
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Limits.Call)
	defer cancel()
	defer context.AfterFunc(over, cancel)()
	var c net.Conn
	var err error
	tunnel := p.Agent()
	switch {
	case p.cfg.Dial != nil:
		c, err = p.cfg.Dial(ctx)
	case tunnel != nil:
		c, err = tunnel.DialWith(ctx, cloudName, wire.Service, agent.DialOptions{Purpose: wire.Service})
	default:
		err = errNoTunnel
	}
	if err != nil {
		return nil, err
	}
	return p.hostileConn(c), nil
}

// dialling lets dialCloud work until ctx ends, and waits for it then.
func (p *PBX) dialling(ctx context.Context) (end func()) {
	p.mu.Lock()
	p.over = ctx
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		p.over = nil
		p.mu.Unlock()
		p.dials.Wait()
	}
}

var (
	errNoTunnel   = errors.New("there is no tunnel: no relay is configured")
	errNotRunning = errors.New("the PBX does not run")
)

// seed decides the calls.
func (p *PBX) seed() uint64 {
	if p.cfg.Seed != 0 {
		return p.cfg.Seed
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(p.Serial())) // never fails
	return h.Sum64()
}
