package muxtun

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// Dialer dials sessions over TCP.
type Dialer struct {
	Config Config
	// DialContext makes the TCP connection. Default: net.Dialer's.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// Proxy gives the HTTP proxy for an address, "http://[user:password@]host:port";
	// nil for none. The proxy is asked to CONNECT (RFC 9110 §9.3.6). Default: none.
	Proxy func(addr string) (*url.URL, error)
}

var _ tunnel.Dialer = (*Dialer)(nil)

// Dial implements tunnel.Dialer.
func (d *Dialer) Dial(ctx context.Context, addr string) (tunnel.Session, error) {
	conn, err := d.Connect(ctx, addr)
	if err != nil {
		return nil, &tunnel.Error{Code: tunnel.CodeUnreachable, Message: err.Error(), Cause: err}
	}
	return Client(ctx, conn, d.Config)
}

// Connect makes the connection that Dial makes a session of, through the proxy
// where there is one.
func (d *Dialer) Connect(ctx context.Context, addr string) (net.Conn, error) {
	dial := func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		if d.DialContext != nil {
			conn, err = d.DialContext(ctx, network, addr)
		} else {
			conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		}
		if err == nil {
			d.Config.tune(conn)
		}
		return conn, err
	}
	if d.Proxy == nil {
		return dial(ctx, "tcp", addr)
	}
	proxy, err := d.Proxy(addr)
	if err != nil {
		return nil, fmt.Errorf("proxy for %s: %w", addr, err)
	}
	if proxy == nil {
		return dial(ctx, "tcp", addr)
	}
	if proxy.Scheme != "http" {
		return nil, fmt.Errorf("proxy %s: scheme %q, want http", proxy.Redacted(), proxy.Scheme)
	}
	host := proxy.Host
	if proxy.Port() == "" {
		host = net.JoinHostPort(proxy.Hostname(), "80")
	}
	conn, err := dial(ctx, "tcp", host)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", proxy.Redacted(), err)
	}
	if err := connectThrough(ctx, conn, proxy, addr); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("proxy %s: %w", proxy.Redacted(), err)
	}
	return conn, nil
}

// maxProxyAnswer bounds the header of a proxy's answer.
const maxProxyAnswer = 16 << 10

// connectThrough asks an HTTP proxy for a byte flow to addr.
func connectThrough(ctx context.Context, conn net.Conn, proxy *url.URL, addr string) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
	defer func() {
		if stop() {
			_ = conn.SetDeadline(time.Time{})
		}
	}()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if u := proxy.User; u != nil {
		password, _ := u.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	// The peer says nothing before the client's hello, so that nothing of it is
	// lost in the reader.
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxProxyAnswer)), req) //nolint:bodyclose // there is no body, see below
	if err != nil {
		return fmt.Errorf("no answer to CONNECT: %w", err)
	}
	// There is no body: what follows belongs to the tunnel.
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answers %s to CONNECT %s", resp.Status, addr)
	}
	return nil
}
