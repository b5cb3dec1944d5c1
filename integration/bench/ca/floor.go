package ca

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"runtime"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// floor measures what no authority can do without.
func (r *runner) floor(ctx context.Context, round int) error {
	key := pkitest.NewKey()
	issuer := profile.Intermediate(trustDomain, r.devices[0].id.Kind)
	issuer.SubjectKeyId = []byte("floor")
	now := time.Now()
	began := now
	n := min(r.Certificates, len(r.devices))
	err := parallel(n, runtime.GOMAXPROCS(0), func(i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		csr, err := enrol.ParseRequest(r.devices[i].csr)
		if err != nil {
			return err
		}
		leaf := profile.Leaf(r.devices[i].id, profile.Extra{})
		leaf.SerialNumber = big.NewInt(int64(i) + 1)
		leaf.NotBefore, leaf.NotAfter = now, now.AddDate(0, 0, 30)
		_, err = x509.CreateCertificate(rand.Reader, leaf, issuer, csr.PublicKey, key)
		return err
	})
	if err != nil {
		return err
	}
	r.add(round, Crypto, r.work("issue", ""), map[score.Metric]float64{
		score.Certs: float64(n) / max(time.Since(began).Seconds(), 1e-9),
	}, 0, nil)
	return nil
}
