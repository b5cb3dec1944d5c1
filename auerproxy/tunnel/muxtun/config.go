package muxtun

import (
	"cmp"
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
	// AcceptBacklog is how many streams may wait for Accept. Default 64.
	AcceptBacklog int
	// StreamWindow is how many unread bytes a stream holds. It bounds the
	// throughput of a stream to one window per round trip. Default 1 MiB, at least
	// 256 KiB.
	StreamWindow uint32
	// WriteTimeout ends the session when the connection takes no byte for so long.
	// Default 30 s.
	WriteTimeout time.Duration

	// HandshakeTimeout bounds the TLS handshake of a listener's connection.
	// Default 10 s.
	HandshakeTimeout time.Duration
	// MaxHandshakes is how many handshakes a listener runs at once; further
	// connections wait in the accept queue. Default 64.
	MaxHandshakes int
	// Admit is asked for each new connection before any cryptography; while it
	// says false the listener takes no connection.
	Admit func(net.Addr) bool
	// Handoff gets connections that negotiated another protocol than the first of
	// TLS.NextProtos. Default: they are closed.
	Handoff func(*tls.Conn)

	// Logger; default: none.
	Logger hclog.Logger
}

// Defaults of [Config].
const (
	DefaultMaxIncomingStreams = 1024
	DefaultAcceptBacklog      = 64
	DefaultStreamWindow       = 1 << 20
	DefaultWriteTimeout       = 30 * time.Second
	DefaultHandshakeTimeout   = 10 * time.Second
	DefaultMaxHandshakes      = 64
)

func (c Config) withDefaults() Config {
	c.Transport = cmp.Or(c.Transport, tunnel.TCP)
	c.MaxIncomingStreams = cmp.Or(c.MaxIncomingStreams, DefaultMaxIncomingStreams)
	c.AcceptBacklog = cmp.Or(c.AcceptBacklog, DefaultAcceptBacklog)
	c.StreamWindow = cmp.Or(c.StreamWindow, DefaultStreamWindow)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, DefaultWriteTimeout)
	c.HandshakeTimeout = cmp.Or(c.HandshakeTimeout, DefaultHandshakeTimeout)
	c.MaxHandshakes = cmp.Or(c.MaxHandshakes, DefaultMaxHandshakes)
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) maxIncoming(peer identity.ID) int {
	if c.MaxIncoming != nil {
		return c.MaxIncoming(peer)
	}
	return c.MaxIncomingStreams
}
