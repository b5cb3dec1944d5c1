package link

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"golang.org/x/sync/errgroup"
)

var (
	// ErrUnavailable: this machine or this user cannot make namespaces or TUN
	// devices.
	ErrUnavailable = errors.New("no network namespaces with TUN devices here (needs root and /dev/net/tun)")
	// ErrEnded: Run was called before, or Close.
	ErrEnded = errors.New("link: it has ended")
)

// Link joins two namespaces. Make it with [New] or [Pair]; the methods may be
// called by several goroutines.
type Link struct {
	// A and B are the two ends, 10.77.0.1 and 10.77.0.2.
	A, B *Namespace

	ab, ba *line

	mu    sync.Mutex
	ended bool // guarded by mu; Run or Close was called
}

// New makes the namespaces and their devices. Nothing passes before [Link.Run]; who
// does not call it calls [Link.Close].
func New(cfg Config) (*Link, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	a, err := newNamespace(netip.AddrFrom4([4]byte{10, 77, 0, 1}))
	if err != nil {
		return nil, err
	}
	b, err := newNamespace(netip.AddrFrom4([4]byte{10, 77, 0, 2}))
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	return &Link{
		A: a, B: b,
		ab: newLine(a.dev, b.dev, newShaper(cfg, uint64(AToB))),
		ba: newLine(b.dev, a.dev, newShaper(cfg, uint64(BToA))),
	}, nil
}

// Run carries packets until ctx ends. Then the devices are gone, and the
// namespaces too as soon as no socket and no process is left in them.
func (l *Link) Run(ctx context.Context) error {
	if !l.end() {
		return ErrEnded
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, way := range l.lines(Both) {
		g.Go(way.read)
		g.Go(func() error {
			way.write(ctx)
			return nil
		})
	}
	<-ctx.Done()
	return errors.Join(l.A.close(), l.B.close(), g.Wait())
}

// Close frees a link that was never run.
func (l *Link) Close() error {
	if !l.end() {
		return ErrEnded
	}
	return errors.Join(l.A.close(), l.B.close())
}

func (l *Link) end() (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first = !l.ended
	l.ended = true
	return first
}

// lines are those of a direction.
func (l *Link) lines(d Direction) (all []*line) {
	if d&AToB != 0 {
		all = append(all, l.ab)
	}
	if d&BToA != 0 {
		all = append(all, l.ba)
	}
	return all
}

// Set changes what happens to packets from now on; Seed does not count. Packets
// that are under way arrive as they would have, except after a cut.
func (l *Link) Set(d Direction, cfg Config) error {
	return l.Change(d, func(c *Config) { *c = cfg })
}

// Change is Set with what f makes of the configuration of each direction. f must not
// block.
func (l *Link) Change(d Direction, f func(*Config)) error {
	for _, way := range l.lines(d) {
		if err := way.change(f); err != nil {
			return err
		}
	}
	return nil
}

// Counters adds up what became of the packets of a direction. Overrun is the sum
// over the life of the link, and 0 after its end.
func (l *Link) Counters(d Direction) (sum Counters) {
	for _, way := range l.lines(d) {
		c := way.counters()
		sender := l.A
		if way == l.ba {
			sender = l.B
		}
		if n, err := sender.overrun(); err == nil { // an ended link has no device
			sum.Overrun += n
		}
		sum.Passed += c.Passed
		sum.Bytes += c.Bytes
		sum.Lost += c.Lost
		sum.Cut += c.Cut
		sum.TooBig += c.TooBig
		sum.QueueFull += c.QueueFull
		sum.Reordered += c.Reordered
		sum.Refused += c.Refused
	}
	return sum
}

// SetCongestion sets the congestion control of later TCP connections over the link,
// at both ends, e.g. "cubic" or "bbr"; net.ipv4.tcp_available_congestion_control
// lists those that the machine has. It holds until [Namespace.SetAddr].
func (l *Link) SetCongestion(algorithm string) error {
	return errors.Join(l.A.setCongestion(algorithm), l.B.setCongestion(algorithm))
}
