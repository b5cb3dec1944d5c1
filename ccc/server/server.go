package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/history"
	"github.com/comtrexx-cloud/comtrexx/ccc/mail"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/remote"
	"github.com/comtrexx-cloud/comtrexx/ccc/rollout"
	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/statistics"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/ccc/web"
	"github.com/comtrexx-cloud/comtrexx/ccc/webhook"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/daemon"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

// Server is a control centre. Make it with [New].
type Server struct {
	cfg      Config
	log      hclog.Logger
	db       *store.DB
	mail     *mail.Outbox
	accounts *account.Accounts
	dialer   *dial.Dialer
	fleet    *fleet.Presence
	history  *history.Recorder
	pairing  *pairing.Service
	remote   *remote.Broker
	rollouts *rollout.Service
	webhooks *webhook.Service
	api      *api.API
	names    *servercert.Server // nil: no https
	plain    net.Listener       // nil: none
	secure   net.Listener       // nil: none
	calls    net.Listener       // of PBXs
}

// New opens the store and the listeners and makes all parts; nothing runs yet. An empty
// database gets its first administrator, who is given where there is one. After an error
// nothing is left open.
func New(ctx context.Context, cfg Config) (s *Server, first *Admin, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, nil, err
	}
	if cfg.Credentials == nil {
		return nil, nil, errors.New("server: no credentials")
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
	keys, err := seal.Load(cfg.Keys)
	if err != nil {
		return s, nil, configs.Under("keys", err)
	}
	cfg.Store.Logger = cfg.Logger.Named("store")
	if s.db, err = store.Open(ctx, cfg.Store); err != nil {
		return s, nil, configs.Under("store", err)
	}
	cfg.Mail.Store, cfg.Mail.Keys, cfg.Mail.Logger = s.db, keys, cfg.Logger.Named("mail")
	cfg.Mail.Metrics = cfg.Metrics
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(figures{s.db}); err != nil {
			return s, nil, err
		}
	}
	if s.mail, err = mail.New(cfg.Mail); err != nil {
		return s, nil, configs.Under("mail", err)
	}
	cfg.Account.Mail, cfg.Account.Brand = s.mail, func(id string) mail.Brand { return mailBrand(cfg.Brands, id) }
	cfg.Account.Store, cfg.Account.Keys, cfg.Account.Logger = s.db, keys, cfg.Logger.Named("account")
	if s.accounts, err = account.New(cfg.Account); err != nil {
		return s, nil, configs.Under("account", err)
	}
	if first, err = makeFirst(ctx, cfg.FirstAdmin, s.db, s.accounts); err != nil {
		return s, nil, configs.Under("first_admin", err)
	}
	if err := s.connect(); err != nil {
		return s, nil, err
	}
	if err := s.join(keys); err != nil {
		return s, nil, err
	}
	return s, first, s.listen(ctx)
}

// mailBrand is the brand of a tenant's mails: the first where it has none.
func mailBrand(brands []api.BrandConfig, id string) mail.Brand {
	if len(brands) == 0 {
		brands = api.DefaultBrands()
	}
	of := brands[0]
	if i := slices.IndexFunc(brands, func(b api.BrandConfig) bool { return b.ID == id }); i >= 0 {
		of = brands[i]
	}
	return mail.Brand{Name: of.Name, Legal: of.Legal}
}

// connect makes what reaches PBXs.
func (s *Server) connect() (err error) {
	s.cfg.Dial.Credentials, s.cfg.Dial.Program = s.cfg.Credentials, "ccc"
	s.cfg.Dial.Logger = s.log.Named("dial")
	if s.dialer, err = dial.New(s.cfg.Dial); err != nil {
		return configs.Under("dial", err)
	}
	if s.calls, err = s.dialer.Listen(wire.Service); err != nil {
		return fmt.Errorf("calls of PBXs: %w", err)
	}
	s.cfg.Fleet.Watch, s.cfg.Fleet.Logger, s.cfg.Fleet.Metrics = s.dialer, s.log.Named("fleet"), s.cfg.Metrics
	if s.fleet, err = fleet.New(s.cfg.Fleet); err != nil {
		return configs.Under("fleet", err)
	}
	s.history, err = history.New(history.Config{
		Keep: s.cfg.Fleet.HistoryKeep, Intervals: s.cfg.Fleet.HistoryIntervals, Flaps: s.cfg.Fleet.HistoryFlaps,
		Store: s.db, Fleet: s.fleet, Logger: s.log.Named("history"), Metrics: s.cfg.Metrics,
	})
	return configs.Under("fleet", err)
}

// join makes the pairing service, the broker of remote access and the API, which know of
// each other: all are there before anything runs.
func (s *Server) join(keys *seal.Keyring) (err error) {
	s.pairing, err = pairing.New(pairing.Config{
		Limits: s.cfg.Pairing, Store: s.db, Keys: keys, Credentials: s.cfg.Credentials,
		Dial: s.dialer.DialContext, Online: s.fleet.MayBeOnline,
		Notify: func(c pairing.Change) {
			s.history.PairingsChanged()
			s.api.PairingChanged(c)
		},
		Remote: func(ctx context.Context, serial identity.Serial, m wire.RemoteReport) error {
			return s.remote.Report(ctx, serial, m)
		},
		Logger: s.log.Named("pairing"), Metrics: s.cfg.Metrics,
	})
	if err != nil {
		return configs.Under("pairing", err)
	}
	r := s.cfg.Remote
	r.Store, r.Credentials, r.PBX, r.Online = s.db, s.cfg.Credentials, s.pairing, s.fleet.MayBeOnline
	r.Notify = func(tenant store.TenantID, system store.SystemID) { s.api.RemoteChanged(tenant, system) }
	r.Logger, r.Metrics = s.log.Named("remote"), s.cfg.Metrics
	if s.remote, err = remote.New(r); err != nil {
		return configs.Under("remote", err)
	}
	if err := s.joinRollouts(keys); err != nil {
		return err
	}
	counts := s.cfg.Statistics
	counts.Own, counts.Name, counts.Logger = s.cfg.AccessLog, "ccc", s.log.Named("statistics")
	gathered, err := statistics.New(counts)
	if err != nil {
		return configs.Under("statistics", err)
	}
	pages, err := web.Handler(web.Config{Files: s.cfg.Pages, Gateway: s.cfg.Remote.ARAURL})
	if err != nil {
		return configs.Under("remote", err)
	}
	h := s.cfg.Webhooks
	h.Store, h.Keys, h.Logger = s.db, keys, s.log.Named("webhooks")
	if s.webhooks, err = webhook.New(h); err != nil {
		return configs.Under("webhooks", err)
	}
	c := s.cfg.API
	c.Rollouts = s.rollouts
	c.Webhooks = s.webhooks
	c.Statistics, c.History = gathered, s.history
	c.Audit, c.Credentials = s.cfg.Audit, s.cfg.Credentials
	c.Brands, c.Store, c.Keys, c.Accounts, c.Pairing, c.Remote, c.Fleet = s.cfg.Brands, s.db, keys, s.accounts, s.pairing, s.remote, s.fleet
	c.Pages, c.Logger, c.AccessLog, c.Metrics = pages, s.log.Named("api"), s.cfg.AccessLog, s.cfg.Metrics
	s.api, err = api.New(c)
	return configs.Under("api", err)
}

// joinRollouts makes what configures PBXs.
func (s *Server) joinRollouts(keys *seal.Keyring) (err error) {
	c := s.cfg.Rollout
	c.Store, c.Keys, c.Online, c.Logger = s.db, keys, s.fleet.IsOnline, s.log.Named("rollout")
	c.Connect = rollout.NewConnector(c, keys, s.dialer.DialContext).Connect
	c.Notify = func(tenant store.TenantID) { s.api.RolloutChanged(tenant) }
	s.rollouts, err = rollout.New(c)
	return configs.Under("rollout", err)
}

// listen opens the listeners.
func (s *Server) listen(ctx context.Context) (err error) {
	var lc net.ListenConfig
	if s.cfg.HTTPListen != "" {
		if s.plain, err = lc.Listen(ctx, "tcp", s.cfg.HTTPListen); err != nil {
			return &configs.KeyError{Key: "http_listen", Problem: err.Error(), Cause: err}
		}
	}
	if s.cfg.Listen == "" {
		return nil
	}
	if s.secure, err = lc.Listen(ctx, "tcp", s.cfg.Listen); err != nil {
		return &configs.KeyError{Key: "listen", Problem: err.Error(), Cause: err}
	}
	n := s.cfg.Names
	n.Listen, n.Roots = s.cfg.Listen, s.cfg.Credentials.Pool
	n.Logger, n.Gauge = s.log.Named("names"), daemon.Gauge(s.cfg.Metrics)
	s.names, err = servercert.New(n)
	return configs.Under("names", err)
}

// Components are the parts, in the order in which they start: who is told of presence
// comes before presence.
func (s *Server) Components() []daemon.Component {
	online := make(chan struct{})
	all := []daemon.Component{
		{Name: "mail", Run: s.mail.Run},
		{Name: "accounts", Run: s.accounts.Run},
		{Name: "api", Run: s.api.Run, Ready: s.api.Ready()},
		{Name: "pairing", Run: s.pairing.Run},
		{Name: "remote", Run: s.remote.Run},
		{Name: "rollouts", Run: s.runRollouts},
		{Name: "webhooks", Run: s.webhooks.Run},
		{Name: "comings", Run: s.tellComings},
		{Name: "online", Run: func(ctx context.Context) error { return s.tellOnline(ctx, online) }, Ready: online},
		{Name: "history", Run: s.history.Run, Ready: s.history.Ready()},
		{Name: "presence", Run: s.fleet.Run},
		{Name: "calls", Run: func(ctx context.Context) error { return s.pairing.Serve(ctx, s.calls) }},
	}
	if s.plain != nil {
		all = append(all, s.web("http", s.plain))
	}
	if s.secure != nil {
		// The CA proves names at the listener, which has to be served by then.
		all = append(all, s.web("https", s.secure), daemon.Component{Name: "names", Run: s.names.Run})
	}
	return all
}

// tellOnline has done what waits for a PBX that comes online.
func (s *Server) tellOnline(ctx context.Context, ready chan<- struct{}) error {
	changes := s.fleet.Subscribe(ctx)
	close(ready)
	for c := range changes {
		switch {
		case c.Resync:
			s.pairing.Resync()
			s.rollouts.Resync()
		case c.Moved && c.Status.Online:
			s.pairing.CameOnline(c.Serial)
			s.rollouts.CameOnline(c.Serial)
		}
	}
	return ctx.Err()
}

// tellComings has webhooks told who comes and goes, once it is known who is there: a start
// of the control centre is no news of PBXs.
func (s *Server) tellComings(ctx context.Context) error {
	select {
	case <-s.fleet.Known():
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.webhooks.Presence(ctx, s.fleet.Subscribe(ctx))
}

// runRollouts begins once it is known who is there: before that everybody would be offline.
func (s *Server) runRollouts(ctx context.Context) error {
	select {
	case <-s.fleet.Known():
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.rollouts.Run(ctx)
}

// web is a listener with the API and the pages.
func (s *Server) web(name string, ln net.Listener) daemon.Component {
	server := s.api.Server()
	server.ErrorLog = s.log.Named(name).StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})
	serve := func() error { return server.Serve(ln) }
	if ln == s.secure {
		server.TLSConfig = s.names.TLSConfig("h2", "http/1.1")
		serve = func() error { return server.ServeTLS(ln, "", "") }
	}
	return daemon.Component{
		Name: name,
		Run:  daemon.Serving(serve, server.Close),
		Drain: func(ctx context.Context) error {
			return errors.Join(s.api.Drain(ctx), server.Shutdown(ctx))
		},
	}
}

// SetBlocks tells which PBXs' certificates are revoked: their pairings end.
func (s *Server) SetBlocks(l blocks.List) { s.pairing.SetBlocks(l) }

// HTTPAddr is the address of the plain listener, nil without.
func (s *Server) HTTPAddr() net.Addr { return addr(s.plain) }

// HTTPSAddr is the address of the https listener, nil without.
func (s *Server) HTTPSAddr() net.Addr { return addr(s.secure) }

func addr(ln net.Listener) net.Addr {
	if ln == nil {
		return nil
	}
	return ln.Addr()
}

// Fleet tells who is connected.
func (s *Server) Fleet() *fleet.Presence { return s.fleet }

// Close closes what New has opened. Everything that ran has to have ended.
func (s *Server) Close() error {
	var all []error
	for _, ln := range []net.Listener{s.plain, s.secure, s.calls} {
		if ln == nil {
			continue
		}
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			all = append(all, err)
		}
	}
	if s.dialer != nil {
		all = append(all, s.dialer.Close())
	}
	if s.db != nil {
		all = append(all, s.db.Close())
	}
	return errors.Join(all...)
}
