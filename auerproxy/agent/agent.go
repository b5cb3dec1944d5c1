package agent

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/e2e"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// ErrRunning: Run was called a second time.
var ErrRunning = errors.New("agent: Run was called before")

// Agent is one device's end of its tunnels. Make it with [New]; all methods may
// be called at the same time from several goroutines.
type Agent struct {
	cfg      Config // filled; never changed after New
	self     identity.ID
	boot     []byte
	log      hclog.Logger
	services map[string]*service // never changed after New
	slots    []*slot             // never changed after New
	pool     *e2e.Pool           // of the sessions to services of the data centre
	tickets  tickets

	started  atomic.Bool
	attempts atomic.Uint64
	wg       sync.WaitGroup // everything that Run starts

	pollOnce sync.Once
	poller   *splice.Poller // set by pollOnce
}

// New checks the configuration and makes an agent that does nothing until Run.
func New(cfg Config) (*Agent, error) {
	cfg = cfg.Clone()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.fill()
	if err := cfg.checkRuntime(); err != nil {
		return nil, err
	}
	a := &Agent{
		cfg: cfg, self: cfg.Credentials.ID(), boot: tunnel.NewID(), log: cfg.Logger,
		services: make(map[string]*service, len(cfg.Services)),
	}
	for _, sc := range cfg.Services {
		s, err := newService(a, sc)
		if err != nil {
			return nil, err
		}
		a.services[sc.Name] = s
	}
	for i := range cfg.Slots {
		a.slots = append(a.slots, newSlot(a, i))
	}
	a.pool = e2e.NewPool(e2e.PoolConfig{Dial: a.dialService, IdleTimeout: cfg.Limits.SessionIdle})
	return a, nil
}

// ID is the device.
func (a *Agent) ID() identity.ID { return a.self }

// BootID is what the agent tells relays about itself: it was made with the agent, so that
// a device that has started anew can be told from one that has only come back.
func (a *Agent) BootID() []byte { return bytes.Clone(a.boot) }

// Run holds the tunnels and answers calls until ctx ends, and returns nil when
// everything that it started has ended. A relay that cannot be reached is no
// error, see [Agent.Status]. Run can be called once.
func (a *Agent) Run(ctx context.Context) error {
	if a.started.Swap(true) {
		return ErrRunning
	}
	for _, s := range a.services {
		a.wg.Go(func() { s.run(ctx) })
	}
	for _, s := range a.slots {
		a.wg.Go(func() { s.run(ctx) })
	}
	<-ctx.Done()
	a.pool.Close()
	a.wg.Wait()
	return a.poller.Close()
}

// sockets gives what waits for the sockets of targets, from the first call of an agent
// that runs on; nil where there is nothing, and each waits in a goroutine.
func (a *Agent) sockets() *splice.Poller {
	if !a.started.Load() {
		return nil
	}
	a.pollOnce.Do(func() {
		var err error
		if a.poller, err = splice.NewPoller(); err != nil {
			a.log.Warn("sockets wait in goroutines", "error", err)
		}
	})
	return a.poller
}

// helloFor is what a slot says to a relay.
func (a *Agent) helloFor(slot int) *tunnel.Hello {
	names := make([]string, 0, len(a.cfg.Services))
	for _, s := range a.cfg.Services {
		names = append(names, s.Name)
	}
	return &tunnel.Hello{
		InstanceId: a.cfg.InstanceID, BootId: a.boot, Attempt: a.attempts.Add(1),
		Slot:     uint32(slot), //nolint:gosec // at most 4
		Services: names, Agent: a.cfg.Program,
	}
}
