// Package peer knows the contestants: other tunnels, ours, and the bare loopback.
// Each is set up as processes of their own on loopback and gives one plain TCP
// address that leads to a target.
//
//	env, err := peer.NewEnv(dir)
//	c, ok := peer.Find("frp-mux")
//	if c.Missing(env) == "" {
//		way, err := c.Start(ctx, env, target.Addr())
//		defer way.Stop()
//		... work.Run(… way.Entry …)
//	}
//
// # Settings
//
// Peers get their best settings: frp without its dashboard, TLS as it is by
// default and a pool of 32 work connections, as many as are opened at once; nginx with a
// worker per processor and 64 KiB buffers; chisel has nothing to set. Ours runs
// with the defaults, and with limits on streams that let 300 connections through.
//
// Each contestant listens on a loopback address of its own, that of its target.
// Connections that were closed keep their ports for a minute (TIME_WAIT): where all
// share 127.0.0.1, whose 28,000 ports are soon used up, the kernel finds no free
// port to listen on, nor for a program that binds before it connects, and one
// contestant's opens become the errors of the next.
//
// Ports are the kernel's choice. Programs that cannot report one get a port that
// was free a moment before, and one more try if somebody else took it.
package peer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/process"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// Class is what a contestant does for its user.
type Class string

// The classes. Figures are compared within one, or across with the difference
// told.
const (
	// None: no encryption at all.
	None Class = "none"
	// Same work: plain TCP entry on the relay, encrypted tunnel to the device.
	Same Class = "same"
	// E2E: encrypted from the caller's to the device's process.
	E2E Class = "e2e"
)

// Contestant is one way to a target.
type Contestant struct {
	Name  string
	Class Class
	// About says in a line what it is and how it is set.
	About string
	// Variant is a peer with another setting than the one that it is compared with; it
	// runs when it is asked for by name.
	Variant bool
	// programs are the names of what it needs, all in env's.
	programs []string
	start    func(ctx context.Context, s *setup) error
}

// Env is where contestants are set up.
type Env struct {
	dir      string
	programs map[string]string // path by name; missing where not found
	hosts    atomic.Uint32     // how many [Env.Host] gave
}

// Host gives another loopback address; after 254 it begins again. Linux has all of
// 127.0.0.0/8; the process id keeps runs apart that follow each other.
func (e *Env) Host() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 64+pid>>8%128, pid%256, 1+(e.hosts.Add(1)-1)%254)
}

// NewEnv looks for the peers' programs: at the path in FRPS, FRPC, CHISEL and
// NGINX, else in PATH. What contestants need on disk goes to dir. A variable that
// names nothing is an error, since a row "not installed" would hide it.
func NewEnv(dir string) (*Env, error) {
	e := &Env{dir: dir, programs: make(map[string]string)}
	for _, name := range []string{"frps", "frpc", "chisel", "nginx"} {
		variable := strings.ToUpper(name)
		value := os.Getenv(variable)
		path, err := exec.LookPath(cmp.Or(value, name))
		switch {
		case err == nil:
			e.programs[name] = path
		case value != "":
			return nil, fmt.Errorf("%s: %w", variable, err)
		}
	}
	return e, nil
}

// Ours reports whether the contestant needs no program of others.
func (c Contestant) Ours() bool { return len(c.programs) == 0 }

// Missing says why the contestant cannot run here; empty if it can.
func (c Contestant) Missing(e *Env) string {
	for _, name := range c.programs {
		if e.programs[name] == "" {
			return "not installed: " + name
		}
	}
	return ""
}

var versionForm = regexp.MustCompile(`[0-9]+\.[0-9]+(\.[0-9]+)?[^\s]*`)

// Version is that of the contestant's main program.
func (c Contestant) Version(ctx context.Context, e *Env) string {
	if c.Ours() {
		return configs.Version()
	}
	flag := "--version"
	if c.programs[0] == "nginx" {
		flag = "-v"
	}
	out, err := exec.CommandContext(ctx, e.programs[c.programs[0]], flag).CombinedOutput() //nolint:gosec // what the user put there
	if err != nil {
		return "unknown"
	}
	return cmp.Or(versionForm.FindString(string(out)), "unknown")
}

// Way is a contestant that runs.
type Way struct {
	// Entry is the address that leads to the target.
	Entry string
	// Dial makes a connection there without the entry, for callers that are not
	// reached over TCP; nil for all others.
	Dial func(ctx context.Context) (net.Conn, error)
	// release ends what runs in this process; may be nil.
	release func() error
	// relay is the process in the middle; nil for the bare loopback.
	relay     *process.Process
	processes []*process.Process
}

// setup is a way that is being built.
type setup struct {
	*Way
	env    *Env
	dir    string // of this contestant alone
	host   string // the loopback address to listen on, that of the target
	target string
}

func (s *setup) add(p *process.Process, err error) error {
	if err == nil {
		s.processes = append(s.processes, p)
	}
	return err
}

// program starts one of the peers' programs.
func (s *setup) program(name string, args ...string) error {
	cmd := exec.Command(s.env.programs[name], args...) //nolint:gosec,noctx // what the user put there; stopped by Stop
	cmd.Dir = s.dir
	// To nginx the variable that says where it is means sockets that it inherits.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "NGINX=") })
	return s.add(process.Start(cmd, name))
}

// write puts a configuration beside the others of the contestant.
func (s *setup) write(name, text string) (path string, err error) {
	path = filepath.Join(s.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// Start sets the contestant up and waits until an answer comes through it to the
// target, "host:port" with a loopback address that no other contestant has.
func (c Contestant) Start(ctx context.Context, e *Env, target string) (*Way, error) {
	var errs []error
	for range 2 { // a free port may be taken by somebody else
		w, err := c.startOnce(ctx, e, target)
		if err == nil {
			return w, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("%s: %w", c.Name, errors.Join(errs...))
}

func (c Contestant) startOnce(ctx context.Context, e *Env, target string) (*Way, error) {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(e.dir, c.Name)
	if err != nil {
		return nil, err
	}
	s := &setup{Way: new(Way), env: e, dir: dir, host: host, target: target}
	if err = c.start(ctx, s); err == nil {
		err = s.answers(ctx)
	}
	if err != nil {
		for _, p := range s.processes {
			err = fmt.Errorf("%w%s", err, p.Said())
		}
		s.Stop()
		return nil, err
	}
	return s.Way, nil
}

// startPatience bounds the start of a contestant, up to the first answer through
// it.
const startPatience = 20 * time.Second

// answers waits until one byte has gone there and back.
func (w *Way) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := w.probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("no answer at %s: %w", w.Entry, err)
		}
	}
}

func (w *Way) probe(ctx context.Context) error {
	dial := w.Dial
	if dial == nil {
		dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", w.Entry) }
	}
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "ex"); err != nil { // echo, and a byte
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return err
}

// Meter reads the use of the process in the middle; nil for the bare loopback.
func (w *Way) Meter() func() (load.Usage, error) {
	if w.relay == nil {
		return nil
	}
	return w.relay.Usage
}

// CPU is the time that all processes of the way have spent so far.
func (w *Way) CPU() (sum time.Duration, err error) {
	for _, p := range w.processes {
		u, err := p.Usage()
		if err != nil {
			return 0, fmt.Errorf("%w%s", err, p.Said())
		}
		sum += u.CPU
	}
	return sum, nil
}

// Stop ends the processes, the last one first.
func (w *Way) Stop() {
	if w.release != nil {
		_ = w.release() // never fails
	}
	for _, p := range slices.Backward(w.processes) {
		p.Stop()
	}
}

// at is a port on the contestant's address.
func (s *setup) at(port int) string { return net.JoinHostPort(s.host, strconv.Itoa(port)) }
