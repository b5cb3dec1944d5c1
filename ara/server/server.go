// Package server is the gateway for remote access as one part of a process: the gateway,
// the way to PBXs, the listeners for browsers and their certificates, made and run in
// order.
//
//	s, err := server.New(ctx, server.Config{…})
//	defer s.Close()
//	err = d.Run(ctx, s.Components()...)        // of a configs/daemon
//
// The program ara is this package with a command line; tests run several in one process.
package server

import (
	"context"
	"errors"
	"net"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/ara/gateway"
	"github.com/comtrexx-cloud/comtrexx/ara/passthrough"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

// Server is a gateway with its listeners. Make it with [New].
type Server struct {
	cfg     Config
	log     hclog.Logger
	dialer  *dial.Dialer
	gateway *gateway.Gateway
	names   *servercert.Server
	tcp     net.Listener
	udp     net.PacketConn // nil: no HTTP/3
}

// New opens the listeners and makes all parts; nothing runs yet. After an error nothing is
// left open.
func New(ctx context.Context, cfg Config) (s *Server, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Credentials == nil {
		return nil, errors.New("server: no credentials")
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	s = &Server{cfg: cfg, log: cfg.Logger}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	d := cfg.Dial
	d.Credentials, d.Program, d.Logger = cfg.Credentials, "ara", s.log.Named("dial")
	if s.dialer, err = dial.New(d); err != nil {
		return s, configs.Under("dial", err)
	}
	g := cfg.Gateway
	g.Credentials, g.Dial, g.Logger, g.Metrics = cfg.Credentials, s.dial, s.log.Named("gateway"), cfg.Metrics
	if s.gateway, err = gateway.New(g); err != nil {
		return s, err
	}
	return s, s.listen(ctx)
}

// dial opens a call to a PBX.
func (s *Server) dial(ctx context.Context, serial identity.Serial, service, purpose string) (net.Conn, error) {
	c, err := s.dialer.Open(ctx, dial.Call{Target: s.dialer.Device(serial), Service: service, Purpose: purpose})
	if err != nil {
		return nil, err // not a nil *Conn in a net.Conn
	}
	return c, nil
}

// listen opens the listeners, with TCP and UDP at the same port.
func (s *Server) listen(ctx context.Context) (err error) {
	var lc net.ListenConfig
	if s.tcp, err = lc.Listen(ctx, "tcp", s.cfg.Listen); err != nil {
		return &configs.KeyError{Key: "listen", Problem: err.Error(), Cause: err}
	}
	if !s.cfg.DisableHTTP3 {
		if s.udp, err = lc.ListenPacket(ctx, "udp", s.tcp.Addr().String()); err != nil {
			return &configs.KeyError{Key: "listen", Problem: err.Error(), Hint: "or disable_http3: true", Cause: err}
		}
	}
	n := s.cfg.Names
	n.Listen, n.Roots, n.Logger, n.Gauge = s.cfg.Listen, s.cfg.Credentials.Pool, s.log.Named("names"), daemon.Gauge(s.cfg.Metrics)
	if n.Mode == servercert.ModeInternal {
		n.Ask = s.gateway.Known
	}
	s.names, err = servercert.New(n)
	return configs.Under("names", err)
}

// Components are the parts, in the order in which they start.
func (s *Server) Components() []daemon.Component {
	all := []daemon.Component{
		{Name: "gateway", Run: s.gateway.Run},
		s.https(),
	}
	if s.udp != nil {
		all = append(all, s.http3())
	}
	// The CA proves names at the listener, which has to be served by then.
	return append(all, daemon.Component{Name: "names", Run: s.names.Run})
}

// https serves HTTP/1.1 and HTTP/2.
func (s *Server) https() daemon.Component {
	srv := s.gateway.HTTPServer(s.names.TLSConfig("h2", "http/1.1"))
	s.cfg.AccessLog.Watch(srv)
	return s.component("https", func() error { return srv.ServeTLS(s.led(s.gateway.Limit(s.tcp)), "", "") }, srv.Close, srv.Shutdown)
}

// led leads connections for the names of PBXs there.
func (s *Server) led(ln net.Listener) net.Listener {
	g := s.cfg.Gateway
	if g.PBXDomain == "" {
		return ln
	}
	return passthrough.New(passthrough.Config{
		Domain: g.PBXDomain, Open: s.gateway.Sealed, Challenge: s.gateway.Challenge,
		HelloTime: g.Timing.Header, Idle: g.Timing.Idle, AccessLog: s.cfg.AccessLog,
	}, ln)
}

// http3 serves HTTP/3.
func (s *Server) http3() daemon.Component {
	srv := s.gateway.HTTP3Server(s.names.TLSConfig())
	srv.Handler = s.cfg.AccessLog.Handler(srv.Handler)
	return s.component("http3", func() error { return srv.Serve(s.udp) }, srv.Close, srv.Shutdown)
}

// component makes one of a server of net/http's kind.
func (s *Server) component(name string, serve, stop func() error, drain func(context.Context) error) daemon.Component {
	return daemon.Component{
		Name: name,
		Run:  daemon.Serving(serve, stop),
		Drain: func(ctx context.Context) error {
			s.gateway.Drain()
			return drain(ctx)
		},
	}
}

// Addr is the address of the listener.
func (s *Server) Addr() net.Addr { return s.tcp.Addr() }

// Close closes what New has opened. Everything that ran has to have ended.
func (s *Server) Close() error {
	var all []error
	for _, c := range []interface{ Close() error }{s.tcp, s.udp} {
		if c == nil {
			continue
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			all = append(all, err)
		}
	}
	if s.dialer != nil {
		all = append(all, s.dialer.Close())
	}
	return errors.Join(all...)
}
