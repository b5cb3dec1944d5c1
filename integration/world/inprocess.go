package world

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/server"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

// inProcess runs the parts in goroutines.
type inProcess struct {
	world     *World
	relays    []*relay.Relay
	instances [][]byte // by device; kept over its restarts

	mu    sync.Mutex                    // guards creds
	creds map[string]*enrol.Credentials // of running parts, by directory
}

// use notes the credentials of a part that starts.
func (p *inProcess) use(dir string, c *enrol.Credentials) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.creds[dir] = c
}

// RelayCredentials are those that relay i uses, to be renewed or swapped under it;
// for [InProcess], where nothing renews them.
func (w *World) RelayCredentials(i int) *enrol.Credentials { return w.credentials(relayDir(i)) }

// DeviceCredentials are those that device i uses, as in RelayCredentials.
func (w *World) DeviceCredentials(i int) *enrol.Credentials {
	return w.credentials(deviceDir(w.Device(i)))
}

func (w *World) credentials(dir string) *enrol.Credentials {
	p, ok := w.starter.(*inProcess)
	if !ok {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.creds[dir]
}

func (p *inProcess) startPKI(ctx context.Context) (unit, error) {
	w := p.world
	cfg := authority.Config{
		StateDir: w.path("pki", "state"), TrustDomain: w.cfg.TrustDomain, PlainKeys: true, Logger: w.cfg.Logger.Named("pki"),
	}
	if _, err := authority.Init(cfg); err != nil && !errors.Is(err, authority.ErrInitialised) {
		return nil, err
	}
	// A directory from before there were names gets what it lacks.
	if _, err := authority.InitServer(cfg); err != nil && !errors.Is(err, authority.ErrInitialised) {
		return nil, err
	}
	a, err := authority.New(cfg)
	if err != nil {
		return nil, err
	}
	scfg := server.Config{Listen: w.pkiAddr, EnrolPerMinute: -1, Authority: a, StateDir: cfg.StateDir, Logger: cfg.Logger}
	if w.cfg.Names {
		scfg.ACMEListen, scfg.ACME = w.acmeAddr, w.acmeConfig()
	}
	s, err := server.New(scfg)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	t := startTask(func(ctx context.Context) error { return errors.Join(s.Run(ctx), a.Close()) })
	return await(ctx, t, s.Ready())
}

// await waits until a task is ready.
func await(ctx context.Context, t *task, ready <-chan struct{}) (unit, error) {
	select {
	case <-ready:
		return t, nil
	case <-t.ended:
		return nil, errors.Join(errors.New("ended before it was ready"), t.result)
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), t.kill())
	}
}

func (p *inProcess) startRelay(ctx context.Context, i int) (unit, error) {
	w := p.world
	creds, err := enrol.LoadCredentials(w.path(relayDir(i), "credentials"))
	if err != nil {
		return nil, err
	}
	cfg := w.relayConfig(i)
	cfg.Credentials, cfg.Logger = creds, w.cfg.Logger.Named(relayDir(i))
	p.use(relayDir(i), creds)
	var names *servercert.Server
	if w.cfg.Names {
		ncfg := w.namesConfig(i)
		ncfg.Listen, ncfg.Roots, ncfg.Logger = cfg.Listen, creds.Pool, cfg.Logger.Named("names")
		if names, err = servercert.New(ncfg); err != nil {
			return nil, err
		}
		cfg.Names = names
	}
	r, err := relay.New(cfg)
	if err != nil {
		return nil, err
	}
	pki, _ := w.PKI()
	feed, err := blocks.New(blocks.Config{URL: pki, Credentials: creds, CacheFile: w.path(relayDir(i), "state", "blocks.json"), Logger: cfg.Logger.Named("blocks")})
	if err != nil {
		return nil, err
	}
	t := startTask(func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return feed.Run(ctx, func(l blocks.List) { r.SetBlocks(l) }) })
		g.Go(func() error {
			select {
			case <-feed.Loaded():
				return r.Run(ctx)
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if names != nil {
			g.Go(func() error {
				select {
				case <-r.Ready():
					return names.Run(ctx)
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		}
		return g.Wait()
	})
	t.drain = func(ctx context.Context) { r.Drain(ctx) }
	p.relays[i] = r
	return await(ctx, t, r.Ready())
}

// relayConfig is what both kinds of world tell a relay.
func (w *World) relayConfig(i int) relay.Config {
	cfg := relay.DefaultConfig()
	cfg.Listen = w.relays[i]
	cfg.StateDir = w.path(relayDir(i), "state")
	cfg.Heartbeat = w.cfg.Heartbeat
	cfg.Ports = ports()
	cfg.Policy = w.cfg.Policy
	cfg.Drain.Deadline = w.cfg.DrainDeadline
	return cfg
}

func (p *inProcess) startDevice(ctx context.Context, i int) (unit, error) {
	w, d := p.world, p.world.cfg.Devices[i]
	creds, err := p.enrolled(ctx, d.Serial)
	if err != nil {
		return nil, err
	}
	cfg := w.agentConfig(i)
	if p.instances[i] == nil {
		p.instances[i] = agent.NewInstanceID()
	}
	cfg.InstanceID = p.instances[i]
	cfg.Credentials, cfg.Logger = creds, w.cfg.Logger.Named(deviceDir(d.Serial))
	p.use(deviceDir(d.Serial), creds)
	if d.PBX {
		return p.startPBX(ctx, i, cfg)
	}
	a, err := agent.New(cfg)
	if err != nil {
		return nil, err
	}
	return startTask(a.Run), nil
}

// enrolled gives the credentials of a device, which it gets at its first start.
func (p *inProcess) enrolled(ctx context.Context, serial identity.Serial) (*enrol.Credentials, error) {
	w := p.world
	dir := w.path(deviceDir(serial), "credentials")
	if creds, err := enrol.LoadCredentials(dir); err == nil {
		return creds, nil
	}
	id := identity.Device(w.cfg.TrustDomain, serial)
	token, err := w.admin.Token(ctx, id, 0)
	if err != nil {
		return nil, err
	}
	url, _ := w.PKI()
	client := &enrol.Client{URL: url, TrustDomain: w.cfg.TrustDomain, Roots: w.roots}
	creds, err := client.Enrol(ctx, token.Token, id)
	if err != nil {
		return nil, err
	}
	return creds, creds.Save(dir)
}

// agentConfig is what both kinds of world tell a device.
func (w *World) agentConfig(i int) agent.Config {
	d := w.cfg.Devices[i]
	cfg := agent.Default()
	cfg.Relays, cfg.Timing = w.relays, w.cfg.Timing
	if t := w.targets[i]; t != nil {
		cfg.Services = t.services
	}
	if d.Transport != "" {
		cfg.Transport = d.Transport
	}
	if d.Slots > 0 {
		cfg.Slots = d.Slots
	}
	return cfg
}

func (p *inProcess) drain(ctx context.Context, i int) (relay.Drained, error) {
	return p.relays[i].Drain(ctx), nil
}

func (p *inProcess) sessions(_ context.Context, i int) ([]relay.SessionInfo, error) {
	p.world.mu.Lock()
	stopped := p.world.relay[i] == nil
	p.world.mu.Unlock()
	if stopped {
		return nil, fmt.Errorf("%s is stopped", relayDir(i))
	}
	return p.relays[i].Sessions(""), nil
}
