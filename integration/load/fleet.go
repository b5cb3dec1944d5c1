package load

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// TransportMix has every second device use QUIC, and the others TCP.
const TransportMix = "mix"

// FleetConfig says what a fleet is. Devices, Relays and Certificates are needed.
type FleetConfig struct {
	// Devices is how many there are.
	Devices int
	// Relays are the relays that every device knows, "host:port".
	Relays []string
	// Transport is agent.TransportQUIC (default), agent.TransportTCP or
	// [TransportMix].
	Transport string
	// Certificates are the devices'.
	Certificates Certificates
	// Seed decides instance ids and churn.
	Seed uint64

	// ConnectRate is how many devices are started per second. 0: as fast as
	// Connecting allows.
	ConnectRate float64
	// Connecting bounds the devices that have been started and have neither been
	// welcomed nor failed yet. More do not connect faster: handshakes keep the
	// processors busy, and those that wait time out. Default 16 for each processor.
	Connecting int
	// Dialing bounds the devices that shake hands with a relay at once, at any time;
	// the others wait as if their processors were slow. It keeps devices that all
	// come back at once from taking the processors away from the relay. Default 16
	// for each processor; -1: no bound.
	Dialing int
	// DevicesPerSocket is how many devices share a UDP socket. Default 1000.
	DevicesPerSocket int
	// Sources is how many loopback addresses connections leave from when the
	// relays are on this machine. Default 8, at most 200.
	Sources int

	// Agent holds timing, limits and logger of the agents; the fleet sets the rest.
	Agent agent.Config
}

func (c *FleetConfig) fill() {
	def(&c.Transport, agent.TransportQUIC)
	def(&c.Connecting, 16*runtime.GOMAXPROCS(0))
	def(&c.Dialing, 16*runtime.GOMAXPROCS(0))
	def(&c.DevicesPerSocket, 1000)
	def(&c.Sources, 8)
	if c.Dialing > 0 {
		def(&c.Agent.Timing.ConnectTimeout, time.Minute)
	}
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports every value that cannot be used.
func (c FleetConfig) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("fleet: "+format, args...)) }
	if c.Devices < 1 {
		bad("%d devices, want at least 1", c.Devices)
	}
	if len(c.Relays) == 0 {
		bad("no relay")
	}
	if c.Certificates == nil {
		bad("no certificates")
	}
	switch c.Transport {
	case "", agent.TransportQUIC, agent.TransportTCP, TransportMix:
	default:
		bad("transport %q, want quic, tcp or mix", c.Transport)
	}
	if c.ConnectRate < 0 || c.Connecting < 0 || c.Dialing < -1 || c.DevicesPerSocket < 0 || c.Sources < 0 || c.Sources > 200 {
		bad("a negative number, or more than 200 source addresses")
	}
	return errors.Join(errs...)
}

// Fleet is many devices in one process. Make it with [NewFleet], run it with
// [Fleet.Run]; the other methods may be called at any time.
type Fleet struct {
	cfg     FleetConfig
	devices []*device     // never changed after NewFleet
	dialing chan struct{} // one element per handshake; nil: no bound

	mu      sync.Mutex // guards what follows, and the devices' states
	count   Counts
	connect *Histogram
	back    comeback
	sockets *sockets      // what the devices share; nil before Run
	started time.Time     // of the first device
	newest  time.Time     // of the first welcomes
	changed chan struct{} // closed and replaced at each change
}

// Counts are what happened to a fleet's devices so far.
type Counts struct {
	// Devices in all, and those that hold a session now.
	Devices int `json:"devices"`
	Online  int `json:"online"`
	// Welcomes counts the sessions.
	Welcomes int `json:"welcomes"`
	// Failed counts the attempts that ended without a welcome, and Lost the
	// sessions that ended, both by error number.
	Failed map[string]int `json:"failed,omitempty"`
	Lost   map[string]int `json:"lost,omitempty"`
	// Back is how many devices got a new session since the last [Fleet.Mark].
	Back int `json:"back"`
}

// NewFleet makes the devices; it opens and connects nothing.
func NewFleet(cfg FleetConfig) (*Fleet, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.fill()
	serials, err := cfg.Certificates.Serials(cfg.Devices)
	if err != nil {
		return nil, err
	}
	f := &Fleet{
		cfg: cfg, devices: make([]*device, cfg.Devices), connect: NewHistogram(), changed: make(chan struct{}),
		count: Counts{Devices: cfg.Devices, Failed: map[string]int{}, Lost: map[string]int{}},
	}
	if cfg.Dialing > 0 {
		f.dialing = make(chan struct{}, cfg.Dialing)
	}
	td := cfg.Certificates.TrustDomain()
	err = inParallel(cfg.Devices, func(i int) error {
		creds, err := cfg.Certificates.Credentials(identity.Device(td, serials[i]))
		if err != nil {
			return fmt.Errorf("certificate of device %s: %w", serials[i], err)
		}
		f.devices[i] = newDevice(f, i, creds)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Run opens what the devices share, starts them one after the other and keeps them
// running until ctx ends. It can be called once.
func (f *Fleet) Run(ctx context.Context) error {
	services, err := openServices()
	if err != nil {
		return err
	}
	udp := (f.cfg.Devices + f.cfg.DevicesPerSocket - 1) / f.cfg.DevicesPerSocket
	if f.cfg.Transport == agent.TransportTCP {
		udp = 0
	}
	sockets, err := openSockets(ctx, f.cfg.Relays, udp, f.cfg.Sources)
	if err != nil {
		return errors.Join(err, services.close())
	}
	f.mu.Lock()
	f.sockets = sockets
	f.mu.Unlock()
	for i, d := range f.devices {
		d.attach(i, sockets, services)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return services.run(ctx) })
	f.start(ctx, g)
	err = g.Wait()
	return errors.Join(err, sockets.close())
}

// start starts the devices at the rate and within the bound of the configuration.
func (f *Fleet) start(ctx context.Context, g *errgroup.Group) {
	begin := time.Now()
	f.mu.Lock()
	f.started = begin
	f.mu.Unlock()
	places := make(chan struct{}, f.cfg.Connecting)
	for i, d := range f.devices {
		if f.cfg.ConnectRate > 0 {
			due := begin.Add(time.Duration(float64(i) / f.cfg.ConnectRate * float64(time.Second)))
			sleep(ctx, time.Until(due))
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		settled := make(chan struct{})
		f.mu.Lock()
		d.settled = settled
		f.mu.Unlock()
		g.Go(func() error { return d.run(ctx) })
		g.Go(func() error {
			select {
			case <-settled:
			case <-ctx.Done():
			}
			<-places
			return nil
		})
	}
}

// Serials lists the devices' serials.
func (f *Fleet) Serials() []identity.Serial {
	list := make([]identity.Serial, len(f.devices))
	for i, d := range f.devices {
		list[i] = d.cfg.Credentials.ID().Serial()
	}
	return list
}

// Counts gives the counts of now.
func (f *Fleet) Counts() Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.count
	c.Failed, c.Lost = maps.Clone(c.Failed), maps.Clone(c.Lost)
	return c
}

// WaitOnline waits until n devices hold a session.
func (f *Fleet) WaitOnline(ctx context.Context, n int) error {
	return f.wait(ctx, func() bool { return f.count.Online >= n })
}

// wait waits until ok, which is called with the lock held.
func (f *Fleet) wait(ctx context.Context, ok func() bool) error {
	for {
		f.mu.Lock()
		done, changed := ok(), f.changed
		f.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// announce wakes those that wait. mu is held.
func (f *Fleet) announce() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// welcomed notes a new session of a device. mu is held.
func (f *Fleet) welcomed(d *device, now time.Time) {
	f.count.Welcomes++
	if !d.online {
		d.online = true
		f.count.Online++
	}
	if !d.been {
		d.been, f.newest = true, now
		f.connect.Add(now.Sub(d.begun))
	}
	if f.back.note(d, now) {
		f.count.Back++
	}
}
