package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/process"
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
	bulk      bool // on data connections
	sdk       bool // the caller is the load generator itself, through package dial
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
	if err := s.add(process.StartRole(ctx, &relay, roleRelay, "--dir", s.dir, "--serial", serial, "--host", s.host)); err != nil {
		return err
	}
	s.relay = s.processes[0]
	bulk := fmt.Sprintf("--bulk=%t", o.bulk)
	var online struct{}
	err = s.add(process.StartRole(ctx, &online, roleDevice, "--dir", s.dir, "--serial", serial, "--transport", o.transport,
		"--relay", relay.Relay, "--target", s.target, bulk))
	if err != nil || !o.caller {
		s.Entry = relay.Entry
		return err
	}
	if o.sdk {
		return o.dial(s, relay.Relay, serials[0])
	}
	var caller callerReady
	err = s.add(process.StartRole(ctx, &caller, roleCaller, "--dir", s.dir, "--serial", serial, "--transport", o.transport,
		"--relay", relay.Relay, "--host", s.host, bulk))
	s.Entry = caller.Entry
	return err
}

// dial makes the load generator the caller, as the services of the cloud are.
func (o ours) dial(s *setup, relay string, serial identity.Serial) error {
	creds, err := credentials(s.dir, identity.Service(identity.DefaultTrustDomain, callerName))
	if err != nil {
		return err
	}
	d, err := dial.New(dial.Config{Relays: []string{relay}, Transport: o.transport, Credentials: creds, Program: "bench"})
	if err != nil {
		return err
	}
	call := dial.Call{Target: d.Device(serial), Service: service, Purpose: "bench"}
	if o.bulk {
		call.Inner = dial.Bulk
	}
	s.Entry, s.release = "package dial", d.Close
	s.Dial = func(ctx context.Context) (net.Conn, error) {
		c, err := d.Open(ctx, call)
		if err != nil {
			return nil, err
		}
		if c.OnData() != o.bulk {
			_ = c.Close()
			return nil, errors.New("the call has no data connection")
		}
		return c, nil
	}
	return nil
}

// writeRelay issues a relay's certificate for its loopback address.
func writeRelay(ca *pkitest.CA, dir, host string) error {
	id := identity.Relay(ca.TrustDomain, relayName)
	cert := ca.Issue(id, pkitest.Options{ExtraIPs: []net.IP{net.ParseIP(host)}})
	return ca.CredentialsWith(cert).Save(filepath.Join(dir, filepath.FromSlash(id.Path())))
}
