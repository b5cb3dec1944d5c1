// Package facts is a small web server that shows live facts of the machine it
// runs on: processor, memory, disk, uptime. The devices of the all-in-one command
// and of package world offer it as their service "web", so that there is something
// true to look at on the far side of a tunnel.
//
//	s := facts.New(facts.Config{Serial: "0123456789"})
//	go s.Run(ctx)                       // measures, once a second
//	http.Serve(ln, s)
//
//	GET /            a page; refreshes itself, with JavaScript and without
//	GET /facts.json  the same as JSON, [Facts]
//	GET /events      the same as server-sent events, one per measurement
//
// The server also shows who calls. It believes the X-Auer- headers that the agent
// sets (service option "identity: header"), so it must listen where nobody but the
// agent can connect: on loopback.
//
// The page loads nothing from anywhere else; its Content-Security-Policy forbids
// it to.
package facts

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Facts are one measurement. Sizes are in bytes, shares in percent.
type Facts struct {
	Serial identity.Serial `json:"serial"`
	Time   time.Time       `json:"time"`
	Host   Host            `json:"host"`
	CPU    CPU             `json:"cpu"`
	Memory Space           `json:"memory"`
	Disk   Space           `json:"disk"` // of the file system that holds /
	Call   Call            `json:"call"`
}

// Host is the machine.
type Host struct {
	Name   string `json:"name"`
	System string `json:"system"` // e.g. "debian 12.5"
	Kernel string `json:"kernel"` // e.g. "6.1.0 x86_64"
	// Uptime is the time since the machine was started, in seconds.
	Uptime uint64 `json:"uptime_s"`
}

// CPU is the processor.
type CPU struct {
	Cores int `json:"cores"` // logical
	// Percent is the share of all cores' time that was not idle since the
	// measurement before; 0 in the first one.
	Percent float64 `json:"percent"`
	// Load is the load average over one minute.
	Load float64 `json:"load1"`
}

// Space is memory or disk.
type Space struct {
	Total   uint64  `json:"total"`
	Used    uint64  `json:"used"`
	Percent float64 `json:"percent"`
}

// Call is what the agent tells about the call that asked. Empty where the request
// did not come through an agent.
type Call struct {
	Caller    string `json:"caller"` // SPIFFE ID
	RequestID string `json:"request_id"`
	Purpose   string `json:"purpose,omitempty"`
}

// Config of a [Server]. Serial is needed.
type Config struct {
	// Serial of the device that the server stands for.
	Serial identity.Serial
	// Interval between two measurements. Default 1 s.
	Interval time.Duration
	// Measure replaces the measurement of this machine, for tests. It is called
	// from one goroutine.
	Measure func(ctx context.Context) (Facts, error)
	// Logger; default: none.
	Logger hclog.Logger
}

// Server measures and answers. Make it with [New].
type Server struct {
	cfg Config

	mu      sync.Mutex // guards what follows
	latest  Facts
	err     error         // of the latest measurement
	changed chan struct{} // closed and replaced at each measurement
}

// New makes a server that answers 503 until Run has measured once.
func New(cfg Config) *Server {
	if cfg.Interval <= 0 {
		cfg.Interval = time.Second
	}
	if cfg.Measure == nil {
		cfg.Measure = new(meter).measure
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	return &Server{cfg: cfg, err: errNotYet, changed: make(chan struct{})}
}

// Run measures until ctx ends, and returns nil then. A measurement that fails is
// answered with 503 until the next one.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	for {
		f, err := s.cfg.Measure(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			s.cfg.Logger.Warn("measurement failed", "error", err)
		}
		f.Serial = s.cfg.Serial
		s.publish(f, err)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Server) publish(f Facts, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest, s.err = f, err
	close(s.changed)
	s.changed = make(chan struct{})
}

// Latest gives the latest measurement, without a call; the error says why there is
// none.
func (s *Server) Latest() (Facts, error) {
	f, _, err := s.read()
	return f, err
}

// read gives the latest measurement and a channel that closes at the next.
func (s *Server) read() (Facts, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest, s.changed, s.err
}
