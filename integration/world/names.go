package world

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/servercert"
)

// namesRole is the role of the relays at the ACME server.
const namesRole = "srv-auerproxy"

// RelayName is a name of relay i for browsers and stock HTTP clients, which resolve
// it to loopback by themselves (RFC 6761 §6.3). It has a certificate with
// [Config].Names only.
func (w *World) RelayName(i int) string { return relayDir(i) + ".localhost" }

// acmeConfig is what both kinds of world tell the ACME server.
func (w *World) acmeConfig() acmesrv.Config {
	role := acmesrv.Role{Name: namesRole}
	cfg := acmesrv.Config{Dial: make(map[string]string)}
	for i, addr := range w.relays {
		role.Names = append(role.Names, w.RelayName(i))
		cfg.Dial[net.JoinHostPort(w.RelayName(i), "443")] = addr
	}
	cfg.Roles = []acmesrv.Role{role}
	if w.cfg.Centre {
		cfg.Roles = append(cfg.Roles, acmesrv.Role{Name: centreRole, Names: []string{CentreName, FontevoName}})
		for _, name := range []string{CentreName, FontevoName} {
			cfg.Dial[net.JoinHostPort(name, "443")] = w.centreTLS
		}
	}
	if w.cfg.Gateway {
		cfg.Roles = append(cfg.Roles, acmesrv.Role{Name: gatewayRole, Names: []string{GatewayName, "*." + GatewayName}})
		for _, name := range []string{GatewayName, "*." + GatewayName} {
			cfg.Dial[net.JoinHostPort(name, "443")] = w.gatewayAddr
		}
		cfg.Roles = append(cfg.Roles, acmesrv.Role{Name: pbxRole, Names: []string{"*." + PBXDomain}, Devices: true})
		cfg.Dial[net.JoinHostPort("*."+PBXDomain, "443")] = w.gatewayAddr
	}
	return cfg
}

// namesConfig is what both kinds of world tell relay i about its name.
func (w *World) namesConfig(i int) servercert.Config {
	return servercert.Config{
		Mode: servercert.ModeInternal, Domains: []string{w.RelayName(i)},
		Directory: "https://" + w.acmeAddr + acmesrv.DirectoryPath(namesRole),
		EABFile:   configs.SecretFile(w.path(relayDir(i), "eab.json")), Storage: w.path(relayDir(i), "names"),
	}
}

// writeEAB gives a server a key for its account. The ACME server has another address
// at every start of the world, so that the account is another too.
func (w *World) writeEAB(ctx context.Context, role, dir string) error {
	eab, err := w.admin.EAB(ctx, role, "")
	if err != nil {
		return err
	}
	text, err := json.Marshal(eab)
	if err != nil {
		return err
	}
	return os.WriteFile(w.path(dir, "eab.json"), text, 0o600)
}

// AwaitNames waits until every relay, the control centre and the gateway show a
// certificate for their names, with [Config].Names.
func (w *World) AwaitNames(ctx context.Context) error {
	pool := x509.NewCertPool()
	for _, r := range w.roots {
		pool.AddCert(r)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	at := make(map[string]string)
	for i, addr := range w.relays {
		at[w.RelayName(i)] = addr
	}
	if w.cfg.Centre {
		at[CentreName], at[FontevoName] = w.centreTLS, w.centreTLS
	}
	if w.cfg.Gateway {
		at[GatewayName] = w.gatewayAddr
	}
	for name, addr := range at {
		for {
			err := dialName(ctx, name, addr, pool)
			if err == nil {
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("%s has no certificate: %w", name, err)
			}
		}
	}
	return nil
}

func dialName(ctx context.Context, name, addr string, roots *x509.CertPool) error {
	d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: name, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS13}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}
