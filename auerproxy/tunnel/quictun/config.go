package quictun

import (
	"cmp"
	"crypto/tls"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/quic-go/quic-go"
)

// Config of a [Listener] and a [Dialer]. Zero values stand for the defaults.
type Config struct {
	// TLS is the configuration of enrol.Credentials' ServerConfig or ClientConfig,
	// with the ALPN protocol. Needed.
	TLS *tls.Config

	// MaxIncomingStreams is how many streams the peer may have open at once; more
	// make it wait. Default 1024.
	MaxIncomingStreams int64

	// MaxOpenStreams is how many streams this side has open at once: until one of
	// them is closed or reset, Open waits. What the peer sends in them counts
	// against ConnectionWindow as well. Default 16,384.
	MaxOpenStreams int64

	// StreamWindow is how many unread bytes a stream holds at first, and
	// MaxStreamWindow how many once it is fast. Default 512 KiB and 6 MiB.
	StreamWindow, MaxStreamWindow uint64
	// ConnectionWindow bounds the unread bytes of all streams together, from the
	// start. Streams that nobody reads must not use it up, or all others of the
	// session stall until they are gone. It is a promise to the peer, and memory
	// only where readers are slow.
	// Default: MaxIncomingStreams and MaxOpenStreams times MaxStreamWindow, which
	// no number of unread streams uses up.
	ConnectionWindow uint64

	// MaxIdleTimeout ends a session that received nothing for so long. Default
	// 45 s. There is no keep-alive: heartbeats on the control stream do that.
	MaxIdleTimeout time.Duration
	// HandshakeIdleTimeout ends a handshake that received nothing for so long, and
	// one that takes twice as long in all. Default 5 s.
	HandshakeIdleTimeout time.Duration
	// MaxHandshakes is how many handshakes a listener runs at once; more are
	// refused, and the client's error is AUER-1203. Default 256.
	MaxHandshakes int

	// InitialPacketSize is the size of UDP payloads until path MTU discovery has
	// found more. Default 1200, which passes everywhere (RFC 9000 §14).
	InitialPacketSize uint16
	// DisablePathMTUDiscovery keeps InitialPacketSize.
	DisablePathMTUDiscovery bool

	// StatelessResetKey lets a restarted listener tell peers of its predecessor
	// that their session is gone (RFC 9000 §10.3). Keep it across restarts.
	StatelessResetKey *[32]byte

	// Admit is asked for each new connection before any cryptography; false makes
	// the client prove its address first (Retry, RFC 9000 §8.1.2).
	Admit func(net.Addr) bool

	// Refused is told about each connection that a listener refused, with a word
	// for counting: "busy" (MaxHandshakes) or "handshake" (a certificate without an
	// identity; QUIC itself refuses the others). May be nil.
	Refused func(from net.Addr, reason string)

	// ReceiveBuffer is the size of a listener's socket buffer that is asked for, in
	// bytes. Default 8 MiB. See Listener.ReceiveBuffer.
	ReceiveBuffer int

	// DisableGRO keeps the kernel from joining datagrams that arrive (UDP_GRO),
	// which saves a quarter of the processor time of bulk transfers. It is not used
	// anyway where it does not work, and on a Dialer's own Transport.
	DisableGRO bool

	// Logger; default: none.
	Logger hclog.Logger
}

// Defaults of [Config].
const (
	DefaultMaxIncomingStreams   = 1024
	DefaultMaxOpenStreams       = 16 << 10
	DefaultStreamWindow         = 512 << 10
	DefaultMaxStreamWindow      = 6 << 20
	DefaultMaxIdleTimeout       = 45 * time.Second
	DefaultHandshakeIdleTimeout = 5 * time.Second
	DefaultMaxHandshakes        = 256
	DefaultInitialPacketSize    = 1200
	DefaultReceiveBuffer        = 8 << 20
)

func (c Config) withDefaults() Config {
	c.MaxIncomingStreams = cmp.Or(c.MaxIncomingStreams, DefaultMaxIncomingStreams)
	c.MaxOpenStreams = cmp.Or(c.MaxOpenStreams, DefaultMaxOpenStreams)
	c.StreamWindow = cmp.Or(c.StreamWindow, DefaultStreamWindow)
	c.MaxStreamWindow = max(cmp.Or(c.MaxStreamWindow, DefaultMaxStreamWindow), c.StreamWindow)
	streams := uint64(max(c.MaxIncomingStreams, 0) + max(c.MaxOpenStreams, 0)) //nolint:gosec // not negative
	c.ConnectionWindow = cmp.Or(c.ConnectionWindow, streams*c.MaxStreamWindow)
	c.MaxIdleTimeout = cmp.Or(c.MaxIdleTimeout, DefaultMaxIdleTimeout)
	c.HandshakeIdleTimeout = cmp.Or(c.HandshakeIdleTimeout, DefaultHandshakeIdleTimeout)
	c.MaxHandshakes = cmp.Or(c.MaxHandshakes, DefaultMaxHandshakes)
	c.InitialPacketSize = cmp.Or(c.InitialPacketSize, DefaultInitialPacketSize)
	c.ReceiveBuffer = cmp.Or(c.ReceiveBuffer, DefaultReceiveBuffer)
	if c.Refused == nil {
		c.Refused = func(net.Addr, string) {}
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) quic() *quic.Config {
	return &quic.Config{
		MaxIncomingStreams:         c.MaxIncomingStreams,
		MaxIncomingUniStreams:      -1,
		InitialStreamReceiveWindow: c.StreamWindow,
		MaxStreamReceiveWindow:     c.MaxStreamWindow,
		// quic-go lets it grow with the window of a single stream only: many slow
		// streams would never make it grow.
		InitialConnectionReceiveWindow: c.ConnectionWindow,
		MaxConnectionReceiveWindow:     c.ConnectionWindow,
		MaxIdleTimeout:                 c.MaxIdleTimeout,
		HandshakeIdleTimeout:           c.HandshakeIdleTimeout,
		InitialPacketSize:              c.InitialPacketSize,
		DisablePathMTUDiscovery:        c.DisablePathMTUDiscovery,
	}
}
