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

// writeEAB gives relay i a key for its account. The ACME server has another address
// at every start of the world, so that the account is another too.
func (w *World) writeEAB(ctx context.Context, i int) error {
	eab, err := w.admin.EAB(ctx, namesRole)
	if err != nil {
		return err
	}
	text, err := json.Marshal(eab)
	if err != nil {
		return err
	}
	return os.WriteFile(w.path(relayDir(i), "eab.json"), text, 0o600)
}

// AwaitNames waits until every relay shows a certificate for its name, with
// [Config].Names.
func (w *World) AwaitNames(ctx context.Context) error {
	pool := x509.NewCertPool()
	for _, r := range w.roots {
		pool.AddCert(r)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := range w.relays {
		for {
			err := w.dialName(ctx, i, pool)
			if err == nil {
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("%s has no certificate: %w", w.RelayName(i), err)
			}
		}
	}
	return nil
}

func (w *World) dialName(ctx context.Context, i int, roots *x509.CertPool) error {
	d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: w.RelayName(i), NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS13}}
	conn, err := d.DialContext(ctx, "tcp", w.RelayAddr(i))
	if err != nil {
		return err
	}
	return conn.Close()
}
