package authority

import (
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"strconv"

	"github.com/comtrexx-cloud/comtrexx/pki/crl"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Revocation makes the service that tells third parties what is revoked. Of cfg, the
// values of the file are used.
func (a *Authority) Revocation(cfg crl.Config) (*crl.Service, error) {
	cfg.DB, cfg.Source, cfg.Issuers, cfg.Logger = a.db, revoked{}, a.Issuers, a.cfg.Logger.Named("crl")
	cfg.Changed = func() <-chan struct{} {
		_, changed := a.feed.Watch()
		return changed
	}
	return crl.New(cfg)
}

// Issuers gives the intermediates whose certificates may still be in use.
func (a *Authority) Issuers() (out []crl.Issuer) {
	for kind, s := range a.signers {
		out = append(out, crl.Issuer{Kind: kind, Newest: true, Cert: s.cert, Key: s.key})
	}
	return out
}

// revoked reads the block list for package crl.
type revoked struct{}

// blockState is the part of a [Block] that says whether it may end.
type blockState struct {
	Block
	State string `json:"state"`
}

func (b blockState) revocation() crl.Revocation {
	return crl.Revocation{Identity: b.Identity, Epoch: b.Epoch, Time: b.Time, Final: b.State == "retired"}
}

func (revoked) Epoch(tx store.Tx) (uint64, error) {
	text, err := tx.Get(bucketMeta, keyEpoch)
	if err != nil || text == nil {
		return 0, err
	}
	epoch, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("store: epoch: %w", err)
	}
	return epoch, nil
}

func (revoked) Revocations(tx store.Tx, f func(crl.Revocation) error) error {
	return tx.Scan(bucketBlocks, nil, nil, func(_, v []byte) (bool, error) {
		b, err := parse[blockState](v)
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
	block, ok, err := get[blockState](tx, bucketBlocks, []byte(c.Identity))
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
