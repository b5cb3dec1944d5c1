package relay

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Blocks is the revocation list as the relay needs it.
type Blocks interface {
	// Blocked reports whether the identity may not connect.
	Blocked(id identity.ID) bool
}

// Names are names of the relay beside the one in its identity certificate: those by
// which browsers and stock HTTP clients, which do not trust our roots, find it. They are
// served by SNI on the TCP port. Whoever uses one shows a client certificate like
// everybody else. Its methods are called by many goroutines at once.
type Names interface {
	// Certificate gives the certificate for the name that a client asks for; nil
	// where it is none of these, or has no certificate yet.
	Certificate(hello *tls.ClientHelloInfo) *tls.Certificate
	// Challenge gives the configuration for a connection on which a CA wants a name
	// to be proven (RFC 8737); nil for all other connections.
	Challenge(hello *tls.ClientHelloInfo) *tls.Config
}

// Relay is one relay. Make it with [New], run it with [Relay.Run].
type Relay struct {
	cfg         Config
	log         hclog.Logger
	self        identity.ID
	incarnation string
	metrics     *metrics
	records     *recorder
	tenants     []*tenant
	admit       *rate.Limiter
	rush        *rush
	clones      cloneWatch
	tickets     *tickets // nil: none are handed out
	seats       seats

	blocks atomic.Pointer[Blocks]

	// mu guards the fields below. It is never held while a session, stream or
	// registry is called.
	mu       sync.RWMutex
	sessions map[sessionKey]*session    // the current one of each slot
	byPeer   map[identity.ID][]*session // those that were replaced and still leave, too
	connects map[*connectCall]struct{}
	entries  []*entry
	draining bool
	pending  int // sessions between transport handshake and welcome
	devices  int // sessions of devices in byPeer
	watches  watches

	forwards map[identity.ID]*session // stand for the services that the relay dials

	// addr is set before ready is closed.
	addr     string
	closeUDP func() error   // owned by Run
	poller   *splice.Poller // set by Run; nil where there is none
	ready    chan struct{}

	work sync.WaitGroup // all sessions and CONNECT calls
}

// New checks the configuration; it opens nothing.
func New(cfg Config) (*Relay, error) {
	cfg = cfg.Clone()
	cfg.fill()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := cfg.checkRuntime(); err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("relay: metrics: %w", err)
	}
	r := &Relay{
		cfg:         cfg,
		log:         cfg.Logger,
		self:        cfg.Credentials.ID(),
		incarnation: hex.EncodeToString(tunnel.NewID()),
		metrics:     m,
		admit:       rate.NewLimiter(rate.Limit(cfg.Limits.HandshakesPerSecond), cfg.Limits.HandshakeBurst),
		rush:        newRush(cfg.Limits.RushHandshakes),
		sessions:    make(map[sessionKey]*session),
		byPeer:      make(map[identity.ID][]*session),
		connects:    make(map[*connectCall]struct{}),
		ready:       make(chan struct{}),
	}
	r.forwards = r.newForwards()
	for _, t := range cfg.Tenants {
		r.tenants = append(r.tenants, newTenant(t))
	}
	if cfg.TicketSecretFile != "" {
		if r.tickets, err = newTickets(cfg.TicketSecretFile); err != nil {
			return nil, err
		}
	}
	r.records = newRecorder(cfg.StateDir, cfg.Records, m, cfg.Logger.Named("records"))
	return r, nil
}

// ID is the relay's identity.
func (r *Relay) ID() identity.ID { return r.self }

// Ready is closed when both listeners accept.
func (r *Relay) Ready() <-chan struct{} { return r.ready }

// Addr is the address of both listeners, "host:port"; valid after Ready.
func (r *Relay) Addr() string {
	<-r.ready
	return r.addr
}

// Run opens the listeners and serves until ctx ends; then it closes every session
// with AUER-1205 and returns when all that it started has ended. Call
// [Relay.Drain] first for an end that no call notices.
func (r *Relay) Run(ctx context.Context) error {
	ln, pc, err := listenBoth(ctx, r.cfg.Listen, !r.cfg.DisableTCP, !r.cfg.DisableQUIC)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	stopRecords, err := r.records.start()
	if err != nil {
		return errors.Join(err, closeAll(ln, pc))
	}
	defer stopRecords()
	if r.poller, err = splice.NewPoller(); err != nil {
		return errors.Join(err, closeAll(ln, pc))
	}
	defer r.rush.stop() // when no handshake can come any more
	g, ctx := errgroup.WithContext(ctx)
	err = r.serve(ctx, g, ln, pc)
	if err == nil {
		close(r.ready)
		r.log.Info("relay is up", "id", r.self.Name, "address", r.addr, "quic", pc != nil, "tcp", ln != nil)
	} else {
		g.Go(func() error { return err })
	}
	err = g.Wait()
	r.closeSessions(tunnel.CodeShutdown, "the relay is stopping")
	r.work.Wait()
	err = errors.Join(err, r.poller.Close())
	if r.closeUDP != nil {
		// Only now: closing the socket ends QUIC sessions without a word.
		err = errors.Join(err, r.closeUDP())
	}
	err = errors.Join(err, closeAll(ln, pc))
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// serve starts to serve both listeners.
func (r *Relay) serve(ctx context.Context, g *errgroup.Group, ln net.Listener, pc net.PacketConn) error {
	r.mu.Lock() // Status may be asked already
	if ln != nil {
		r.addr = ln.Addr().String()
	} else {
		r.addr = pc.LocalAddr().String()
	}
	r.mu.Unlock()
	if pc != nil {
		if err := r.serveQUIC(ctx, g, pc); err != nil {
			return err
		}
	}
	if ln != nil {
		if err := r.serveTCP(ctx, g, ln); err != nil {
			return err
		}
	}
	return r.serveEntries(ctx, g)
}

func (r *Relay) serveEntries(ctx context.Context, g *errgroup.Group) error {
	entries, err := r.listenEntries(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.entries = entries
	r.mu.Unlock()
	for _, e := range entries {
		r.log.Info("entry", "address", e.ln.Addr(), "target", e.target.Path(), "service", e.service)
		g.Go(func() error { return e.run(ctx) })
	}
	return nil
}

func closeAll(ln net.Listener, pc net.PacketConn) error {
	var errs []error
	if ln != nil {
		errs = append(errs, ln.Close())
	}
	if pc != nil {
		errs = append(errs, pc.Close())
	}
	// Serving closes them too.
	errs = slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, net.ErrClosed) })
	return errors.Join(errs...)
}

// listenBoth opens TCP and UDP on one port number. With port 0 a port that is
// free for one may be taken for the other; then another is tried.
func listenBoth(ctx context.Context, addr string, wantTCP, wantUDP bool) (net.Listener, net.PacketConn, error) {
	const tries = 20
	var lc net.ListenConfig
	for try := 1; ; try++ {
		var ln net.Listener
		var err error
		udpAddr := addr
		if wantTCP {
			if ln, err = lc.Listen(ctx, "tcp", addr); err != nil {
				return nil, nil, err
			}
			if !wantUDP {
				return ln, nil, nil
			}
			udpAddr = ln.Addr().String()
		}
		pc, err := lc.ListenPacket(ctx, "udp", udpAddr)
		if err == nil {
			return ln, pc, nil
		}
		_ = closeAll(ln, nil)
		_, port, _ := net.SplitHostPort(addr)
		if !wantTCP || port != "0" || try == tries {
			return nil, nil, err
		}
	}
}

func (r *Relay) serveQUIC(ctx context.Context, g *errgroup.Group, pc net.PacketConn) error {
	key, err := r.statelessResetKey()
	if err != nil {
		return err
	}
	ln, err := quictun.Listen(pc, quictun.Config{
		TLS:                  r.serverTLS(tunnel.ALPN),
		MaxIncomingStreams:   int64(r.cfg.Limits.StreamsFromService),
		DisableGRO:           r.cfg.DisableGRO,
		ConnectionWindow:     uint64(r.cfg.Limits.SessionMemory), //nolint:gosec // validated
		HandshakeIdleTimeout: r.cfg.Limits.HandshakeTimeout,
		MaxIdleTimeout:       r.silence(),
		MaxHandshakes:        r.cfg.Limits.Handshakes,
		StatelessResetKey:    key,
		Admit:                func(net.Addr) bool { return r.admitNow() },
		Refused:              r.refused(tunnel.QUIC),
		Logger:               r.log.Named("quic"),
	})
	if err != nil {
		return fmt.Errorf("relay: listen on UDP: %w", err)
	}
	r.metrics.udpBuffer.Set(float64(ln.ReceiveBuffer()))
	r.log.Debug("QUIC listener", "receive_buffer", ln.ReceiveBuffer(), "gro", ln.ReceiveOffload())
	g.Go(func() error { return r.accept(ctx, ln) })
	r.closeUDP = ln.Shutdown
	return nil
}

func (r *Relay) serveTCP(ctx context.Context, g *errgroup.Group, tcp net.Listener) error {
	front := newConnectFront(r, tcp.Addr())
	ln, err := muxtun.Listen(tcp, muxtun.Config{
		TLS:              r.withNames(r.serverTLS(tunnel.ALPN, "h2", "http/1.1")),
		MaxIncoming:      r.streamsFrom,
		MaxStreamWindow:  r.cfg.Limits.streamWindow(),
		Congestion:       r.cfg.TCPCongestion,
		HandshakeTimeout: r.cfg.Limits.HandshakeTimeout,
		MaxHandshakes:    r.cfg.Limits.Handshakes,
		Admit:            func(net.Addr) bool { return r.admitNow() },
		Other:            r.takeData,
		Handoff:          func(c *tls.Conn) { r.handoff(ctx, front, c) },
		Refused:          r.refused(tunnel.TCP),
		Logger:           r.log.Named("tcp"),
	})
	if err != nil {
		return fmt.Errorf("relay: listen on TCP: %w", err)
	}
	g.Go(func() error { return r.accept(ctx, ln) })
	g.Go(func() error { return front.run(ctx) })
	return nil
}

// handoff gives connections that speak HTTP to the front. One on which a CA had a
// name proven has shown no certificate, and is over.
func (r *Relay) handoff(ctx context.Context, front *connectFront, c *tls.Conn) {
	switch c.ConnectionState().NegotiatedProtocol {
	case "h2", "http/1.1", "":
		front.conns.put(ctx, c)
	default:
		_ = c.Close()
	}
}

// admitNow takes one token for a handshake, and counts where there is none.
func (r *Relay) admitNow() bool {
	if r.admit.Allow() {
		r.rush.saw()
		return true
	}
	r.metrics.drops.WithLabelValues("handshake_rate").Inc()
	return false
}

// checkPeer runs inside each TLS handshake, resumed ones too.
func (r *Relay) checkPeer(id identity.ID) error {
	if err := identity.OfKind(r.self.TrustDomain, identity.KindDevice, identity.KindService)(id); err != nil {
		return err
	}
	if r.blocked(id) {
		return tunnel.Errorf(tunnel.CodeBlocked, "%s is blocked", id.Path())
	}
	return nil
}

func (r *Relay) blocked(id identity.ID) bool {
	b := r.blocks.Load()
	return b != nil && (*b).Blocked(id)
}

// SetBlocks replaces the revocation list and cuts every session and CONNECT call
// of an identity on it.
func (r *Relay) SetBlocks(b Blocks) {
	r.blocks.Store(&b)
	err := &tunnel.Error{Code: tunnel.CodeBlocked}
	for _, s := range r.all() {
		if b.Blocked(s.peer) {
			r.log.Warn("session cut: the identity is blocked", "peer", s.peer.Path())
			go s.end(err)
		}
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for c := range r.connects {
		if b.Blocked(c.caller) {
			c.cancel(err)
		}
	}
}

// silence is how long a session may be silent before it is dead.
func (r *Relay) silence() time.Duration { return r.cfg.Heartbeat * 9 / 4 }

// accept serves one listener until ctx ends.
func (r *Relay) accept(ctx context.Context, ln tunnel.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		s, err := ln.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("relay: accept: %w", err)
		}
		r.work.Go(func() { r.serveSession(ctx, s) })
	}
}

func (r *Relay) closeSessions(code tunnel.Code, reason string) {
	var wg sync.WaitGroup
	limit := make(chan struct{}, 64)
	for _, s := range r.all() {
		limit <- struct{}{}
		wg.Go(func() {
			s.end(&tunnel.Error{Code: code, Message: reason})
			<-limit
		})
	}
	wg.Wait()
}

var _ http.Handler = (*connectFront)(nil)
