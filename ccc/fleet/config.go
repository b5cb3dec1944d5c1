package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Watcher is what the fleet needs of a [dial.Dialer].
type Watcher interface {
	// WatchPresence tells f what the relays tell, see [dial.Dialer.WatchPresence].
	WatchPresence(ctx context.Context, f func(dial.PresenceUpdate)) error
	// Relays lists the relays of which it will tell.
	Relays() []dial.LinkStatus
}

// Config is everything that a fleet can be told. Fields with a yaml key may come from
// a file; the others come from the program. A zero value stands for the default.
type Config struct {
	// OfflineAfter is how long a PBX may be without a session before it is offline.
	// Default 5 s, at most 10 min.
	OfflineAfter time.Duration `yaml:"offline_after"`
	// CloneAfter is how long two holders of one PBX's certificate may be connected at
	// once before it is taken for a copy. It has to be longer than a relay waits for one
	// that has gone without a word (45 s with its defaults): until then a PBX that
	// was restarted looks like two. Default 2 min, at most 1 h.
	CloneAfter time.Duration `yaml:"clone_after"`
	// Quarantine is how long the PBX is not used after one of the two has gone. Default
	// 10 min, at most 24 h.
	Quarantine time.Duration `yaml:"quarantine"`
	// PBXs is how many PBXs the fleet knows at once; of more it takes no notice, and
	// counts them. Default 1000000.
	PBXs int `yaml:"pbxs"`
	// Remembered is how many PBXs are remembered that are offline; of more, those are
	// forgotten that went offline first. Default 100000.
	Remembered int `yaml:"remembered"`
	// Pending is how many PBXs' changes may wait for one subscriber that does not read.
	// With more it is told to look at all anew. Default 16384.
	Pending int `yaml:"pending"`
	// HistoryKeep is how long is kept when each PBX was online and why it was not, and
	// HistoryIntervals how many of these times of one PBX, the newest; see ccc/history, which
	// writes them. Default 2160h (90 days), at most 10 years, and 5000.
	HistoryKeep      time.Duration `yaml:"history_keep"`
	HistoryIntervals int           `yaml:"history_intervals"`
	// HistoryFlaps is how often a PBX may come or go in an hour; of more, one line is
	// kept that counts them. Default 12.
	HistoryFlaps int `yaml:"history_flaps"`

	// Watch is where presence comes from: a *dial.Dialer.
	Watch Watcher `yaml:"-"`
	// Logger; default: none.
	Logger hclog.Logger `yaml:"-"`
	// Metrics gets the fleet's collectors. Default: none.
	Metrics prometheus.Registerer `yaml:"-"`
}

// DefaultConfig is what an empty file means.
func DefaultConfig() Config {
	return Config{
		OfflineAfter: 5 * time.Second, CloneAfter: 2 * time.Minute, Quarantine: 10 * time.Minute,
		PBXs: 1_000_000, Remembered: 100_000, Pending: 16_384,
		HistoryKeep: 90 * 24 * time.Hour, HistoryIntervals: 5000, HistoryFlaps: 12,
	}
}

// fill replaces zero values by their defaults.
func (c *Config) fill() {
	d := DefaultConfig()
	c.OfflineAfter = cmp.Or(c.OfflineAfter, d.OfflineAfter)
	c.CloneAfter = cmp.Or(c.CloneAfter, d.CloneAfter)
	c.Quarantine = cmp.Or(c.Quarantine, d.Quarantine)
	c.PBXs = cmp.Or(c.PBXs, d.PBXs)
	c.Remembered = cmp.Or(c.Remembered, d.Remembered)
	c.Pending = cmp.Or(c.Pending, d.Pending)
	c.HistoryKeep = cmp.Or(c.HistoryKeep, d.HistoryKeep)
	c.HistoryIntervals = cmp.Or(c.HistoryIntervals, d.HistoryIntervals)
	c.HistoryFlaps = cmp.Or(c.HistoryFlaps, d.HistoryFlaps)
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
}

// Validate checks every value that a file can set and reports all problems at once, as
// configs.KeyError with the key relative to the section.
func (c Config) Validate() error {
	var errs configs.Errors
	bad := func(key, format string, args ...any) {
		errs = append(errs, &configs.KeyError{Key: key, Problem: fmt.Sprintf(format, args...)})
	}
	for _, d := range []struct {
		key         string
		value, most time.Duration
	}{
		{"offline_after", c.OfflineAfter, 10 * time.Minute},
		{"clone_after", c.CloneAfter, time.Hour},
		{"quarantine", c.Quarantine, 24 * time.Hour},
		{"history_keep", c.HistoryKeep, 10 * 365 * 24 * time.Hour},
	} {
		if d.value < 0 || d.value > d.most {
			bad(d.key, "%s is out of range, want up to %s", d.value, d.most)
		}
	}
	for key, n := range map[string]int{"pbxs": c.PBXs, "remembered": c.Remembered, "pending": c.Pending, "history_intervals": c.HistoryIntervals, "history_flaps": c.HistoryFlaps} {
		if n < 0 {
			bad(key, "%d is negative", n)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// checkRuntime checks what only the program can give.
func (c Config) checkRuntime() error {
	if c.Watch == nil {
		return errors.New("fleet: nothing to watch presence with")
	}
	return nil
}
