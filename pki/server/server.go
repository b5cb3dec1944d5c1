package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
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
)

// Server serves an authority. Make it with [New] and call Run once.
type Server struct {
	cfg     Config
	auth    *authority.Authority
	self    identity.ID
	limit   *limiter
	metrics *metrics
	ready   chan struct{} // closed when both listeners are open

	mu   sync.Mutex // guards addr
	addr net.Addr
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
		self:  identity.Service(cfg.Authority.TrustDomain(), enrol.ServiceName),
		limit: newLimiter(cfg.EnrolPerMinute),
	}
	var err error
	s.metrics, err = newMetrics(cfg.Metrics, s.auth)
	return s, err
}

// Ready is closed when the listeners are open.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr is the address of the public API, nil before Ready.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Run serves until ctx ends, and returns nil then; or it returns what broke a
// listener. All that it started has ended when it returns.
func (s *Server) Run(ctx context.Context) error {
	creds, err := s.auth.Credentials(ctx, s.self, s.cfg.extra(), "pki serve")
	if err != nil {
		return fmt.Errorf("certificate of the PKI itself: %w", err)
	}
	public, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return err
	}
	servers := map[*http.Server]net.Listener{
		s.httpServer("public", s.publicHandler()): tls.NewListener(netutil.LimitListener(public, maxConns), s.tlsConfig(creds)),
	}
	if s.cfg.AdminSocket != "" {
		admin, err := listenUnix(ctx, s.cfg.AdminSocket)
		if err != nil {
			return errors.Join(err, public.Close())
		}
		servers[s.httpServer("admin", s.adminHandler())] = admin
	}
	s.mu.Lock()
	s.addr = public.Addr()
	s.mu.Unlock()
	s.cfg.Logger.Info("PKI serves", "listen", public.Addr().String(), "trust_domain", s.auth.TrustDomain(),
		"root", enrol.Fingerprint(s.auth.Roots()[0]))
	close(s.ready)

	g, ctx := errgroup.WithContext(ctx)
	for server, listener := range servers {
		g.Go(func() error { return serve(ctx, server, listener) })
	}
	g.Go(func() error { return s.renewSelf(ctx, creds) })
	g.Go(func() error { return s.sweep(ctx) })
	g.Go(func() error { return s.auth.Follow(ctx) })
	return g.Wait()
}

func (s *Server) httpServer(name string, h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          s.cfg.Logger.Named(name).StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
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

// tlsConfig lets clients without a certificate in; handlers that need one check.
func (s *Server) tlsConfig(creds *enrol.Credentials) *tls.Config {
	cfg := creds.ServerConfig(nil, "http/1.1")
	cfg.ClientAuth = tls.VerifyClientCertIfGiven
	check := identity.VerifyPeer(identity.OfKind(s.auth.TrustDomain(), identity.KindDevice, identity.KindService, identity.KindRelay))
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return nil
		}
		return check(cs)
	}
	return cfg
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

// renewSelf issues the server's own certificate anew at a third of its life.
func (s *Server) renewSelf(ctx context.Context, creds *enrol.Credentials) error {
	const retry = time.Minute
	for {
		leaf := creds.Leaf()
		wait := max(retry, time.Until(leaf.NotAfter)-leaf.NotAfter.Sub(leaf.NotBefore)*2/3)
		if !pause(ctx, wait) {
			return nil
		}
		next, err := s.auth.Credentials(ctx, s.self, s.cfg.extra(), "pki serve")
		if err == nil {
			err = creds.Swap(next.Certificate(), next.Roots())
		}
		if err != nil && ctx.Err() == nil {
			s.cfg.Logger.Error("the PKI's own certificate was not renewed", "expires", leaf.NotAfter, "error", err)
		}
	}
}

func (s *Server) sweep(ctx context.Context) error {
	for {
		n, err := s.auth.Sweep(ctx)
		if ctx.Err() != nil {
			return nil // in the middle of a sweep, which the next start makes good
		}
		if err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
		if n > 0 {
			s.cfg.Logger.Info("old records removed", "number", n)
		}
		s.limit.forget()
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
