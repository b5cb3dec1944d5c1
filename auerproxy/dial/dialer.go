package dial

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/e2e"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Dialer opens calls to devices and takes calls from them. Make it with [New]; all
// methods may be called at the same time from several goroutines.
type Dialer struct {
	cfg   Config // filled; never changed after New
	self  identity.ID
	boot  []byte
	log   hclog.Logger
	links []*link // one per relay; never changed after New
	pool  *e2e.Pool
	opens chan struct{} // one place per call that is being opened

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	begin  sync.Once
	wg     sync.WaitGroup // everything that the dialer starts

	attempts atomic.Uint64 // connection attempts

	mu        sync.Mutex // guards what follows
	closed    bool
	found     map[identity.ID]*link // where a target was last reached
	listeners map[string]*Listener
}

// New checks the configuration and makes a dialer, which connects to its relays
// when it is first used.
func New(cfg Config) (*Dialer, error) {
	cfg = cfg.Clone()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.fill()
	if err := cfg.checkRuntime(); err != nil {
		return nil, err
	}
	d := &Dialer{
		cfg: cfg, self: cfg.Credentials.ID(), boot: tunnel.NewID(), log: cfg.Logger,
		opens:     make(chan struct{}, cfg.Limits.Opens),
		found:     make(map[identity.ID]*link),
		listeners: make(map[string]*Listener),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.pool = e2e.NewPool(e2e.PoolConfig{
		Dial: d.dialSession, DialTimeout: cfg.Timing.SessionTimeout, IdleTimeout: cfg.Timing.SessionIdle,
	})
	for _, addr := range cfg.Relays {
		d.links = append(d.links, newLink(d, addr))
	}
	return d, nil
}

// ID is the service that the dialer speaks for.
func (d *Dialer) ID() identity.ID { return d.self }

// Device names a device of the dialer's trust domain.
func (d *Dialer) Device(serial identity.Serial) identity.ID {
	return identity.Device(d.self.TrustDomain, serial)
}

// Service gives the service that a port stands for, see [Config.Ports].
func (d *Dialer) Service(port int) (string, bool) {
	s, ok := d.cfg.Ports[port]
	return s, ok
}

// start connects to the relays, once.
func (d *Dialer) start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return tunnel.Errorf(tunnel.CodeShutdown, "the dialer is closed")
	}
	d.begin.Do(func() {
		for _, l := range d.links {
			d.wg.Go(func() { l.run(d.ctx) })
		}
	})
	return nil
}

// Close ends every call, session and listener of the dialer, and returns when all
// that it started has ended.
func (d *Dialer) Close() error {
	d.mu.Lock()
	d.closed = true
	listeners := d.listeners
	d.listeners = map[string]*Listener{}
	d.mu.Unlock()
	for _, ln := range listeners {
		_ = ln.Close()
	}
	d.pool.Close()
	d.cancel()
	d.wg.Wait()
	return nil
}

// Inner says what runs inside the relay stream of a call.
type Inner uint8

// The kinds of calls.
const (
	// Mux is a stream of the kept end-to-end session with the device: no handshake
	// per call.
	Mux Inner = iota
	// TLS is an end-to-end TLS connection of its own.
	TLS
	// Raw has no end-to-end TLS: for protocols that bring their own, such as SSH,
	// where policy and device allow it.
	Raw
	// OwnTLS is like TLS, but what uses the Conn speaks the TLS itself and has to
	// verify the device: for a browser behind a proxy.
	OwnTLS
	// Bulk is like TLS, on a TCP connection of its own beside the tunnel, where the
	// device's service takes that and TCP reaches the relay; where not, it is TLS.
	// For much data: the relay moves it in the kernel. See package bulk.
	Bulk
)

// Call says what to open. Target and Service are needed.
type Call struct {
	// Target is a device ([Dialer.Device]) or a service.
	Target identity.ID
	// Service is the name of the service there, e.g. "web".
	Service string
	// Purpose says what the call is for, e.g. "pairing"; for policy and records.
	Purpose string
	// RequestID is 16 bytes that follow the call through every log. Default: random.
	RequestID []byte
	// Traceparent is the W3C trace context (§3.2) of the call. Default: none.
	Traceparent string
	// Inner is the kind of the call. Default [Mux].
	Inner Inner
}

// validate checks what every relay would refuse.
func (c Call) validate() error {
	if err := c.Target.Validate(); err != nil {
		return tunnel.Errorf(tunnel.CodeProtocol, "target: %w", err)
	}
	switch {
	case c.Service == "":
		return tunnel.Errorf(tunnel.CodeServiceUnknown, "no service named")
	case c.RequestID != nil && len(c.RequestID) != tunnel.IDLen:
		return tunnel.Errorf(tunnel.CodeProtocol, "request id of %d bytes, want %d", len(c.RequestID), tunnel.IDLen)
	case c.Inner > Bulk:
		return tunnel.Errorf(tunnel.CodeProtocol, "unknown kind of call %d", c.Inner)
	default:
		return nil
	}
}

// preamble is the call's preamble on the wire.
func (c Call) preamble(inner tunnelpb.Inner) *tunnel.Preamble {
	return &tunnel.Preamble{
		Target: c.Target.Path(), Service: c.Service, Purpose: c.Purpose,
		RequestId: slices.Clone(c.RequestID), Traceparent: c.Traceparent, Inner: inner, Bulk: c.Inner == Bulk,
	}
}

// DialContext opens a call to a service of a device. ctx bounds the opening only.
// The connection is a [*Conn]; the error is a *tunnel.Error.
func (d *Dialer) DialContext(ctx context.Context, serial identity.Serial, service string) (net.Conn, error) {
	c, err := d.Open(ctx, Call{Target: d.Device(serial), Service: service})
	if err != nil {
		return nil, err // not a nil *Conn in a net.Conn
	}
	return c, nil
}

// attemptsPerOpen bounds how often a call is tried anew because the session that
// carried it ended before the open-ack.
const attemptsPerOpen = 3

// Open opens a call. ctx bounds the opening only; without a deadline the bound is
// Timing.OpenTimeout. The error is a *tunnel.Error.
func (d *Dialer) Open(ctx context.Context, call Call) (*Conn, error) {
	if err := call.validate(); err != nil {
		return nil, err
	}
	if call.RequestID == nil {
		call.RequestID = tunnel.NewID()
	}
	if err := d.start(); err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.cfg.Timing.OpenTimeout)
		defer cancel()
	}
	select {
	case d.opens <- struct{}{}:
		defer func() { <-d.opens }()
	case <-ctx.Done():
		return nil, tunnel.Errorf(tunnel.CodeTooManyStreams, "%d calls are being opened already: %w", cap(d.opens), ctx.Err())
	}
	switch call.Inner {
	case TLS, Bulk:
		return d.openTLS(ctx, call)
	case Raw:
		return d.openPlain(ctx, call, tunnelpb.Inner_INNER_RAW)
	case OwnTLS:
		return d.openPlain(ctx, call, tunnelpb.Inner_INNER_TLS)
	default:
		return d.openMux(ctx, call)
	}
}

// openMux opens a stream in the kept session with the target.
func (d *Dialer) openMux(ctx context.Context, call Call) (*Conn, error) {
	key := e2e.Key{Target: call.Target, Service: call.Service}
	for attempt := 1; ; attempt++ {
		st, ack, err := d.pool.Open(ctx, key, call.preamble(tunnelpb.Inner_INNER_PLAIN))
		if err == nil {
			return &Conn{flow: st, call: call, caller: d.self, peer: call.Target, hops: ack.GetHops()}, nil
		}
		if attempt == attemptsPerOpen || !onTheMove(err) || !pause(ctx, movePause(attempt)) {
			return nil, err
		}
	}
}

func (d *Dialer) openTLS(ctx context.Context, call Call) (*Conn, error) {
	var conn *Conn
	err := d.through(ctx, call, tunnelpb.Inner_INNER_TLS, func(ctx context.Context, u *uplink, st tunnel.Stream, ack *tunnel.OpenAck) error {
		st, onData, err := u.openData(ctx, st, ack)
		if err != nil {
			return err
		}
		client := e2e.ClientTLS
		if onData {
			client = e2e.ClientTLSUnnamed
		}
		f, err := client(ctx, st, d.cfg.Credentials, call.Target)
		if err == nil {
			conn = &Conn{flow: f, call: call, caller: d.self, peer: f.Peer(), hops: ack.GetHops(), onData: onData}
			return nil
		}
		switch tunnel.CodeOf(err) {
		case tunnel.CodeReset, tunnel.CodeSessionLost, tunnel.CodeProtocol, tunnel.CodeHandshakeTimeout:
			if onData && ctx.Err() == nil {
				// The device has handed nothing on yet, so the call may be made again,
				// and that is in the tunnel.
				u.data.Failed()
				return tunnel.Errorf(tunnel.CodeTunnelGone, "the data connection broke in the handshake: %w", err)
			}
		}
		return err
	})
	return conn, err
}

// openPlain opens a relay stream and leaves it as it is.
func (d *Dialer) openPlain(ctx context.Context, call Call, inner tunnelpb.Inner) (*Conn, error) {
	var conn *Conn
	err := d.through(ctx, call, inner, func(_ context.Context, _ *uplink, st tunnel.Stream, ack *tunnel.OpenAck) error {
		conn = &Conn{flow: st, call: call, caller: d.self, peer: call.Target, hops: ack.GetHops()}
		return nil
	})
	return conn, err
}

// pause waits for t, and reports whether ctx still lives then.
func pause(ctx context.Context, t time.Duration) bool { return pauseUntil(ctx, t, nil) }

// pauseUntil is pause that enough ends, too.
func pauseUntil(ctx context.Context, t time.Duration, enough <-chan struct{}) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-enough:
		return true
	case <-ctx.Done():
		return false
	}
}
