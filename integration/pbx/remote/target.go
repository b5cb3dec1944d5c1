package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"

	ara "github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// OwnWeb is the name of the target that stands for the PBX's own pages. It has no address:
// a connection to the PBX's own address would come from the local network, where the
// administrator consents.
const OwnWeb = "web"

// MaxTargets bounds the list.
const MaxTargets = ara.MaxTargets - 1

// maxHostKey bounds one host key, in bytes.
const maxHostKey = 1 << 10

// Target is something in the PBX's network that an access may be to. A name can be one
// of tcp and one of ssh.
type Target struct {
	Name    string        `json:"name"`
	Service grant.Service `json:"service"` // tcp or ssh
	// Address is "host:port". What a host name stands for is looked up for each call.
	Address string `json:"address"`
	// HostKeys are those of an SSH server, as in a line of authorized_keys.
	HostKeys []string `json:"host_keys,omitempty"`
}

// ErrAddress: the PBX connects nobody to this address.
var ErrAddress = errors.New("not an address that may be reached")

// Dialer connects to targets. The zero value is useful.
type Dialer struct {
	// Own are services of this machine that may be targets, by exactly these addresses:
	// its loopback, and its other addresses, are refused otherwise, as its services take
	// what comes from there for local.
	Own []netip.AddrPort
	// Resolver looks names up. nil: the machine's.
	Resolver *net.Resolver
}

// Check says what is wrong with a list that somebody sets.
func (d Dialer) Check(list []Target) error {
	if len(list) > MaxTargets {
		return fmt.Errorf("are %d, at most %d are allowed", len(list), MaxTargets)
	}
	for i, t := range list {
		if err := d.check(t); err != nil {
			return fmt.Errorf("%d: %w", i+1, err)
		}
		if slices.ContainsFunc(list[:i], func(o Target) bool { return o.Name == t.Name && o.Service == t.Service }) {
			return fmt.Errorf("%d: name: there is another %s of that name", i+1, t.Service)
		}
	}
	return nil
}

func (d Dialer) check(t Target) error {
	switch {
	case !grant.ValidTarget(t.Name):
		return fmt.Errorf("name: is not 1 to %d of a-z, 0-9, dot, dash and underscore", grant.MaxTarget)
	case t.Name == OwnWeb:
		return fmt.Errorf("name: %s is the system's own", OwnWeb)
	case !t.Service.Targeted():
		return errors.New("service: is not tcp or ssh")
	case len(t.HostKeys) > 8 || slices.ContainsFunc(t.HostKeys, func(k string) bool { return k == "" || len(k) > maxHostKey }):
		return fmt.Errorf("host_keys: are not up to 8 of 1 to %d bytes", maxHostKey)
	}
	host, port, err := net.SplitHostPort(t.Address)
	if err != nil || host == "" || len(host) > 253 {
		return errors.New("address: is not host:port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("address: the port is not from 1 to 65535")
	}
	if addr, err := netip.ParseAddr(host); err == nil && !d.own(t) {
		if err := CheckAddr(addr); err != nil {
			return fmt.Errorf("address: %w", err)
		}
	}
	return nil
}

// own reports whether a target is one of the listed services of this machine. A name is
// none, whatever it stands for now.
func (d Dialer) own(t Target) bool {
	ap, err := netip.ParseAddrPort(t.Address)
	return err == nil && slices.Contains(d.Own, ap)
}

// special are networks that no local network has hosts in, that carry an address of
// another kind, or in which a cloud tells its machines their secrets.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),          // RFC 1122 §3.2.1.3
	netip.MustParsePrefix("240.0.0.0/4"),        // RFC 1112 §4, with the broadcast address
	netip.MustParsePrefix("192.0.0.0/24"),       // RFC 6890 §2.1, and Oracle's metadata
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure's
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba's
	netip.MustParsePrefix("fd00:ec2::/32"),      // Amazon's
	netip.MustParsePrefix("fd20:ce::/32"),       // Google's
	netip.MustParsePrefix("::/96"),              // RFC 4291 §2.5.5.1
	netip.MustParsePrefix("::ffff:0:0:0/96"),    // RFC 7915
	netip.MustParsePrefix("64:ff9b::/96"),       // RFC 6052
	netip.MustParsePrefix("64:ff9b:1::/48"),     // RFC 8215
	netip.MustParsePrefix("2001::/32"),          // RFC 4380
	netip.MustParsePrefix("2002::/16"),          // RFC 3056
	netip.MustParsePrefix("fec0::/10"),          // RFC 3879
}

// CheckAddr refuses what no target may be: loopback, link-local, multicast and unspecified
// addresses, and those that machines of a cloud tell their secrets at.
func CheckAddr(addr netip.Addr) error {
	addr = addr.Unmap()
	bad := !addr.IsValid() || addr.Zone() != "" || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsMulticast() ||
		addr.IsUnspecified() || slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(addr) })
	if bad {
		return fmt.Errorf("%w: %s", ErrAddress, addr)
	}
	return nil
}

// dialTime bounds the look-up and the connection to a target.
const dialTime = 10 * time.Second

// Dial connects to a target. A name is looked up once, and each address is judged when
// the connection to it is made, so that a name cannot mean another one then.
func (d Dialer) Dial(ctx context.Context, t Target) (net.Conn, error) {
	nd := net.Dialer{Timeout: dialTime, Resolver: d.Resolver}
	if !d.own(t) {
		nd.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			if err := CheckAddr(ap.Addr()); err != nil {
				return err
			}
			return notOwn(ap.Addr().Unmap())
		}
	}
	return nd.DialContext(ctx, "tcp", t.Address)
}

// notOwn refuses the addresses of this machine: its services take what comes from there
// for local.
func notOwn(addr netip.Addr) error {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == addr {
				return fmt.Errorf("%w: %s is the system's own", ErrAddress, addr)
			}
		}
	}
	return nil
}
