// Package daemon is what every server process of the cloud shares: logging, the
// access log, metrics, an admin listener, health, signals, and running and
// stopping the parts of the program in order.
//
// # Use
//
//	d, err := daemon.New(cfg.Config, "auerproxy")
//	...
//	restore, err := d.CatchOutput() // where the process is this program's alone
//	defer restore()
//	r, err := relay.New(cfg.Relay, d.Logger().Named("relay"), d.Registry(), d.AccessLog())
//	...
//	d.Admin().Handle("GET /sessions", r.SessionsHandler())
//	return d.Run(ctx,
//		daemon.Component{Name: "blocks", Run: blocks.Run, Ready: blocks.Loaded()},
//		daemon.Component{Name: "relay", Run: r.Run, Drain: r.Drain},
//	)
//
// The package keeps no global state, so that several daemons can run in one
// process (as the all-in-one command does), each with its own registry, logger
// and admin listener. Only the access log is written to disk.
//
// # Addresses
//
// Addresses of clients go to the access log and nowhere else: everything that is
// logged passes a redactor (see package accesslog). So does what others write to
// standard error, panics too, where [Daemon.CatchOutput] was called.
//
// # Life
//
// [Daemon.Run] opens the access log, which deletes what is too old, and the admin
// listener, then starts the components in order, each when the one before is ready. It ends on SIGINT, SIGTERM, the end of its
// context or the return of a component. Then, from the last component to the
// first: drain, cancel, wait. All this has ShutdownTimeout; after it, everything
// is cancelled at once. A second signal ends the process immediately.
//
//	starting ──all ready──► running ──signal, end of ctx, component returns──► draining ──► stopped
//
// # Admin listener
//
//	GET  /healthz       200 while the process is alive
//	GET  /readyz        200 when everything is ready; 503 and what is not, and why
//	GET  /metrics       Prometheus
//	GET  /debug/pprof/  profiles (net/http/pprof)
//	GET  /log-level     {"level":"info"}
//	GET  /access-log/statistics?by=day&days=30
//	                    anonymous counts of accesses, by hour or day (accesslog.Summary)
//	PUT  /log-level     sets it: curl -X PUT -d '{"level":"debug"}' http://127.0.0.1:9090/log-level
//
// A browser on the same machine cannot be used against it: requests from other
// origins and with a foreign Host are refused.
package daemon

import (
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	hclogslog "github.com/evanphx/go-hclog-slog/hclogslog"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
)

// Daemon is one server process, or its share of a process. Make it with [New].
type Daemon struct {
	cfg      Config
	log      hclog.Logger
	output   *output
	access   *accesslog.Log
	registry *prometheus.Registry
	admin    *http.ServeMux
	started  chan struct{} // closed when every component is ready
	counting chan struct{} // full while somebody has accesses counted

	signals chan os.Signal // nil: the process's own; set by tests
	exit    func(code int) // os.Exit, or a test's

	mu       sync.Mutex // guards the fields below
	addr     net.Addr   // of the admin listener; nil before Run
	notReady map[string]error
}

// stopGrace is how long a component may take to return after its context was
// cancelled at the end of ShutdownTimeout, before Run gives it up.
const stopGrace = 5 * time.Second

// New checks the configuration and makes the logger, the registry and the admin
// mux. It starts nothing and opens nothing; that is done by [Daemon.Run]. name is
// the program's: it is the root of the logger's name and a label of the metric
// comtrexx_build_info.
func New(cfg Config, name string) (*Daemon, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	registry, err := newRegistry(name)
	if err != nil {
		return nil, err
	}
	out := newOutput(cfg)
	d := &Daemon{
		cfg:      cfg,
		log:      newLogger(cfg, name, out),
		output:   out,
		registry: registry,
		started:  make(chan struct{}),
		counting: make(chan struct{}, 1),
		exit:     os.Exit,
		notReady: map[string]error{},
	}
	d.admin = d.newMux()
	cfg.AccessLog.Service, cfg.AccessLog.Logger, cfg.AccessLog.Metrics = name, d.log.Named("access"), registry
	if d.access, err = accesslog.New(cfg.AccessLog); err != nil {
		return nil, err
	}
	return d, nil
}

func newLogger(cfg Config, name string, out *output) hclog.Logger {
	level, _ := parseLevel(cfg.Log.Level)
	return hclog.New(&hclog.LoggerOptions{
		Name:       name,
		Level:      level,
		JSONFormat: cfg.Log.Format == "json",
		TimeFn:     func() time.Time { return time.Now().UTC() },
		Output:     out,
	})
}

// Logger gives the root logger. Components take d.Logger().Named("part"); the
// level of all of them changes together.
func (d *Daemon) Logger() hclog.Logger { return d.log }

// AccessLog gives the log of the clients' addresses, for every listener that they
// reach: [accesslog.Log.Watch] for an http.Server, else [accesslog.Log.Record]. Run
// writes it from before the first component starts until the last one has ended.
func (d *Daemon) AccessLog() *accesslog.Log { return d.access }

// Slog gives the same logger for libraries that want log/slog.
func (d *Daemon) Slog() *slog.Logger { return slog.New(hclogslog.Adapt(d.log)) }

// Registry gives the daemon's own Prometheus registry, in which the Go runtime,
// the process and the build are registered already.
func (d *Daemon) Registry() *prometheus.Registry { return d.registry }

// Admin gives the mux of the admin listener, for the program's own handlers. Add
// them before Run. Responses may stream: there is no write timeout.
func (d *Daemon) Admin() *http.ServeMux { return d.admin }

// AdminAddr gives the address of the admin listener, nil before [Daemon.Run] has
// opened it. It is open when the first component is started.
func (d *Daemon) AdminAddr() net.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addr
}

// Started is closed when the admin listener is open and every component has been
// started and is ready.
func (d *Daemon) Started() <-chan struct{} { return d.started }
