package relay

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/registry"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Config is everything that a relay can be told. Fields with a yaml key are the
// `relay:` section of the program's file; the others come from the program.
type Config struct {
	// Listen is the address of both listeners, QUIC on UDP and TLS on TCP, on one
	// port number. Port 0 takes a free one. Default ":7844".
	Listen string `yaml:"listen"`

	// StateDir keeps the stateless-reset key and the session records. Empty: the
	// key lives as long as the process and no record is kept.
	StateDir string `yaml:"state_dir"`

	// TicketSecretFile holds a secret of at least 32 bytes, from which the keys of
	// TLS session tickets are made, a new one every 12 hours. Devices then resume,
	// which spares most of the cryptography of a reconnect, with every relay that has
	// the same secret; checks and blocks hold for them as for all. Who has the secret
	// can pass for any device, so guard it as a private key. Empty: no tickets.
	TicketSecretFile configs.SecretFile `yaml:"ticket_secret_file"`

	// TCPCongestion is the congestion control of TCP connections, on Linux: one of
	// net.ipv4.tcp_allowed_congestion_control. "bbr" keeps its rate on lines that lose
	// packets. It is about what the relay sends; agents have a key of their own.
	// Default: the system's.
	TCPCongestion string `yaml:"tcp_congestion"`

	// Heartbeat is how often a device sends a heartbeat. A session that is silent
	// for two and a quarter of these is dead. Default 20 s, 1 s to 5 min.
	Heartbeat time.Duration `yaml:"heartbeat"`

	// Ports maps the port of a CONNECT request to a service on the device.
	// Default 443 to web and 22 to ssh, the latter raw.
	Ports map[int]Port `yaml:"ports"`

	// Policy says who may open what. Nothing is allowed that no rule allows.
	Policy []Rule `yaml:"policy"`

	// Entries are plain TCP addresses, each of which leads to one service of one
	// device. Default: none.
	Entries []Entry `yaml:"entries"`

	// Services are addresses, host:port, of services of the data centre that have no
	// tunnel to the relay, by name: it dials them for raw streams that a rule allows.
	// So a device reaches the PKI ("pki") through its tunnel. Default: none.
	Services map[string]string `yaml:"services"`

	// Tenants bound the bytes per second of groups of devices.
	Tenants []Tenant `yaml:"tenants"`

	Limits   Limits   `yaml:"limits"`
	Presence Presence `yaml:"presence"`
	Records  Records  `yaml:"records"`
	Drain    Drain    `yaml:"drain"`

	// DisableQUIC and DisableTCP switch one transport off, e.g. for a test.
	DisableQUIC bool `yaml:"disable_quic"`
	DisableTCP  bool `yaml:"disable_tcp"`
	// DisableGRO keeps the kernel from joining QUIC datagrams that arrive, where its
	// way of doing so is defective. Default: joined, after a self-test.
	DisableGRO bool `yaml:"disable_gro"`
	// DisableBulk makes no data connections: bulk calls run in the tunnel.
	DisableBulk bool `yaml:"disable_bulk"`

	// Credentials are the relay's certificate, of kind relay, and the trust bundle.
	Credentials *enrol.Credentials `yaml:"-"`
	// Names are further names of the relay, for HTTP CONNECT. Default: none.
	Names Names `yaml:"-"`
	// Registry keeps the routes. Default: a map in this process.
	Registry registry.Registry `yaml:"-"`
	// Logger; default: none.
	Logger hclog.Logger `yaml:"-"`
	// Metrics gets the relay's collectors. Default: none.
	Metrics prometheus.Registerer `yaml:"-"`
	// AccessLog notes the address of every session, refused ones and those whose
	// handshake failed too, of every request to the HTTP front, and of every connection
	// to an entry. No other log holds one. Default: none.
	AccessLog *accesslog.Log `yaml:"-"`
}

// Port is what a port of a CONNECT request stands for.
type Port struct {
	Service string `yaml:"service"`
	// Raw: the client speaks the service's own protocol, without TLS to the
	// device. The policy and the device must allow it too.
	Raw bool `yaml:"raw"`
}

// Limits bound what one peer, and all of them together, can cost.
type Limits struct {
	// Tunnels is how many sessions the relay holds. More are refused with
	// AUER-1203. Default 150000.
	Tunnels int `yaml:"tunnels"`
	// Memory is the most memory the process may use before new sessions are
	// refused with AUER-1203. 0: no bound.
	Memory configs.Bytes `yaml:"memory"`

	// HandshakesPerSecond and HandshakeBurst admit new connections, before any
	// cryptography: over UDP a client beyond it first proves its address (Retry),
	// over TCP it waits in the accept queue. Default 2000 and 2000.
	HandshakesPerSecond float64 `yaml:"handshakes_per_second"`
	HandshakeBurst      int     `yaml:"handshake_burst"`
	// RushHandshakes is from how many handshakes a second on the process runs with
	// four times as many threads (GOMAXPROCS, which wins where the environment has it) as
	// there are processors while there are calls, so that they do not wait for handshakes that
	// compute. -1: never. Default 100.
	RushHandshakes float64 `yaml:"rush_handshakes"`
	// Handshakes is how many TLS handshakes run at once. Default 64.
	Handshakes int `yaml:"handshakes"`
	// HandshakeTimeout bounds the transport handshake, and then again the hello.
	// Default 10 s.
	HandshakeTimeout time.Duration `yaml:"handshake_timeout"`

	// StreamsPerDevice is how many streams may be open to one device session.
	// Default 256.
	StreamsPerDevice int `yaml:"streams_per_device"`
	// StreamsFromDevice and StreamsFromService are how many streams one session
	// may have open towards the relay. Default 16 and 16384.
	StreamsFromDevice  int `yaml:"streams_from_device"`
	StreamsFromService int `yaml:"streams_from_service"`
	// SessionMemory is how many bytes the peer of one QUIC session can make the
	// relay keep for readers that do not read. Below the sum of what the streams
	// may hold, such readers, until slow_reader ends them, can stop the session's
	// other streams. Over TCP it bounds the windows of a device's streams on far
	// lines instead, each of which keeps 1 MiB. At least 16 MiB. Default 1 GiB.
	SessionMemory configs.Bytes `yaml:"session_memory"`
	// OpensPerSecond and OpenBurst pace the streams that a device opens; a
	// service may open a hundred times as many. Default 20 and 40.
	OpensPerSecond float64 `yaml:"opens_per_second"`
	OpenBurst      int     `yaml:"open_burst"`
	// PreambleTimeout bounds the time to a stream's whole preamble. Default 5 s.
	PreambleTimeout time.Duration `yaml:"preamble_timeout"`
	// OpenTimeout bounds the wait for the device's open-ack. Default 10 s.
	OpenTimeout time.Duration `yaml:"open_timeout"`

	// StreamIdle ends a stream that carried no byte for so long. Default 15 min.
	StreamIdle time.Duration `yaml:"stream_idle"`
	// SlowReader ends a stream whose reader took no byte for so long. Default 60 s.
	SlowReader time.Duration `yaml:"slow_reader"`
	// BytesPerSecond bounds each direction of all streams of one device together.
	// 0: no bound.
	BytesPerSecond configs.Bytes `yaml:"bytes_per_second"`
}

// Presence is how services that a rule lets watch the relay (target "relay", service
// "presence") are told which devices are connected.
type Presence struct {
	// Watchers is how many streams may watch at once; more are refused with
	// AUER-1306. Default 16.
	Watchers int `yaml:"watchers"`
	// Queue is how many changes may wait for one watcher that does not read. With one
	// more it is cut with AUER-1402, and has to begin anew. Default 65536.
	Queue int `yaml:"queue"`
	// Batch is how long changes are gathered, so that they share a message. Default
	// 5 ms, at most 10 s.
	Batch time.Duration `yaml:"batch"`
	// Refresh is how often round-trip times that have changed by an eighth and a
	// millisecond are told. Default 1 min, at least 1 s.
	Refresh time.Duration `yaml:"refresh"`
}

// Tenant is a group of devices with a common bound.
type Tenant struct {
	// Name is for people.
	Name string `yaml:"name"`
	// Serials are the devices: whole serials, or a prefix followed by '*'.
	Serials []string `yaml:"serials"`
	// BytesPerSecond bounds each direction of all streams of the group together.
	BytesPerSecond configs.Bytes `yaml:"bytes_per_second"`
}

// Records are the session records: one line per tunnel and per stream with
// serial, service, caller, start, end, bytes and reason; never payload, never an
// address.
type Records struct {
	// Retention is how long a day's records are kept. Default 14 days; -1s keeps
	// none at all.
	Retention time.Duration `yaml:"retention"`
	// Queue is how many records may wait for the disk; more are dropped and
	// counted. Default 4096.
	Queue int `yaml:"queue"`
}

// Drain says how the relay is emptied.
type Drain struct {
	// Deadline is how long streams may go on after the start of a drain. Default
	// 60 s.
	Deadline time.Duration `yaml:"deadline"`
	// PerSecond is how many sessions are told to leave per second. Default 500.
	PerSecond int `yaml:"per_second"`
}

// minSessionMemory leaves one stream its largest window.
const minSessionMemory = 16 << 20

// streamWindow is what a stream over TCP may hold, so that all that a device has
// open hold no more than SessionMemory.
func (l Limits) streamWindow() uint32 {
	streams := int64(max(l.StreamsPerDevice+l.StreamsFromDevice, 1))
	return uint32(min(int64(l.SessionMemory)/streams, muxtun.DefaultMaxStreamWindow)) //nolint:gosec // bounded in the same line
}

// DefaultConfig is what an empty file means.
func DefaultConfig() Config {
	return Config{
		Listen:    ":7844",
		Heartbeat: 20 * time.Second,
		Ports:     map[int]Port{443: {Service: "web"}, 22: {Service: "ssh", Raw: true}},
		Limits: Limits{
			Tunnels:             150_000,
			HandshakesPerSecond: 2000,
			HandshakeBurst:      2000,
			RushHandshakes:      100,
			Handshakes:          64,
			HandshakeTimeout:    10 * time.Second,
			StreamsPerDevice:    256,
			StreamsFromDevice:   16,
			StreamsFromService:  16_384,
			SessionMemory:       1 << 30,
			OpensPerSecond:      20,
			OpenBurst:           40,
			PreambleTimeout:     5 * time.Second,
			OpenTimeout:         10 * time.Second,
			StreamIdle:          15 * time.Minute,
			SlowReader:          time.Minute,
		},
		Presence: Presence{Watchers: 16, Queue: 65_536, Batch: 5 * time.Millisecond, Refresh: time.Minute},
		Records:  Records{Retention: 14 * 24 * time.Hour, Queue: 4096},
		Drain:    Drain{Deadline: time.Minute, PerSecond: 500},
	}
}

// Clone copies the configuration deeply enough that neither copy sees changes of
// the other's maps and slices.
func (c Config) Clone() Config {
	c.Ports = maps.Clone(c.Ports)
	c.Policy = slices.Clone(c.Policy)
	c.Entries = slices.Clone(c.Entries)
	c.Services = maps.Clone(c.Services)
	c.Tenants = slices.Clone(c.Tenants)
	return c
}

// fill replaces zero values by their defaults.
func (c *Config) fill() {
	d := DefaultConfig()
	c.Listen = cmp.Or(c.Listen, d.Listen)
	c.Heartbeat = cmp.Or(c.Heartbeat, d.Heartbeat)
	if c.Ports == nil {
		c.Ports = d.Ports
	}
	l, dl := &c.Limits, d.Limits
	l.Tunnels = cmp.Or(l.Tunnels, dl.Tunnels)
	l.HandshakesPerSecond = cmp.Or(l.HandshakesPerSecond, dl.HandshakesPerSecond)
	l.HandshakeBurst = cmp.Or(l.HandshakeBurst, dl.HandshakeBurst)
	l.RushHandshakes = cmp.Or(l.RushHandshakes, dl.RushHandshakes)
	l.Handshakes = cmp.Or(l.Handshakes, dl.Handshakes)
	l.HandshakeTimeout = cmp.Or(l.HandshakeTimeout, dl.HandshakeTimeout)
	l.StreamsPerDevice = cmp.Or(l.StreamsPerDevice, dl.StreamsPerDevice)
	l.StreamsFromDevice = cmp.Or(l.StreamsFromDevice, dl.StreamsFromDevice)
	l.StreamsFromService = cmp.Or(l.StreamsFromService, dl.StreamsFromService)
	l.SessionMemory = cmp.Or(l.SessionMemory, dl.SessionMemory)
	l.OpensPerSecond = cmp.Or(l.OpensPerSecond, dl.OpensPerSecond)
	l.OpenBurst = cmp.Or(l.OpenBurst, dl.OpenBurst)
	l.PreambleTimeout = cmp.Or(l.PreambleTimeout, dl.PreambleTimeout)
	l.OpenTimeout = cmp.Or(l.OpenTimeout, dl.OpenTimeout)
	l.StreamIdle = cmp.Or(l.StreamIdle, dl.StreamIdle)
	l.SlowReader = cmp.Or(l.SlowReader, dl.SlowReader)
	p, dp := &c.Presence, d.Presence
	p.Watchers = cmp.Or(p.Watchers, dp.Watchers)
	p.Queue = cmp.Or(p.Queue, dp.Queue)
	p.Batch = cmp.Or(p.Batch, dp.Batch)
	p.Refresh = cmp.Or(p.Refresh, dp.Refresh)
	c.Records.Retention = cmp.Or(c.Records.Retention, d.Records.Retention)
	c.Records.Queue = cmp.Or(c.Records.Queue, d.Records.Queue)
	c.Drain.Deadline = cmp.Or(c.Drain.Deadline, d.Drain.Deadline)
	c.Drain.PerSecond = cmp.Or(c.Drain.PerSecond, d.Drain.PerSecond)
	if c.Registry == nil {
		c.Registry = registry.NewLocal()
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
}

// Validate checks every value that the file can set and reports all problems at
// once, as configs.KeyError with the key relative to the section.
func (c Config) Validate() error {
	var errs configs.Errors
	bad := func(key, format string, args ...any) {
		errs = append(errs, &configs.KeyError{Key: key, Problem: fmt.Sprintf(format, args...)})
	}
	if c.Heartbeat != 0 && (c.Heartbeat < time.Second || c.Heartbeat > 5*time.Minute) {
		bad("heartbeat", "%s is out of range, want 1s to 5m", c.Heartbeat)
	}
	if c.DisableQUIC && c.DisableTCP {
		bad("disable_tcp", "both transports are switched off")
	}
	if b := c.Presence.Batch; b < 0 || b > 10*time.Second {
		bad("presence.batch", "%s is out of range, want up to 10s", b)
	}
	if r := c.Presence.Refresh; r != 0 && r < time.Second {
		bad("presence.refresh", "%s, want at least 1s", r)
	}
	if m := c.Limits.SessionMemory; m != 0 && m < minSessionMemory {
		bad("limits.session_memory", "%d bytes, want at least %d", m, minSessionMemory)
	}
	for port, service := range c.Ports {
		if port < 1 || port > 65535 || service.Service == "" {
			bad("ports", "%d: %q, want a port from 1 to 65535 and the name of a service", port, service.Service)
		}
	}
	for i, r := range c.Policy {
		if err := r.validate(); err != nil {
			bad(fmt.Sprintf("policy[%d]", i), "%v", err)
		}
	}
	errs = append(errs, validateEntries(c.Entries)...)
	errs = append(errs, validateForwards(c.Services)...)
	for i, t := range c.Tenants {
		if patterns(t.Serials).validate() != nil || len(t.Serials) == 0 || t.BytesPerSecond <= 0 {
			bad(fmt.Sprintf("tenants[%d]", i), "want serials (or prefixes ending in '*') and bytes_per_second above 0")
		}
	}
	for key, v := range map[string]int{
		"limits.tunnels": c.Limits.Tunnels, "limits.handshake_burst": c.Limits.HandshakeBurst,
		"limits.handshakes": c.Limits.Handshakes, "limits.streams_per_device": c.Limits.StreamsPerDevice,
		"limits.streams_from_device": c.Limits.StreamsFromDevice, "limits.streams_from_service": c.Limits.StreamsFromService,
		"limits.open_burst": c.Limits.OpenBurst, "records.queue": c.Records.Queue, "drain.per_second": c.Drain.PerSecond,
		"presence.watchers": c.Presence.Watchers, "presence.queue": c.Presence.Queue,
	} {
		if v < 0 {
			bad(key, "%d is negative", v)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// checkRuntime checks what only the program can give.
func (c Config) checkRuntime() error {
	if c.Credentials == nil {
		return fmt.Errorf("relay: no credentials")
	}
	if id := c.Credentials.ID(); id.Kind != identity.KindRelay {
		return fmt.Errorf("relay: the certificate names %s, want a relay", id)
	}
	return nil
}
