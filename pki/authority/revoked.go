package authority

import (
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"

	"github.com/comtrexx-cloud/comtrexx/pki/crl"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Revocation makes the service that tells third parties what is revoked. Of cfg, the
// values of the file are used.
func (a *Authority) Revocation(cfg crl.Config) (*crl.Service, error) {
	cfg.DB, cfg.Source, cfg.Issuers, cfg.Logger = a.db, revoked{}, a.revoking, a.cfg.Logger.Named("crl")
	cfg.Swapped = a.Changed
	cfg.Changed = func() <-chan struct{} {
		_, changed := a.feed.Watch()
		return changed
	}
	return crl.New(cfg)
}

// revoking gives the intermediates in the words of package crl.
func (a *Authority) revoking() (out []crl.Issuer) {
	for _, i := range a.keys.Load().issuers {
		if kind, err := identity.ParseKind(i.Role); err == nil {
			out = append(out, crl.Issuer{Kind: kind, Newest: i.Active, Cert: i.Certificate, Key: i.Key})
		}
	}
	return out
}

// revoked reads the block list for package crl.
type revoked struct{}

func (b Block) revocation() crl.Revocation {
	return crl.Revocation{Identity: b.Identity, Epoch: b.Epoch, Time: b.Time, Final: b.state() == StateRetired}
}

func (revoked) Epoch(tx store.Tx) (uint64, error) { return storedEpoch(tx) }

func (revoked) Revocations(tx store.Tx, f func(crl.Revocation) error) error {
	return tx.Scan(bucketBlocks, nil, nil, func(_, v []byte) (bool, error) {
		b, err := parse[Block](v)
		if err != nil {
			return false, err
		}
		return true, f(b.revocation())
	})
}

func (revoked) CertificatesOf(tx store.Tx, path string, f func(crl.Certificate) error) error {
	if path == "" {
		return errors.New("no identity")
	}
	return eachCertificate(tx, path, func(c Certificate) error {
		out, err := c.forCRL()
		if err != nil {
			return err
		}
		return f(out)
	})
}

func (revoked) Find(tx store.Tx, serial *big.Int) (*crl.Certificate, *crl.Revocation, error) {
	c, ok, err := get[Certificate](tx, bucketCerts, []byte(serial.Text(16)))
	if err != nil || !ok {
		return nil, nil, err
	}
	out, err := c.forCRL()
	if err != nil {
		return nil, nil, err
	}
	block, ok, err := get[Block](tx, bucketBlocks, []byte(c.Identity))
	if err != nil || !ok {
		return &out, nil, err
	}
	r := block.revocation()
	return &out, &r, nil
}

func (c Certificate) forCRL() (crl.Certificate, error) {
	leaf, err := x509.ParseCertificate(c.DER)
	if err != nil {
		return crl.Certificate{}, fmt.Errorf("store: certificate %s: %w", c.Serial, err)
	}
	return crl.Certificate{Serial: leaf.SerialNumber, NotAfter: leaf.NotAfter, IssuerKeyID: leaf.AuthorityKeyId}, nil
}
