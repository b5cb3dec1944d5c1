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

	// StreamWindow is how many unread bytes a stream holds at first, and
	// MaxStreamWindow how many once it is fast. Default 512 KiB and 6 MiB.
	StreamWindow, MaxStreamWindow uint64
	// MaxConnectionWindow bounds the unread bytes of all streams together. It must
	// not be used up by a few streams that nobody reads, or the others stall.
	// Default: 64 times MaxStreamWindow.
	MaxConnectionWindow uint64

	// MaxIdleTimeout ends a session that received nothing for so long. Default
	// 45 s. There is no keep-alive: heartbeats on the control stream do that.
	MaxIdleTimeout time.Duration
	// HandshakeIdleTimeout ends a handshake that received nothing for so long, and
	// one that takes twice as long in all. Default 5 s.
	HandshakeIdleTimeout time.Duration
	// MaxHandshakes is how many handshakes a listener runs at once; more are
	// refused. Default 256.
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

	// Logger; default: none.
	Logger hclog.Logger
}

// Defaults of [Config].
const (
	DefaultMaxIncomingStreams   = 1024
	DefaultStreamWindow         = 512 << 10
	DefaultMaxStreamWindow      = 6 << 20
	DefaultMaxIdleTimeout       = 45 * time.Second
	DefaultHandshakeIdleTimeout = 5 * time.Second
	DefaultMaxHandshakes        = 256
	DefaultInitialPacketSize    = 1200
)

func (c Config) withDefaults() Config {
	c.MaxIncomingStreams = cmp.Or(c.MaxIncomingStreams, DefaultMaxIncomingStreams)
	c.StreamWindow = cmp.Or(c.StreamWindow, DefaultStreamWindow)
	c.MaxStreamWindow = cmp.Or(c.MaxStreamWindow, max(DefaultMaxStreamWindow, c.StreamWindow))
	c.MaxConnectionWindow = cmp.Or(c.MaxConnectionWindow, 64*c.MaxStreamWindow)
	c.MaxIdleTimeout = cmp.Or(c.MaxIdleTimeout, DefaultMaxIdleTimeout)
	c.HandshakeIdleTimeout = cmp.Or(c.HandshakeIdleTimeout, DefaultHandshakeIdleTimeout)
	c.MaxHandshakes = cmp.Or(c.MaxHandshakes, DefaultMaxHandshakes)
	c.InitialPacketSize = cmp.Or(c.InitialPacketSize, DefaultInitialPacketSize)
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) quic() *quic.Config {
	return &quic.Config{
		MaxIncomingStreams:             c.MaxIncomingStreams,
		MaxIncomingUniStreams:          -1,
		InitialStreamReceiveWindow:     c.StreamWindow,
		MaxStreamReceiveWindow:         c.MaxStreamWindow,
		InitialConnectionReceiveWindow: 4 * c.StreamWindow,
		MaxConnectionReceiveWindow:     c.MaxConnectionWindow,
		MaxIdleTimeout:                 c.MaxIdleTimeout,
		HandshakeIdleTimeout:           c.HandshakeIdleTimeout,
		InitialPacketSize:              c.InitialPacketSize,
		DisablePathMTUDiscovery:        c.DisablePathMTUDiscovery,
	}
}
