package peer

import (
	"context"

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
	err = load.WriteDir(s.dir, certs, 1, identity.Relay(td, relayName), identity.Service(td, callerName))
	if err != nil {
		return err
	}
	serial := string(serials[0])

	var relay relayReady
	if err := s.add(startRole(ctx, &relay, roleRelay, "--dir", s.dir, "--serial", serial)); err != nil {
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
	err = s.add(startRole(ctx, &caller, roleCaller, "--dir", s.dir, "--serial", serial, "--transport", o.transport, "--relay", relay.Relay))
	s.Entry = caller.Entry
	return err
}
