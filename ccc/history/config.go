package history

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Fleet tells who is connected; a [*fleet.Presence] does.
type Fleet interface {
	Status(serial identity.Serial) (status fleet.Status, known bool)
	MayBeOnline(serial identity.Serial) bool
	Known() <-chan struct{}
	Subscribe(ctx context.Context) <-chan fleet.Change
}

// Config is what a recorder is told. A zero value stands for the default.
type Config struct {
	// Keep is how long intervals are kept after their end. Default 90 days.
	Keep time.Duration
	// Intervals is how many are kept of one PBX's ownership. Default 5000.
	Intervals int
	// Flaps is how many changes there may be in an hour; more become one interval.
	// Default 12.
	Flaps int
	// Batch is how many intervals are written in one transaction, which all other changes on
	// SQLite wait for. Default 100.
	Batch int

	// Store keeps the history. Needed, as Fleet.
	Store *store.DB
	Fleet Fleet
	// Logger; default: none.
	Logger hclog.Logger
	// Metrics gets the recorder's collectors. Default: none.
	Metrics prometheus.Registerer

	after time.Duration // default writeAfter
}

func (c *Config) fill() {
	c.Keep = cmp.Or(c.Keep, 90*24*time.Hour)
	c.Intervals = cmp.Or(c.Intervals, 5000)
	c.Flaps = cmp.Or(c.Flaps, 12)
	c.Batch = cmp.Or(c.Batch, 100)
	c.after = cmp.Or(c.after, writeAfter)
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
}

func (c Config) check() error {
	if c.Store == nil || c.Fleet == nil {
		return errors.New("history: Store and Fleet are needed")
	}
	return nil
}
