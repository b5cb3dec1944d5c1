package gateway

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/netutil"
)

// Limits of the protocols that nobody has a reason to change.
const (
	idleConnection = 2 * time.Minute
	maxStreams     = 250
	// window is how much of a body may be on its way to the gateway: a long upload is as
	// fast as one window in a round trip.
	window = 4 << 20
)

// HTTPServer serves HTTP/1.1 and HTTP/2 with the TLS configuration, which has to offer
// "h2" and "http/1.1". Use it with ServeTLS on a listener of [Gateway.Limit].
func (g *Gateway) HTTPServer(cfg *tls.Config) *http.Server {
	return &http.Server{
		Handler:           g,
		TLSConfig:         cfg,
		ReadHeaderTimeout: g.cfg.Timing.Header,
		IdleTimeout:       idleConnection,
		MaxHeaderBytes:    int(g.cfg.Limits.HeaderBytes),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, SendPingTimeout: time.Minute, WriteByteTimeout: time.Minute,
			MaxReceiveBufferPerConnection: 2 * window, MaxReceiveBufferPerStream: window,
		},
		ErrorLog: hclog.NewNullLogger().StandardLogger(nil), // it would get addresses
	}
}

// HTTP3Server serves HTTP/3, and has every other answer tell of it. Use it with Serve.
func (g *Gateway) HTTP3Server(cfg *tls.Config) *http3.Server {
	g.altSvc.Store(&[]string{fmt.Sprintf(`h3=":%d"; ma=86400`, g.cfg.PublicPort)})
	return &http3.Server{
		Handler:        g,
		TLSConfig:      http3.ConfigureTLSConfig(cfg),
		MaxHeaderBytes: int(g.cfg.Limits.HeaderBytes),
		IdleTimeout:    idleConnection,
		QUICConfig: &quic.Config{
			HandshakeIdleTimeout: g.cfg.Timing.Header, MaxIdleTimeout: time.Minute,
			MaxIncomingStreams: maxStreams, MaxIncomingUniStreams: 8,
			MaxStreamReceiveWindow: window, MaxConnectionReceiveWindow: 2 * window,
			Allow0RTT: false, // a request could be repeated by whoever has seen it
		},
		Logger: slog.New(slog.DiscardHandler), // has addresses in it
	}
}

// Limit bounds the connections of a listener, which can end one direction where those of
// the listener can.
func (g *Gateway) Limit(ln net.Listener) net.Listener {
	inner := &noting{Listener: ln}
	return &limited{Listener: netutil.LimitListener(inner, g.cfg.Limits.Connections), inner: inner}
}

// limited gives the connections of netutil's listener, which hide CloseWrite.
type limited struct {
	net.Listener
	mu    sync.Mutex // of Accept, so that inner's last connection is the one that was given
	inner *noting
}

// Accept gives the next connection as soon as there may be one more.
func (l *limited) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if half, ok := l.inner.last.(halfCloser); ok {
		return &halfClosing{c, half}, nil
	}
	return c, nil
}

// noting keeps the connection that it has given last.
type noting struct {
	net.Listener
	last net.Conn
}

func (n *noting) Accept() (c net.Conn, err error) {
	c, err = n.Listener.Accept()
	n.last = c
	return c, err
}

// halfClosing is a connection with the CloseWrite of the one inside it.
type halfClosing struct {
	net.Conn
	half halfCloser
}

// CloseWrite ends the sending direction.
func (c *halfClosing) CloseWrite() error { return c.half.CloseWrite() }
