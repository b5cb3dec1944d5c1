package peer

import (
	"context"
	"net"
	"path/filepath"

	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// Names in the throw-away CA of a contestant, see role.go.
const (
	relayName  = "bench"
	callerName = "bench"
	service    = "echo"
)

// seed decides the serial of the one device.
const seed = 1

// ours is a relay and a device, each in a process of its own, and for end-to-end
// calls a caller that bridges a local port to the device.
type ours struct {
	transport string
	caller    bool
}

func (o ours) start(ctx context.Context, s *setup) error {
	td := identity.DefaultTrustDomain
	ca, err := pkitest.NewCA(td)
	if err != nil {
		return err
	}
	certs := load.FromCA(ca, seed)
	serials, err := certs.Serials(1)
	if err != nil {
		return err
	}
	if err := load.WriteDir(s.dir, certs, 1, identity.Service(td, callerName)); err != nil {
		return err
	}
	if err := writeRelay(ca, s.dir, s.host); err != nil {
		return err
	}
	serial := string(serials[0])

	var relay relayReady
	if err := s.add(startRole(ctx, &relay, roleRelay, "--dir", s.dir, "--serial", serial, "--host", s.host)); err != nil {
		return err
	}
	s.relay = s.processes[0]
	var online struct{}
	err = s.add(startRole(ctx, &online, roleDevice, "--dir", s.dir, "--serial", serial, "--transport", o.transport,
		"--relay", relay.Relay, "--target", s.target))
	if err != nil || !o.caller {
		s.Entry = relay.Entry
		return err
	}
	var caller callerReady
	err = s.add(startRole(ctx, &caller, roleCaller, "--dir", s.dir, "--serial", serial, "--transport", o.transport,
		"--relay", relay.Relay, "--host", s.host))
	s.Entry = caller.Entry
	return err
}

// writeRelay issues a relay's certificate for its loopback address.
func writeRelay(ca *pkitest.CA, dir, host string) error {
	id := identity.Relay(ca.TrustDomain, relayName)
	cert := ca.Issue(id, pkitest.Options{ExtraIPs: []net.IP{net.ParseIP(host)}})
	return ca.CredentialsWith(cert).Save(filepath.Join(dir, filepath.FromSlash(id.Path())))
}
