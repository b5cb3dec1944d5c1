package remote

import (
	"cmp"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
)

// Bounds of how long one consent lasts.
const (
	MinLife     = time.Minute
	DefaultLife = time.Hour
	MaxLife     = wire.MaxRemote
)

// Policy is what the PBX's administrator has set, as of now.
type Policy struct {
	// On lets remote access be asked for at all.
	On bool
	// Always consents to every request at once.
	Always bool
	// Sealed says that there is TLS which ends in the PBX: the service tls.
	Sealed bool
	// Life is how long an access lasts at most where the administrator does not say so
	// himself. Zero means [DefaultLife].
	Life time.Duration
	// Pairing and Epoch are those of the pairing; empty: there is none.
	Pairing wire.PairingID
	Epoch   uint64
	// Targets are what the services tcp and ssh reach.
	Targets []Target
	// Recording is the age recipient to which terminals are recorded; empty: they are not.
	Recording string
}

// Limits bound what is kept and how long. Zero values stand for the defaults.
type Limits struct {
	// Pending and Active are how many requests wait, and how many sessions run, at once.
	// Default 5 each.
	Pending, Active int
	// Wait is how long a request waits for consent. Default 15 min.
	Wait time.Duration
	// PINLife is how long a PIN can be used, PINTries how many wrong ones end it, and a
	// request from which they came. Default 15 min and 5.
	PINLife  time.Duration
	PINTries int
	// Streams is how many calls one session has at once. Default 64.
	Streams int
	// Reports is how many reports wait for the CCC before no request is taken any more.
	// Default 256.
	Reports int
	// Checkpoint is how often the bytes of running sessions are written, and a write that
	// failed is tried again. Default 1 min.
	Checkpoint time.Duration
}

func (l *Limits) fill() {
	l.Pending = cmp.Or(l.Pending, 5)
	l.Active = cmp.Or(l.Active, 5)
	l.Wait = cmp.Or(l.Wait, 15*time.Minute)
	l.PINLife = cmp.Or(l.PINLife, 15*time.Minute)
	l.PINTries = cmp.Or(l.PINTries, 5)
	l.Streams = cmp.Or(l.Streams, 64)
	l.Reports = cmp.Or(l.Reports, 256)
	l.Checkpoint = cmp.Or(l.Checkpoint, time.Minute)
}

// Config is everything that a [Machine] is told. Disk and Policy are needed.
type Config struct {
	// Disk keeps the file, e.g. a state.Dir.
	Disk disk
	// Installed is when the PBX was set up: another time is another owner, who sees
	// nothing of the sessions before.
	Installed time.Time
	// Policy gives what is set now. It is asked for each decision, must not block, and
	// must not call the Machine.
	Policy func() Policy
	Limits Limits
	// OnChange, where set, is called after each change; there may be a report. It must
	// not block.
	OnChange func()
	// Logger; default: none.
	Logger hclog.Logger
}

func (c *Config) fill() error {
	if c.Disk == nil || c.Policy == nil {
		return errors.New("remote: no disk or no policy")
	}
	c.Limits.fill()
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return nil
}
