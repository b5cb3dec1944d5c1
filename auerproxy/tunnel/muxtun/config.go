package muxtun

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Config of a session, a [Listener] and a [Dialer]. Zero values stand for the
// defaults.
type Config struct {
	// TLS is the configuration of enrol.Credentials' ServerConfig or ClientConfig,
	// with the ALPN protocols. Needed.
	TLS *tls.Config

	// Transport is what the session says it is. Default tunnel.TCP.
	Transport tunnel.Transport

	// MaxIncomingStreams is how many streams the peer may have open at once; more
	// are reset with AUER-1306. Default 1024.
	MaxIncomingStreams int
	// MaxIncoming, where set, gives the limit for one peer, in place of
	// MaxIncomingStreams.
	MaxIncoming func(peer identity.ID) int
	// StreamWindow and MaxStreamWindow bound how many unread bytes a stream holds,
	// which bounds its throughput to one window per round trip. A session takes what
	// fills a line of 800 Mbit/s over the round trip at its start: that is the
	// least up to 10 ms, and the most from 60 ms on. It is a promise to the peer, and
	// memory only where readers are slow. Default 1 MiB, at least 256 KiB, and 6 MiB;
	// StreamWindow alone stands for both.
	StreamWindow, MaxStreamWindow uint32
	// Congestion is the congestion control of TCP connections, e.g. "bbr", one of those
	// that the kernel offers to this user (net.ipv4.tcp_allowed_congestion_control; root
	// may use all). Where it is refused the logger is told. Default: the system's.
	Congestion string
	// WriteTimeout ends the session when the connection does not take one write of
	// up to 64 KiB for so long, at least three quarters of it. Until then Read and
	// Write of its streams may outlive their deadlines. Default 30 s.
	WriteTimeout time.Duration

	// HandshakeTimeout bounds the handshake of a listener's connection. Default
	// 10 s.
	HandshakeTimeout time.Duration
	// MaxHandshakes is how many handshakes a listener runs at once. Further
	// connections wait for their turn, at most for HandshakeTimeout, and once they
	// are 16 times as many in the kernel's accept queue. Default 256.
	MaxHandshakes int
	// MaxHandshakesPerSource is how many of them one IPv4 address, or one IPv6 /64,
	// has at once; its further connections wait, and are closed beyond four times
	// MaxHandshakes. Default: a quarter of MaxHandshakes. Negative: no limit.
	MaxHandshakesPerSource int
	// Admit is asked for each new connection before any cryptography; while it
	// says false the listener takes no connection. So it must judge the load, and
	// not the address.
	Admit func(net.Addr) bool
	// Refused is told about each connection that a listener closed before the end
	// of its handshake, with a word for counting: "source_limit", "busy" (no turn
	// in time), "handshake" or "protocol" (an ALPN protocol that nobody serves). May
	// be nil.
	Refused func(from net.Addr, reason string)
	// Other gets connections whose first byte is not that of TLS, with that byte,
	// before any cryptography. It may block until ctx ends, after HandshakeTimeout,
	// and counts as a connection on the way to its handshake meanwhile. The
	// connection is its own. Default: they fail as handshakes do.
	Other func(ctx context.Context, conn net.Conn, first byte)
	// Handoff gets connections that negotiated another protocol than the first of
	// TLS.NextProtos. It may block. Default: they are closed.
	Handoff func(*tls.Conn)

	// Logger; default: none.
	Logger hclog.Logger
}

// Defaults of [Config].
const (
	DefaultMaxIncomingStreams = 1024
	DefaultStreamWindow       = 1 << 20
	DefaultMaxStreamWindow    = 6 << 20
	DefaultWriteTimeout       = 30 * time.Second
	DefaultHandshakeTimeout   = 10 * time.Second
	DefaultMaxHandshakes      = 256
)

// minStreamWindow is what yamux starts each stream with.
const minStreamWindow = 256 << 10

func (c Config) withDefaults() Config {
	c.Transport = cmp.Or(c.Transport, tunnel.TCP)
	c.MaxIncomingStreams = cmp.Or(c.MaxIncomingStreams, DefaultMaxIncomingStreams)
	c.MaxStreamWindow = cmp.Or(c.MaxStreamWindow, c.StreamWindow, DefaultMaxStreamWindow)
	c.StreamWindow = max(cmp.Or(c.StreamWindow, DefaultStreamWindow), minStreamWindow)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, DefaultWriteTimeout)
	c.HandshakeTimeout = cmp.Or(c.HandshakeTimeout, DefaultHandshakeTimeout)
	c.MaxHandshakes = cmp.Or(c.MaxHandshakes, DefaultMaxHandshakes)
	c.MaxHandshakesPerSource = cmp.Or(c.MaxHandshakesPerSource, max(1, c.MaxHandshakes/4))
	if c.Refused == nil {
		c.Refused = func(net.Addr, string) {}
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// fastLine is the rate, in bytes per second, that one stream should reach.
const fastLine = 100 << 20

// window is what a stream may hold where a round trip takes so long.
func (c Config) window(roundTrip time.Duration) uint32 {
	full := min(roundTrip.Seconds()*fastLine, float64(c.MaxStreamWindow))
	return max(uint32(full), c.StreamWindow)
}

// tune sets the options of a TCP connection.
func (c Config) tune(conn net.Conn) {
	if err := tuneTCP(conn, c.Congestion); err != nil && c.Logger != nil {
		c.Logger.Warn("the connection keeps the system's congestion control", "error", err)
	}
}

func (c Config) maxIncoming(peer identity.ID) int {
	if c.MaxIncoming != nil {
		return c.MaxIncoming(peer)
	}
	return c.MaxIncomingStreams
}
