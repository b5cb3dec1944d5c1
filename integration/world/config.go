package world

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Kind says how the parts of a world run.
type Kind string

// The kinds.
const (
	// InProcess: in goroutines of this process. A relay cannot be killed then
	// without its sessions being told; see [World.KillRelay].
	InProcess Kind = "in-process"
	// Processes: as processes of the real programs.
	Processes Kind = "processes"
)

// Config of a world. Dir is needed, and Bin for [Processes].
type Config struct {
	// Dir keeps all state; see the package doc. It is made if need be.
	Dir string
	// Kind of the world. Default InProcess.
	Kind Kind
	// Bin is the directory with the programs pki, auerproxy and auer-agent, ccc where
	// there is a control centre, ara where there is a gateway, and pbx where devices are
	// PBXs.
	Bin string
	// TrustDomain; default comtrexx.test.
	TrustDomain identity.TrustDomain

	// Relays is how many relays run, each with its own registry. Default 1.
	Relays int
	// Devices are the devices. Empty: DeviceCount of them, with the serials
	// 0100000001 and on.
	Devices     []DeviceConfig
	DeviceCount int

	// Centre runs the control centre, which brings names with it; see [World.Centre].
	Centre bool
	// CentreSet are further keys of its file, as in "pairing.offers_per_hour=1000".
	CentreSet []string
	// CentrePages are the files of its pages, with [InProcess]. Nil: those in the program.
	CentrePages fs.FS
	// Gateway runs the gateway for remote access, which brings names with it; see
	// [World.Gateway].
	Gateway bool
	// PBX makes all devices PBXs; see [DeviceConfig].
	PBX bool

	// Names lets the relays get certificates for names by which stock HTTP clients
	// find them, from the PKI's ACME server; see [World.RelayName].
	Names bool

	// Heartbeat of the relays. Default 1 s.
	Heartbeat time.Duration
	// Policy of the relays. Nil: every service may open every service of every
	// device, raw too, and every device those of the service ccc.
	Policy []relay.Rule
	// DrainDeadline is how long a drain may take. Default 2 s.
	DrainDeadline time.Duration
	// Timing of the devices. Zero fields have the agent's defaults, except that
	// the back-off ends at 1 s and the long one at 5 s.
	Timing agent.Timing

	// LogLevel is that of the programs, with [Processes]. Default: info.
	LogLevel string
	// Logger gets what happens in the world and, with InProcess, in its parts.
	// Default: none.
	Logger hclog.Logger
	// OnEnd, where set, is called when a part ends that was not told to, with its
	// name, e.g. "relay-1". It may be called from any goroutine and must not block.
	OnEnd func(part string, err error)
}

// DeviceConfig is one device.
type DeviceConfig struct {
	// Serial is needed.
	Serial identity.Serial
	// PBX makes it a PBX, of package pbx, instead of an agent with a few services: it
	// has pages for its administrator, see [World.PBX].
	PBX bool
	// Fault has maintenance of a PBX go wrong. Default: it does not.
	Fault pbx.Fault
	// Transport is auto (default), quic or tcp.
	Transport string
	// Slots is how many tunnels the device holds. Default 1.
	Slots int
	// Web answers the requests to the service web. Default: package facts.
	Web http.Handler
	// SSH is the target of the service ssh, host:port. Default: the echo server.
	SSH string
	// Services are offered beside web, echo and ssh; each needs a target.
	Services []agent.Service
}

// firstSerial is the serial of the first device where none is configured.
const firstSerial = 100_000_001

// ports are what CONNECT callers can name.
func ports() map[int]relay.Port {
	return map[int]relay.Port{443: {Service: "web"}, 22: {Service: "ssh", Raw: true}, 7: {Service: "echo"}}
}

// openPolicy lets every service call every device.
func openPolicy() []relay.Rule {
	return []relay.Rule{
		{Caller: "service/*", Target: "device", Services: []string{"*"}, Raw: true},
		{Caller: "device", Target: "service/ccc", Services: []string{"*"}},
		{Caller: "service/ccc", Target: "relay", Services: []string{"presence"}},
	}
}

// withDefaults gives a copy in which what was left out is filled in. Dir becomes
// absolute, because the programs' files name it.
func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("world: Dir is needed")
	}
	var err error
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return c, fmt.Errorf("world: %w", err)
	}
	c.Kind = cmp.Or(c.Kind, InProcess)
	c.TrustDomain = cmp.Or(c.TrustDomain, identity.DefaultTrustDomain)
	c.Relays = cmp.Or(c.Relays, 1)
	c.Heartbeat = cmp.Or(c.Heartbeat, time.Second)
	c.DrainDeadline = cmp.Or(c.DrainDeadline, 2*time.Second)
	c.Names = c.Names || c.Centre || c.Gateway
	c.LogLevel = cmp.Or(c.LogLevel, "info")
	c.Timing.BackoffCap = cmp.Or(c.Timing.BackoffCap, time.Second)
	c.Timing.LongBackoff = cmp.Or(c.Timing.LongBackoff, 5*time.Second)
	if c.Policy == nil {
		c.Policy = openPolicy()
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if len(c.Devices) == 0 {
		for i := range c.DeviceCount {
			c.Devices = append(c.Devices, DeviceConfig{Serial: identity.Serial(fmt.Sprintf("%010d", firstSerial+i))})
		}
	}
	c.Devices = slices.Clone(c.Devices)
	for i := range c.Devices {
		c.Devices[i].PBX = c.Devices[i].PBX || c.PBX
	}
	return c, c.validate()
}

// maxSocket is the longest path of a unix socket (sun_path has 108 bytes on Linux,
// 104 elsewhere, with the zero at the end).
const maxSocket = 103

func (c Config) validate() error {
	switch {
	case c.Kind != InProcess && c.Kind != Processes:
		return fmt.Errorf("world: kind %q, want %s or %s", c.Kind, InProcess, Processes)
	case c.Kind == Processes && c.Bin == "":
		return errors.New("world: Bin is needed to start programs")
	case c.Relays < 1:
		return fmt.Errorf("world: %d relays, want at least one", c.Relays)
	}
	seen := make(map[identity.Serial]bool)
	for _, d := range c.Devices {
		if _, err := identity.ParseSerial(string(d.Serial)); err != nil {
			return fmt.Errorf("world: %w", err)
		}
		if seen[d.Serial] {
			return fmt.Errorf("world: device %s is there twice", d.Serial)
		}
		seen[d.Serial] = true
	}
	longest := filepath.Join(c.Dir, deviceDir("0000000000"), "status.sock")
	if len(longest) > maxSocket {
		return fmt.Errorf("world: Dir %s is too long for unix sockets: %s has %d bytes, want at most %d", c.Dir, longest, len(longest), maxSocket)
	}
	return nil
}

func relayDir(i int) string                   { return fmt.Sprintf("relay-%d", i+1) }
func deviceDir(serial identity.Serial) string { return "device-" + string(serial) }
