package authority

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/comtrexx-cloud/comtrexx/pki/crl"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// revocationList gives the list that a process which has just started serves.
func revocationList(t testing.TB, a *Authority) *x509.RevocationList {
	t.Helper()
	s, err := a.Revocation(crl.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.ServeList(w, httptest.NewRequest("GET", "/crl/device.crl", nil))
	l, err := x509.ParseRevocationList(w.Body.Bytes())
	if err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	if err := l.CheckSignatureFrom(a.keys.Load().signers[identity.KindDevice].cert); err != nil {
		t.Fatal(err)
	}
	return l
}

// reasons gives the reasons of a list by certificate.
func reasons(l *x509.RevocationList) map[string]int {
	out := make(map[string]int)
	for _, e := range l.RevokedCertificateEntries {
		out[e.SerialNumber.Text(16)] = e.ReasonCode
	}
	return out
}

// Blocked and retired devices are on the list with every certificate that has not
// expired, and OCSP says the same.
func TestRevocationList(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	s, err := a.Revocation(crl.Config{})
	if err != nil {
		t.Fatal(err)
	}
	first := enrolled(t, a, device)
	second, err := renew(t, a, first)
	if err != nil {
		t.Fatal(err)
	}
	retired := enrolled(t, a, other)
	enrolled(t, a, relay) // another intermediate's
	kept := enrolled(t, a, identity.Device(td, "5555555555"))
	if _, err := a.Block(t.Context(), device, "stolen", "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Retire(t.Context(), "9999999999", "scrapped", "test"); err != nil {
		t.Fatal(err)
	}
	if err := s.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{
		serialOf(first.Leaf()): ocsp.CertificateHold, serialOf(second.Leaf()): ocsp.CertificateHold,
		serialOf(retired.Leaf()): ocsp.CessationOfOperation,
	}
	before := revocationList(t, a)
	if got := reasons(before); !maps.Equal(got, want) {
		t.Errorf("the list has %v, want %v", got, want)
	}
	issuer := a.keys.Load().signers[identity.KindDevice].cert
	for serial, c := range map[*x509.Certificate]int{
		first.Leaf(): ocsp.Revoked, second.Leaf(): ocsp.Revoked, retired.Leaf(): ocsp.Revoked, kept.Leaf(): ocsp.Good,
	} {
		request, err := ocsp.CreateRequest(serial, issuer, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", crl.OCSPPath, bytes.NewReader(request))
		r.Header.Set("Content-Type", "application/ocsp-request")
		w := httptest.NewRecorder()
		s.ServeOCSP(w, r)
		got, err := ocsp.ParseResponseForCert(w.Body.Bytes(), serial, issuer)
		if err != nil || got.Status != c || c == ocsp.Revoked && got.RevocationReason != want[serialOf(serial)] {
			t.Errorf("%s: %+v, %v, want %d", serial.Subject, got, err, c)
		}
	}
	if _, err := a.Unblock(t.Context(), device, "", "test"); err != nil {
		t.Fatal(err)
	}
	if err := s.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := revocationList(t, a)
	if got := reasons(after); len(got) != 1 || got[serialOf(retired.Leaf())] != ocsp.CessationOfOperation || after.Number.Cmp(before.Number) <= 0 {
		t.Errorf("unblocked: %v, number %d after %d", got, after.Number, before.Number)
	}
}

// Two instances on one database with 20 blocks at once each: after its block, every
// device is on the list, and numbers rise.
func TestRevocationListOfTwoInstances(t *testing.T) {
	t.Parallel()
	both := instances(t, Limits{})
	const blocks = 20
	id := func(n int) identity.ID { return identity.Device(td, identity.Serial(fmt.Sprintf("%010d", n))) }
	var serials []string
	for n := range 2 * blocks {
		serials = append(serials, serialOf(enrolled(t, both[0], id(n)).Leaf()))
	}
	var wg sync.WaitGroup
	for i, a := range both {
		s, err := a.Revocation(crl.Config{})
		if err != nil {
			t.Fatal(err)
		}
		for n := i * blocks; n < (i+1)*blocks; n++ {
			wg.Go(func() {
				var last *x509.RevocationList
				if _, err := a.Block(t.Context(), id(n), "", "test"); err != nil {
					t.Error(err)
				}
				if err := s.Build(t.Context()); err != nil {
					t.Error(err)
				}
				for _, reader := range both {
					l := revocationList(t, reader)
					if _, ok := reasons(l)[serials[n]]; !ok {
						t.Errorf("certificate %d is not on list %d", n, l.Number)
					}
					if last != nil && l.Number.Cmp(last.Number) < 0 {
						t.Errorf("number %d after %d", l.Number, last.Number)
					}
					last = l
				}
			})
		}
	}
	wg.Wait()
	if got := reasons(revocationList(t, both[1])); len(got) != 2*blocks {
		t.Errorf("%d on the last list, want %d", len(got), 2*blocks)
	}
}

// BenchmarkRevocationList makes the list of 100,000 blocked devices out of a million
// certificates: at the start of a process, and after one more block.
//
//	go test -run '^$' -bench RevocationList -benchtime 1x ./pki/authority
func BenchmarkRevocationList(b *testing.B) {
	const issued, revoked, batch = 1_000_000, 100_000, 10_000
	a := open(b, Config{})
	leaf := enrolled(b, a, device).Leaf()
	now := time.Now().UTC()
	path := func(n int) string { return identity.Device(td, identity.Serial(fmt.Sprintf("%010d", n))).Path() }
	for from := 0; from < issued; from += batch {
		if err := a.db.Update(b.Context(), func(tx store.Tx) error {
			for n := from; n < from+batch; n++ {
				c := Certificate{
					Serial: fmt.Sprintf("%032x", n), Identity: path(n), Issued: now, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
					SPKI: spki(leaf.RawSubjectPublicKeyInfo), DER: leaf.Raw,
				}
				if err := addCertificate(tx, c); err != nil {
					return err
				}
				if n%(issued/revoked) == 0 {
					if err := put(tx, bucketBlocks, []byte(c.Identity), Block{Identity: c.Identity, Reason: "stolen", Actor: "operator", Time: now, Epoch: 1}); err != nil {
						return err
					}
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	var s *crl.Service
	build := func(b *testing.B) {
		b.Helper()
		if err := s.Build(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	block := func(b *testing.B, n int) {
		b.Helper()
		if _, err := a.Block(b.Context(), identity.Device(td, identity.Serial(fmt.Sprintf("%010d", n))), "", "benchmark"); err != nil {
			b.Fatal(err)
		}
	}
	next := 1
	for name, fresh := range map[string]bool{"start": true, "block": false} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				if fresh || s == nil {
					var err error
					if s, err = a.Revocation(crl.Config{}); err != nil {
						b.Fatal(err)
					}
				}
				if !fresh {
					build(b)
				}
				block(b, next)
				next += 2
				b.StartTimer()
				build(b)
			}
			w := httptest.NewRecorder()
			s.ServeList(w, httptest.NewRequest("GET", "/crl/device.crl", nil))
			n, err := io.Copy(io.Discard, w.Body)
			if err != nil || n < revoked {
				b.Fatal(n, err)
			}
			b.ReportMetric(float64(n), "bytes/list")
		})
	}
}
