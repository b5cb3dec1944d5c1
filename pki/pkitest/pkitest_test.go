package pkitest_test

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

const td = identity.DefaultTrustDomain

// verify builds the chain as crypto/tls does for a peer.
func verify(ca *pkitest.CA, chain [][]byte) (identity.ID, error) {
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return identity.ID{}, err
	}
	between := x509.NewCertPool()
	for _, der := range chain[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return identity.ID{}, err
		}
		between.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: ca.Roots(), Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return identity.ID{}, err
	}
	return identity.FromChain(chains[0])
}

func TestIssue(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	ids := []identity.ID{identity.Device(td, "0123456789"), identity.Service(td, "ccc"), identity.Relay(td, "r1")}
	for _, id := range ids {
		got, err := verify(ca, ca.Issue(id, pkitest.Options{}).Certificate)
		if err != nil || got != id {
			t.Errorf("certificate for %s reads as %s, %v", id, got, err)
		}
		if _, err := verify(pkitest.New(t, td), ca.Issue(id, pkitest.Options{}).Certificate); err == nil {
			t.Errorf("%s: a foreign root was believed", id)
		}
	}
	wrong := ca.Issue(ids[1], pkitest.Options{Signer: identity.KindDevice})
	if _, err := verify(ca, wrong.Certificate); !errors.Is(err, identity.ErrMismatch) {
		t.Errorf("service signed by the device authority: %v, want %v", err, identity.ErrMismatch)
	}
	expired := ca.Issue(ids[0], pkitest.Options{NotAfter: time.Now().Add(-time.Minute)})
	if _, err := verify(ca, expired.Certificate); err == nil {
		t.Error("an expired certificate was believed")
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	ca, dir, id := pkitest.New(t, td), t.TempDir(), identity.Relay(td, "r1")
	if err := ca.Write(dir, id); err != nil {
		t.Fatal(err)
	}
	c, err := enrol.LoadCredentials(dir)
	if err != nil || c.ID() != id {
		t.Fatalf("read back %v, %v", c, err)
	}
	if err := c.Leaf().VerifyHostname("localhost"); err != nil {
		t.Error(err)
	}
}

func BenchmarkIssue(b *testing.B) {
	ca := pkitest.New(b, td)
	id := identity.Device(td, "0123456789")
	for b.Loop() {
		ca.Issue(id, pkitest.Options{})
	}
}
