package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/splice"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/socket"
)

// The TLVs of a PROXY protocol v2 header (from the range for applications,
// "PROXY protocol" §2.2.7) that tell a target about the call.
const (
	TLVCaller    = 0xE0 // SPIFFE ID of the caller
	TLVRequestID = 0xE1 // request id, 32 hex digits
	TLVPurpose   = 0xE2 // purpose; absent if empty
)

// forwarder joins the calls of a service with connections to a local target.
type forwarder struct {
	agent            *Agent
	cfg              Service
	network, address string
	timeout          time.Duration
	splice           splice.Options
	dialer           net.Dialer
}

func newForwarder(a *Agent, cfg Service) (*forwarder, error) {
	network, address, err := parseTarget(cfg.Target)
	if err != nil {
		return nil, err
	}
	idle := cfg.CallIdle
	def(&idle, a.cfg.Limits.CallIdle)
	f := &forwarder{
		agent: a, cfg: cfg, network: network, address: address, timeout: a.cfg.Limits.TargetTimeout,
		splice: splice.Options{IdleTimeout: idle},
	}
	if ap, err := netip.ParseAddrPort(address); err == nil && network == "tcp" && ap.Addr().IsLoopback() {
		f.dialer.KeepAlive = -1 // a peer on this machine does not vanish without a word
		f.dialer.Control = socket.Connect
	}
	return f, nil
}

func (f *forwarder) run(context.Context) {}

func (f *forwarder) take(ctx context.Context, call Call, ans answer, over func()) error {
	start := time.Now()
	target, err := f.dial(ctx, call, ans)
	if err != nil {
		return err
	}
	if err := ans.accept(since(start, "target")); err != nil {
		_ = target.Close()
		ans.conn().Reset(tunnel.CodeOf(err))
		over()
		return nil // the caller has gone
	}
	o := f.splice
	o.Poller = f.agent.sockets()
	splice.Start(ans.conn(), target, o, func(splice.Result) { over() })
	return nil
}

// dial connects to the target and writes the PROXY header, if it wants one. The
// error is safe to show to the caller: it does not tell the target's address.
func (f *forwarder) dial(ctx context.Context, call Call, ans answer) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime(f.timeout, ans))
	defer cancel()
	target, err := f.connect(ctx)
	if err == nil && f.cfg.Identity == IdentityProxyV2 {
		err = writeProxyHeader(ctx, target, call, ans.via())
	}
	if err != nil {
		if target != nil {
			_ = target.Close()
		}
		return nil, &tunnel.Error{Code: tunnel.CodeTargetUnreachable, Message: why(err), Cause: err}
	}
	return target, nil
}

// connect connects to the target. Dialer.DialTCP would find a literal address with
// a dozen allocations less, but binds to 0.0.0.0:0 first: such a port serves one
// connection to anywhere, and none for a minute after that (TIME_WAIT), so that
// 28,000 calls a minute use them up.
func (f *forwarder) connect(ctx context.Context) (net.Conn, error) {
	return f.dialer.DialContext(ctx, f.network, f.address)
}

// why says in public words why a target was not reached.
func why(err error) string {
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) {
		return "the target did not answer in time"
	}
	return "the target refused the connection"
}

func writeProxyHeader(ctx context.Context, target net.Conn, call Call, via tunnel.Session) error {
	h, err := proxyHeader(call, via.RemoteAddr(), target.RemoteAddr())
	if err != nil {
		return err
	}
	if d, ok := ctx.Deadline(); ok {
		if err := target.SetWriteDeadline(d); err != nil {
			return err
		}
	}
	if _, err := h.WriteTo(target); err != nil {
		return fmt.Errorf("write PROXY header: %w", err)
	}
	return target.SetWriteDeadline(time.Time{})
}

// proxyHeader makes the header of one call. The caller's own address is not
// known on a device: the source is the relay that the call came through.
func proxyHeader(call Call, relay, target net.Addr) (*proxyproto.Header, error) {
	src, dst := tcpAddr(relay), tcpAddr(target)
	family := proxyproto.TCPv4
	if src.IP.To4() == nil || dst.IP.To4() == nil {
		family = proxyproto.TCPv6
		src.IP, dst.IP = src.IP.To16(), dst.IP.To16()
	}
	h := &proxyproto.Header{
		Version: 2, Command: proxyproto.PROXY, TransportProtocol: family, SourceAddr: src, DestinationAddr: dst,
	}
	tlvs := []proxyproto.TLV{
		{Type: TLVCaller, Value: []byte(call.Caller.String())},
		{Type: TLVRequestID, Value: []byte(call.RequestID)},
	}
	if call.Purpose != "" {
		tlvs = append(tlvs, proxyproto.TLV{Type: TLVPurpose, Value: []byte(call.Purpose)})
	}
	return h, h.SetTLVs(tlvs)
}

// tcpAddr gives an address in the form that a PROXY header holds; 0.0.0.0:0 for
// one that is not of IP.
func tcpAddr(a net.Addr) *net.TCPAddr {
	switch a := a.(type) {
	case *net.TCPAddr:
		return &net.TCPAddr{IP: a.IP, Port: a.Port}
	case *net.UDPAddr:
		return &net.TCPAddr{IP: a.IP, Port: a.Port}
	default:
		return &net.TCPAddr{IP: net.IPv4zero}
	}
}
