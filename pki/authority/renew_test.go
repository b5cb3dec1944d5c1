package authority

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestRenew(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	first := enrolled(t, a, device)
	second, err := renew(t, a, first)
	if err != nil {
		t.Fatal(err)
	}
	if second.ID() != device || enrol.SameKey(first.Leaf().PublicKey, second.Leaf().PublicKey) {
		t.Error("renewed with the old key, or for somebody else")
	}
	if e := last(t, a); e.Event != audit.EventIssue || e.Method != MethodRenew || e.Generation != 2 {
		t.Errorf("audit log says %+v", e)
	}
}

func TestRenewNeedsANewKey(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	key, csr := request(t, x509.CertificateRequest{})
	issued, err := a.Enrol(t.Context(), token(t, a, device), csr)
	if err != nil {
		t.Fatal(err)
	}
	first := credentials(t, a, key, issued)
	second, err := renew(t, a, first)
	if err != nil {
		t.Fatal(err)
	}
	for name, peer := range map[string]*x509.Certificate{"the present key": first.Leaf(), "the key before": second.Leaf()} {
		if _, err := a.Renew(t.Context(), peer, csr); !errors.Is(err, enrol.ErrForbidden) {
			t.Errorf("%s: %v, want %v", name, err, enrol.ErrForbidden)
		}
	}
}

// The answer to a renewal is lost, again and again: the certificate that the
// device has still renews. What it never used does not.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	first := enrolled(t, a, device)
	var lost []*enrol.Credentials
	for range 3 {
		c, err := renew(t, a, first)
		if err != nil {
			t.Fatal(err)
		}
		lost = append(lost, c)
	}
	if _, err := renew(t, a, lost[0]); !errors.Is(err, enrol.ErrSuperseded) {
		t.Errorf("a certificate that was replaced unseen: %v", err)
	}
	if err := a.Confirm(t.Context(), lost[2].Leaf()); err != nil {
		t.Error(err)
	}
}

func TestReplayAfterConfirm(t *testing.T) {
	t.Parallel()
	for name, confirm := range map[string]func(*Authority, *enrol.Credentials) error{
		"confirm": func(a *Authority, c *enrol.Credentials) error { return a.Confirm(t.Context(), c.Leaf()) },
		"renewal": func(a *Authority, c *enrol.Credentials) error { _, err := renew(t, a, c); return err },
	} {
		a := open(t, Config{})
		first := enrolled(t, a, device)
		second, err := renew(t, a, first)
		if err != nil {
			t.Fatal(err)
		}
		if err := confirm(a, second); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		before := issuedTo(t, a, device)
		if _, err := renew(t, a, first); !errors.Is(err, enrol.ErrSuperseded) {
			t.Errorf("%s: replay of the old generation: %v", name, err)
		}
		if e := last(t, a); e.Event != audit.EventClone || e.Identity != device.Path() || e.Generation != 1 {
			t.Errorf("%s: audit log says %+v", name, e)
		}
		if err := a.Confirm(t.Context(), first.Leaf()); !errors.Is(err, enrol.ErrSuperseded) {
			t.Errorf("%s: the old generation confirms: %v", name, err)
		}
		if issuedTo(t, a, device) != before {
			t.Errorf("%s: a certificate was stored", name)
		}
		if _, err := renew(t, a, second); err != nil {
			t.Errorf("%s: the good device cannot renew: %v", name, err)
		}
	}
}

func TestNewEnrolmentRetires(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	for _, c := range []struct {
		id      identity.ID
		retires bool
	}{{device, true}, {relay, true}, {service, false}} {
		old := enrolled(t, a, c.id)
		if next := enrolled(t, a, c.id); next.ID() != c.id {
			t.Fatal(next.ID())
		}
		_, err := renew(t, a, old)
		if c.retires && !errors.Is(err, enrol.ErrSuperseded) {
			t.Errorf("%s: the old box renews: %v", c.id, err)
		}
		if !c.retires && err != nil {
			t.Errorf("%s: the other instance cannot renew: %v", c.id, err)
		}
	}
}

func TestOnlyOwnCertificatesRenew(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	_, csr := request(t, x509.CertificateRequest{})
	own := enrolled(t, a, device)
	foreign := pkitest.New(t, td)
	copied := foreign.Issue(device, pkitest.Options{Mutate: func(c *x509.Certificate) { c.SerialNumber = own.Leaf().SerialNumber }})
	for name, peer := range map[string]*x509.Certificate{
		"foreign CA":                      foreign.Issue(device, pkitest.Options{}).Leaf,
		"foreign CA, own serial number":   copied.Leaf,
		"foreign CA, another domain":      pkitest.New(t, "evil.test").Issue(identity.Device("evil.test", "0123456789"), pkitest.Options{}).Leaf,
		"an intermediate":                 a.keys.Load().signers[identity.KindDevice].cert,
		"the root":                        a.Roots()[0],
		"a certificate without identity":  foreign.Issue(device, pkitest.Options{Mutate: func(c *x509.Certificate) { c.URIs = nil }}).Leaf,
		"another identity, own serial no": foreign.Issue(other, pkitest.Options{Mutate: func(c *x509.Certificate) { c.SerialNumber = own.Leaf().SerialNumber }}).Leaf,
	} {
		if _, err := a.Renew(t.Context(), peer, csr); !errors.Is(err, enrol.ErrForbidden) && !errors.Is(err, enrol.ErrBadRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := a.Renew(t.Context(), own.Leaf(), csr); err != nil {
		t.Errorf("the good certificate: %v", err)
	}
}

// A leaf ends with its intermediate at the latest, and an intermediate that has
// almost ended signs nothing.
func TestLeafNeverOutlivesItsIssuer(t *testing.T) {
	t.Parallel()
	a := open(t, Config{Lifetimes: Lifetimes{Device: 50 * 365 * 24 * time.Hour}})
	leaf, issuer := enrolled(t, a, device).Leaf(), a.keys.Load().signers[identity.KindDevice].cert
	if !leaf.NotAfter.Equal(issuer.NotAfter) {
		t.Errorf("leaf until %s, issuer until %s", leaf.NotAfter, issuer.NotAfter)
	}
	if leaf = enrolled(t, a, service).Leaf(); !leaf.NotAfter.Before(issuer.NotAfter) {
		t.Errorf("the control lives until %s", leaf.NotAfter)
	}
}

func TestProfileChangesComeWithTheNextRenewal(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	a, err := New(Config{StateDir: dir, PlainKeys: true})
	if err != nil {
		t.Fatal(err)
	}
	first := enrolled(t, a, device)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b := open(t, Config{StateDir: dir, PlainKeys: true, Lifetimes: Lifetimes{Device: 48 * time.Hour}})
	second, err := renew(t, b, first)
	if err != nil {
		t.Fatal(err)
	}
	if life := time.Until(second.Leaf().NotAfter); life > 48*time.Hour {
		t.Errorf("renewed for %v", life)
	}
}
