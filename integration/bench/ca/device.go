package ca

import (
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net/url"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

const trustDomain = identity.DefaultTrustDomain

// device asks for one certificate. Its request has the names that the certificate
// will have, as step-ca demands; ours permits it.
type device struct {
	id  identity.ID
	csr []byte // PEM
}

// Serials of the devices in the large store begin at storedBase, those of other
// devices at a random one above askingBase, since a store may be used again.
const (
	storedBase = 1_000_000_000
	askingBase = 3_000_000_000
	askingMost = 6_000_000_000
)

func deviceID(n int64) identity.ID {
	return identity.Device(trustDomain, identity.Serial(fmt.Sprintf("%010d", n)))
}

// makeDevices makes a key and a request for each.
func makeDevices(n int) ([]device, error) {
	base := askingBase + rand.Int64N(askingMost) //nolint:gosec // not a secret
	list := make([]device, n)
	err := parallel(n, runtime.GOMAXPROCS(0), func(i int) error {
		id := deviceID(base + int64(i))
		want := profile.Leaf(id, profile.Extra{})
		csr, err := enrol.EncodeRequest(pkitest.NewKey(), &x509.CertificateRequest{
			Subject: want.Subject, URIs: []*url.URL{id.URI()}, DNSNames: want.DNSNames,
		})
		list[i] = device{id, csr}
		return err
	})
	return list, err
}

// parallel calls f for every number below n, with some workers.
func parallel(n, workers int, f func(i int) error) error {
	var next atomic.Int64
	var g errgroup.Group
	for range workers {
		g.Go(func() error {
			for {
				i := int(next.Add(1) - 1)
				if i >= n {
					return nil
				}
				if err := f(i); err != nil {
					next.Store(int64(n))
					return err
				}
			}
		})
	}
	return g.Wait()
}
