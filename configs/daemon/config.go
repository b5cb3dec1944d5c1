package daemon

import (
	"cmp"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
)

// Config is what every server process configures in the same way. Programs
// include it inline, so that its keys stand at the top of their file:
//
//	type Config struct {
//		daemon.Config `yaml:",inline"`
//		Relay relay.Config `yaml:"relay"`
//	}
//
// The zero value is useful; each field says what it then means.
type Config struct {
	// Log says what is logged. Logs go to standard error.
	Log LogConfig `yaml:"log"`
	// Admin is the listener for health, metrics and profiles.
	Admin AdminConfig `yaml:"admin"`
	// AccessLog keeps the addresses of clients, for 14 days at most, and anonymous
	// counts. Without a directory neither is kept. See package accesslog.
	AccessLog accesslog.Config `yaml:"access_log"`
	// ShutdownTimeout is how long draining and stopping may take in all, before
	// everything is cancelled at once. Default: 30s.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout"`
	// GCPercent is by how much of what is in use the heap grows until garbage is
	// collected, in percent: the Go runtime's GOGC, which wins where the environment has
	// it. A process that holds much, a relay of 10,000 tunnels say, takes a tenth less
	// memory at 50 than at the runtime's 100. -1: left to the runtime. Default: 50.
	GCPercent int `yaml:"gc_percent"`
	// HeapFloor is a number of bytes that the garbage collector counts as in use,
	// though nothing is kept in them and they take no memory: a collection starts
	// first when GCPercent of that size have been used. A process that holds little
	// would otherwise collect whenever a few megabytes pass through it, and each time everybody's
	// calls take longer. Bounds on what the Go runtime counts as memory, such as
	// relay.limits.memory and GOMEMLIMIT, see it too. -1: none. Default: 64 MiB.
	HeapFloor int64 `yaml:"heap_floor"`
	// KeepMemory leaves it to the Go runtime when memory goes back to the system. By
	// default a process also collects garbage and gives back what is free when it has
	// become quiet after a burst, in at most 1 % of the time.
	KeepMemory bool `yaml:"keep_memory"`

	// Output takes the log in place of standard error. For tests.
	Output io.Writer `yaml:"-"`
}

// LogConfig says what is logged.
type LogConfig struct {
	// Level is the least important level that is logged: trace, debug, info,
	// warn, error or off. It can be changed while the program runs, see the
	// package doc. Default: info.
	Level string `yaml:"level"`
	// Format is text (for people) or json (one object a line). Default: text.
	Format string `yaml:"format"`
}

// AdminConfig is the admin listener. Whoever reaches it can read profiles of the
// process and use the program's admin handlers, without a password.
type AdminConfig struct {
	// Listen is host:port with a loopback address, or unix:PATH for a socket
	// that only the process's own user can open. Port 0 takes a free one.
	// Default: 127.0.0.1:9090.
	Listen string `yaml:"listen"`
	// AllowRemote permits an address that is not loopback. Set it only where a
	// firewall lets nobody but the monitoring in.
	AllowRemote bool `yaml:"allow_remote"`
}

// unixPrefix marks the path of a socket in AdminConfig.Listen.
const unixPrefix = "unix:"

// maxGCPercent bounds GCPercent to what makes sense.
const maxGCPercent = 1000

// maxHeapFloor bounds HeapFloor to what every machine can reserve.
const maxHeapFloor = 1 << 30

// Default gives the values that stand for the zero value.
func Default() Config {
	return Config{
		Log:             LogConfig{Level: "info", Format: "text"},
		Admin:           AdminConfig{Listen: "127.0.0.1:9090"},
		AccessLog:       accesslog.Default(),
		ShutdownTimeout: 30 * time.Second,
		GCPercent:       50,
		HeapFloor:       64 << 20,
	}
}

// withDefaults gives a copy in which no field is zero.
func (c Config) withDefaults() Config {
	d := Default()
	c.Log.Level = cmp.Or(c.Log.Level, d.Log.Level)
	c.Log.Format = cmp.Or(c.Log.Format, d.Log.Format)
	c.Admin.Listen = cmp.Or(c.Admin.Listen, d.Admin.Listen)
	c.ShutdownTimeout = cmp.Or(c.ShutdownTimeout, d.ShutdownTimeout)
	c.GCPercent = cmp.Or(c.GCPercent, d.GCPercent)
	c.HeapFloor = cmp.Or(c.HeapFloor, d.HeapFloor)
	return c
}

// Validate checks the values, each error a [configs.KeyError] with the key below
// this struct.
func (c Config) Validate() error {
	c = c.withDefaults()
	var all []error
	if _, ok := parseLevel(c.Log.Level); !ok {
		all = append(all, &configs.KeyError{Key: "log.level", Problem: "is not a level", Hint: levelHint})
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		all = append(all, &configs.KeyError{Key: "log.format", Problem: "is not a format", Hint: "use text or json"})
	}
	if c.ShutdownTimeout < 0 {
		all = append(all, &configs.KeyError{Key: "shutdown_timeout", Problem: "is below zero"})
	}
	if c.GCPercent < -1 || c.GCPercent > maxGCPercent {
		all = append(all, &configs.KeyError{Key: "gc_percent", Problem: "is not between 1 and 1000", Hint: "use -1 to leave it to the runtime"})
	}
	if c.HeapFloor < -1 || c.HeapFloor > maxHeapFloor {
		all = append(all, &configs.KeyError{Key: "heap_floor", Problem: "is not a number of bytes up to 1 GiB", Hint: "use -1 for none"})
	}
	return errors.Join(append(all, c.Admin.validate(), configs.Under("access_log", c.AccessLog.Validate()))...)
}

func (a AdminConfig) validate() error {
	const key = "admin.listen"
	if path, ok := strings.CutPrefix(a.Listen, unixPrefix); ok {
		if path == "" {
			return &configs.KeyError{Key: key, Problem: "names no socket", Hint: "write unix:/run/program/admin.sock"}
		}
		return nil
	}
	host, _, err := net.SplitHostPort(a.Listen)
	if err != nil {
		return &configs.KeyError{Key: key, Problem: err.Error(), Hint: "write 127.0.0.1:9090 or unix:/path", Cause: err}
	}
	if !configs.IsLoopback(host) && !a.AllowRemote {
		return &configs.KeyError{
			Key: key, Problem: "is not a loopback address",
			Hint: "the admin listener has no password; use 127.0.0.1, or set admin.allow_remote behind a firewall",
		}
	}
	return nil
}

const levelHint = "use trace, debug, info, warn, error or off"

// parseLevel reads a level's name. hclog itself gives NoLevel for a wrong one.
func parseLevel(name string) (hclog.Level, bool) {
	l := hclog.LevelFromString(name)
	return l, l != hclog.NoLevel
}
