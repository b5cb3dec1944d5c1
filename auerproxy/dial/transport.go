package dial

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Transport makes an HTTP transport for https://s<serial>.pbx.<trust-domain>/…
// (any port of [Config.Ports]), with its own pool of idle connections. The
// connection is a [Conn]: end-to-end TLS is that of the session with the device,
// so response.TLS is nil; HTTP/1.1 and WebSocket upgrades run in it. Plain http
// and other hosts are errors.
//
// The caller may change the fields of the result before its first use.
func (d *Dialer) Transport() *http.Transport {
	return &http.Transport{
		DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
			return nil, fmt.Errorf("dial: http://%s: devices are reached by https only", addr)
		},
		DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			call, err := d.ParseAddr(addr)
			if err != nil {
				return nil, err
			}
			call.Purpose = "http"
			c, err := d.Open(ctx, call)
			if err != nil {
				return nil, err
			}
			return c, nil
		},
		MaxIdleConnsPerHost: 16,
		MaxIdleConns:        1024,
		IdleConnTimeout:     90 * time.Second,
	}
}

// ParseAddr reads "s<serial>.pbx.<trust-domain>:<port>" as a call. A name outside
// the trust domain gives [ErrOffline], a port without a service
// [ErrServiceUnknown].
func (d *Dialer) ParseAddr(addr string) (Call, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return Call{}, tunnel.Errorf(tunnel.CodeProtocol, "%w", err)
	}
	serial, err := identity.ParseDeviceDNSName(d.self.TrustDomain, host)
	if err != nil {
		return Call{}, tunnel.Errorf(tunnel.CodeNotReachable, "%w", err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return Call{}, tunnel.Errorf(tunnel.CodeServiceUnknown, "port %q is not a number", port)
	}
	service, ok := d.Service(n)
	if !ok {
		return Call{}, tunnel.Errorf(tunnel.CodeServiceUnknown, "port %d stands for no service", n)
	}
	return Call{Target: d.Device(serial), Service: service}, nil
}
