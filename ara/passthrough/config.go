package passthrough

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Config of a [Listener]. Domain, Open and Challenge are needed; for the rest, zero values
// stand for the defaults.
type Config struct {
	// Domain is the lower-case DNS name that PBXs are one label below.
	Domain string
	// Open opens a call that takes the ciphertext for a PBX, on behalf of a client at an
	// address. An error means that there is none for this client now. ctx bounds the
	// opening, and ends with the listener.
	Open func(ctx context.Context, serial identity.Serial, from netip.Addr) (net.Conn, error)
	// Challenge is Open for a certificate authority.
	Challenge func(ctx context.Context, serial identity.Serial, from netip.Addr) (net.Conn, error)
	// HelloBytes bounds what is read of a client before it is known where it wants to.
	// Default: 16 KiB.
	HelloBytes int
	// HelloTime bounds how long that takes. Default: 10s.
	HelloTime time.Duration
	// Idle ends a connection to a PBX on which nothing moves. Default: 30m.
	Idle time.Duration
	// AccessLog notes every connection that is not accepted; nil means that none is.
	AccessLog *accesslog.Log
}

// Bounds of a connection of a certificate authority: a handshake takes less than 8 KiB
// either way.
const (
	challengeTime  = 30 * time.Second
	challengeBytes = 32 << 10
)

// challengeProtocol is the ALPN protocol of tls-alpn-01 (RFC 8737 §6.2).
const challengeProtocol = "acme-tls/1"

func (c Config) withDefaults() Config {
	c.HelloBytes = cmp.Or(c.HelloBytes, 16<<10)
	c.HelloTime = cmp.Or(c.HelloTime, 10*time.Second)
	c.Idle = cmp.Or(c.Idle, 30*time.Minute)
	return c
}

// serialOf gives the PBX that a name stands for. ours tells that the name is the domain's,
// ok that it is a PBX's.
func serialOf(name, domain string) (serial identity.Serial, ours, ok bool) {
	name = strings.ToLower(name)
	label, ours := strings.CutSuffix(name, "."+domain)
	if !ours {
		return "", name == domain, false
	}
	digits, ok := strings.CutPrefix(label, "s")
	if !ok {
		return "", true, false
	}
	serial, err := identity.ParseSerial(digits)
	return serial, true, err == nil
}
