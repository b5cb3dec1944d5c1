package authority

import (
	"fmt"
	"io"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/crl"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

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
