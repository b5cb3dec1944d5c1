package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/internal/ratelimit"
)

// Bounds of the listeners.
const (
	headerTimeout   = 5 * time.Second // also the TLS handshake's
	requestTimeout  = 20 * time.Second
	idleTimeout     = 60 * time.Second
	shutdownTimeout = 5 * time.Second
	maxHeader       = 16 << 10
	maxConns        = 8192 // feeds of relays and services, and a burst of enrolments
	sweepEvery      = 24 * time.Hour
	reloadEvery     = time.Minute
)

// Server serves an authority. Make it with [New] and call Run once.
type Server struct {
	cfg     Config
	auth    *authority.Authority
	self    identity.ID
	factory *authority.Factory // nil: there is no factory listener
	metrics *metrics
	acme    atomic.Pointer[acmesrv.Server] // set by Run before it serves; nil without ACME
	ready   chan struct{}                  // closed when all listeners are open

	limit, ocspLimit, logLimit *ratelimit.Limiter[netip.Prefix] // per address and minute
	signing                    *rate.Limiter                    // of checkpoints, for the network

	mu    sync.Mutex // guards addrs
	addrs map[string]net.Addr
}

// New checks the configuration. It opens nothing.
func New(cfg Config) (*Server, error) {
	if cfg.Authority == nil {
		return nil, errors.New("PKI server: no authority")
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s := &Server{
		cfg: cfg, auth: cfg.Authority, ready: make(chan struct{}),
		self:      identity.Service(cfg.Authority.TrustDomain(), enrol.ServiceName),
		limit:     ratelimit.New[netip.Prefix](cfg.EnrolPerMinute, time.Minute),
		ocspLimit: ratelimit.New[netip.Prefix](cfg.OCSPPerMinute, time.Minute),
		logLimit:  ratelimit.New[netip.Prefix](cfg.Log.PerMinute, time.Minute),
		signing:   rate.NewLimiter(rate.Every(cfg.Log.CheckpointEvery), 1), addrs: make(map[string]net.Addr),
	}
	var err error
	if s.factory, err = s.auth.Factory(); err != nil {
		return nil, err
	}
	if cfg.FactoryListen != "" && s.factory == nil {
		return nil, &configs.KeyError{Key: "server.factory_listen", Problem: "is set, but no factory's root is", Hint: "name them in authority.factory_roots"}
	}
	s.metrics, err = newMetrics(cfg.Metrics, s.auth, cfg.Revocation)
	return s, err
}

// Ready is closed when the listeners are open.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr is the address of the public API, nil before Ready.
func (s *Server) Addr() net.Addr { return s.addrOf(public) }

// FactoryAddr is the address of the factory listener, nil before Ready and where
// there is none.
func (s *Server) FactoryAddr() net.Addr { return s.addrOf(factory) }

// RecoveryAddr is the address of the recovery listener, nil before Ready and where
// there is none.
func (s *Server) RecoveryAddr() net.Addr { return s.addrOf(recovery) }

func (s *Server) addrOf(name string) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addrs[name]
}

// RevocationAddr is the address of the listener without TLS, nil before Ready and
// where there is none.
func (s *Server) RevocationAddr() net.Addr { return s.addrOf(revocation) }

// ACMEAddr is the address of the ACME server, nil before Ready and without one.
func (s *Server) ACMEAddr() net.Addr { return s.addrOf(private) }

// allow takes one from what the request's address may ask for.
func allow(l *ratelimit.Limiter[netip.Prefix], r *http.Request) bool {
	network, ok := ratelimit.Network(r.RemoteAddr)
	return ok && l.Allow(network)
}

// Run serves until ctx ends, and returns nil then; or it returns what broke a
// listener. All that it started has ended when it returns.
func (s *Server) Run(ctx context.Context) error {
	creds, err := s.auth.Credentials(ctx, s.self, s.cfg.extra(), "pki serve")
	if err != nil {
		return fmt.Errorf("certificate of the PKI itself: %w", err)
	}
	s.metrics.own.Set(float64(creds.Leaf().NotAfter.Unix()))
	if err := s.openACME(); err != nil {
		return err
	}
	servers, err := s.open(ctx, creds)
	if err != nil {
		return err
	}
	s.cfg.Logger.Info("PKI serves", "listen", s.Addr(), "factory", s.FactoryAddr(), "recovery", s.RecoveryAddr(), "acme", s.ACMEAddr(),
		"trust_domain", s.auth.TrustDomain(), "root", enrol.Fingerprint(s.auth.Roots()[0]))
	close(s.ready)

	g, ctx := errgroup.WithContext(ctx)
	for server, listener := range servers {
		g.Go(func() error { return serve(ctx, server, listener) })
	}
	g.Go(func() error { return s.renewSelf(ctx, creds) })
	g.Go(func() error { return s.reload(ctx) })
	g.Go(func() error { return s.sweep(ctx) })
	g.Go(func() error { return s.auth.Follow(ctx) })
	g.Go(func() error { return s.metrics.follow(ctx, s.auth) })
	if s.cfg.Revocation != nil {
		g.Go(func() error { return s.cfg.Revocation.Run(ctx) })
	}
	if s.acme.Load() != nil {
		g.Go(func() error { return s.sweepACME(ctx) })
		g.Go(func() error { return s.followIssuer(ctx) })
	}
	return g.Wait()
}

func (s *Server) httpServer(name string, h http.Handler) *http.Server {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          s.cfg.Logger.Named(name).StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	if name != admin && s.cfg.AccessLog != nil {
		s.cfg.AccessLog.Watch(server)
	}
	return server
}

// serve runs one HTTP server until ctx ends. Requests see the end of ctx, so that
// the feeds end at once.
func serve(ctx context.Context, server *http.Server, l net.Listener) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	server.BaseContext = func(net.Listener) context.Context { return base }
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		cancel()
		grace, end := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer end()
		err := server.Shutdown(grace)
		if err != nil {
			err = errors.Join(err, server.Close())
		}
		stopped <- err
	})
	err := server.Serve(l)
	if stop() { // Serve failed by itself
		cancel()
		return errors.Join(err, server.Close())
	}
	return <-stopped
}

// listenUnix opens the admin socket. Whoever holds the store's lock is the only
// one who serves it, so a socket that is there is left over.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin socket: %w", err), l.Close())
	}
	return l, nil
}

// renewSelf issues the server's own certificate anew at a third of its life, and at
// once when intermediates or trust bundle have changed.
func (s *Server) renewSelf(ctx context.Context, creds *enrol.Credentials) error {
	const retry = time.Minute
	changed := s.auth.Changed()
	for {
		leaf := creds.Leaf()
		timer := time.NewTimer(max(retry, time.Until(leaf.NotAfter)-leaf.NotAfter.Sub(leaf.NotBefore)*2/3))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-changed:
			timer.Stop()
			changed = s.auth.Changed()
		}
		next, err := s.auth.Credentials(ctx, s.self, s.cfg.extra(), "pki serve")
		if err == nil {
			err = creds.Adopt(next)
			s.metrics.own.Set(float64(creds.Leaf().NotAfter.Unix()))
		}
		if err != nil && ctx.Err() == nil {
			s.cfg.Logger.Error("the PKI's own certificate was not renewed", "expires", leaf.NotAfter, "error", err)
		}
	}
}

// reload looks every minute for intermediates that were installed, and for a trust
// bundle that another instance changed.
func (s *Server) reload(ctx context.Context) error {
	for pause(ctx, reloadEvery) {
		if _, err := s.auth.Reload(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Error("installed keys or trust bundle cannot be used; the PKI goes on with the former ones", "error", err)
		}
	}
	return nil
}

func (s *Server) sweep(ctx context.Context) error {
	for {
		n, err := s.auth.Sweep(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil: // the database may be away
			s.cfg.Logger.Error("old records were not removed; tried again later", "error", err)
		case n > 0:
			s.cfg.Logger.Info("old records removed", "number", n)
		}
		for _, l := range []*ratelimit.Limiter[netip.Prefix]{s.limit, s.ocspLimit, s.logLimit} {
			l.Forget()
		}
		if !pause(ctx, sweepEvery) {
			return nil
		}
	}
}

// pause waits, or tells that ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
