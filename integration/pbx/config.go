package pbx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/dev/facts"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/password"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/remote"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/tlsend"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Config is everything that a PBX can be told. Credentials are needed.
type Config struct {
	// Dir keeps the state; see package state. Empty: it is in memory and lost at the
	// end.
	Dir string
	// Disk keeps the state instead of Dir, e.g. a [state.Memory] that outlives the PBX.
	Disk state.Disk
	// Credentials are the device's certificate and key, and the trusted roots.
	Credentials *enrol.Credentials
	// Clock says what time it is at least; signed statements are verified by it. Nil:
	// the machine's clock.
	Clock *enrol.Clock
	// Agent holds relays, timing, limits, transports, instance id and OnStatus of the
	// tunnel; the PBX sets the rest. Without relays there is no tunnel.
	Agent agent.Config
	// Model and Firmware are shown. Default "COMtrexx Business" and "1.0.0-sim". Firmware is
	// the version that the PBX came with; what was installed since goes before it.
	Model, Firmware string
	// FirmwareKeys are those whose firmware images are taken. Default: none is.
	FirmwareKeys firmware.Keys
	// Fault has maintenance go wrong, for tests. Default: it does not.
	Fault Fault
	// FirstPassword is the administrator's until he changes it. Default: generated,
	// see [PBX.FirstPassword].
	FirstPassword string
	// Seed decides the calls. Default: from the serial.
	Seed uint64
	// CallsPerDay is how many calls a new PBX makes until that is set otherwise: 0 to
	// 10,000. Nil: as in [settings.Default].
	CallsPerDay *int
	// History is how long before its creation the PBX's call data begin. Default 30
	// days.
	History time.Duration

	Limits Limits
	// Remote bounds remote access.
	Remote remote.Limits
	// OwnServices are services of this machine that may be targets of remote access, such
	// as its SSH server on loopback. Default: none.
	OwnServices []netip.AddrPort
	// TLSEnd is TLS that ends here, for remote access that is encrypted end to end; the PBX
	// sets Serial, Roots and Logger, and Storage to the directory tls in Dir where it is
	// empty. Default: there is none, and no session of the service "tls" is taken.
	TLSEnd tlsend.Config
	// DialTarget connects to a target of remote access. Default [remote.Dialer.Dial] with
	// OwnServices, which refuses what is no host of the local network.
	DialTarget func(context.Context, remote.Target) (net.Conn, error)

	// Hasher hashes passwords and tokens; it can be shared. Default: one of its own
	// with the usual cost, one hash at a time.
	Hasher *password.Hasher
	// Facts gives the facts of the machine; it can be shared. Default: those of
	// package facts, [MeasureEvery].
	Facts func() (facts.Facts, error)
	// Dial replaces the tunnel on the way to the control centre's service "pairing",
	// for tests.
	Dial func(ctx context.Context) (net.Conn, error)
	// OnChange, where set, is called after each change of the state. It must not block.
	OnChange func()
	// Hostile makes the PBX attack. Default: it does not.
	Hostile Hostile
	// Logger; default: none. It never gets a token or password.
	Logger hclog.Logger
}

// Fault is how maintenance goes wrong.
type Fault string

// The faults.
const (
	FaultNone    Fault = ""
	FaultInstall Fault = "install" // no firmware can be installed
	FaultReturn  Fault = "return"  // it does not come back from a restart
	FaultRefuse  Fault = "refuse"  // it takes neither restart nor firmware nor other settings
)

// Faults are all of them.
var Faults = []Fault{FaultInstall, FaultReturn, FaultRefuse}

// Limits bound what the PBX waits for and takes. Zero values stand for the defaults.
type Limits struct {
	// MaxBody bounds the body of a message about a pairing, in bytes. Default
	// [wire.DefaultMaxBody].
	MaxBody int64
	// CompleteFor is how long a completion is repeated before its user is removed.
	// Default 10 min.
	CompleteFor time.Duration
	// CompleteWait is how long who typed the token waits for the outcome before he is
	// told that it goes on. Default 15 s.
	CompleteWait time.Duration
	// RetryMin and RetryMax bound the wait after a message that did not get through,
	// which doubles from the one to the other. Default 1 s and 5 min, and 30 s at most
	// while completing.
	RetryMin, RetryMax time.Duration
	// SyncEvery is the time between two syncs where the control centre names none.
	// Default 1 h. What it names is taken between 10 s and 24 h.
	SyncEvery time.Duration
	// Call bounds one message to the control centre. Default 30 s.
	Call time.Duration
	// Refusals is how often in a row relays have to refuse the certificate (AUER-1104)
	// before the pairing is dissolved: a relay that is set up wrongly for a moment says
	// that to a whole fleet. One that ends a session because the device is blocked
	// (AUER-1105) is believed at once. Default 2.
	Refusals int
	// Restart is how long the PBX is away when it restarts. Default 5 s.
	Restart time.Duration
	// Install is how long the installation of firmware takes. Default 5 s.
	Install time.Duration
	// MaxFirmware bounds a firmware image, in bytes. Default 256 MiB.
	MaxFirmware int64
}

func (l *Limits) fill() {
	l.MaxBody = cmp.Or(l.MaxBody, wire.DefaultMaxBody)
	l.CompleteFor = cmp.Or(l.CompleteFor, 10*time.Minute)
	l.CompleteWait = cmp.Or(l.CompleteWait, 15*time.Second)
	l.RetryMin = cmp.Or(l.RetryMin, time.Second)
	l.RetryMax = cmp.Or(l.RetryMax, 5*time.Minute)
	l.SyncEvery = cmp.Or(l.SyncEvery, time.Hour)
	l.Call = cmp.Or(l.Call, 30*time.Second)
	l.Refusals = cmp.Or(l.Refusals, 2)
	l.Restart = cmp.Or(l.Restart, 5*time.Second)
	l.Install = cmp.Or(l.Install, 5*time.Second)
	l.MaxFirmware = cmp.Or(l.MaxFirmware, 256<<20)
}

// The bounds of the time between two syncs.
const (
	syncMin = 10 * time.Second
	syncMax = 24 * time.Hour
)

// MeasureEvery is the time between two measurements of the machine.
const MeasureEvery = 5 * time.Second

// completeRetryMax bounds the wait between two tries of a completion.
const completeRetryMax = 30 * time.Second

// cloudName is the control centre's service identity.
const cloudName = "ccc"

func (c *Config) fill() error {
	if c.Credentials == nil {
		return errors.New("pbx: no credentials")
	}
	if id := c.Credentials.ID(); id.Kind != identity.KindDevice {
		return errors.New("pbx: the certificate is for " + id.String() + ", which is not a device")
	}
	c.Model = cmp.Or(c.Model, "COMtrexx Business")
	c.Firmware = cmp.Or(c.Firmware, "1.0.0-sim")
	if c.Fault != FaultNone && !slices.Contains(Faults, c.Fault) {
		return fmt.Errorf("pbx: no fault %q", c.Fault)
	}
	c.History = cmp.Or(c.History, 30*24*time.Hour)
	c.Limits.fill()
	if c.DialTarget == nil {
		c.DialTarget = remote.Dialer{Own: c.OwnServices}.Dial
	}
	if c.Hasher == nil {
		c.Hasher = password.NewHasher(password.Cost{}, 1)
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return nil
}
