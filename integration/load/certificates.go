package load

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// ErrTooFew: there are fewer device certificates than devices.
var ErrTooFew = errors.New("too few device certificates")

// Certificates is where a fleet and its caller get their credentials from.
// Implementations are safe for concurrent use.
type Certificates interface {
	// TrustDomain is the domain of all of them.
	TrustDomain() identity.TrustDomain
	// Serials gives n different serials, always the same ones in the same order.
	Serials(n int) ([]identity.Serial, error)
	// Credentials gives the credentials of an endpoint.
	Credentials(id identity.ID) (*enrol.Credentials, error)
}

// FromCA issues certificates when they are asked for. The serials follow from the
// seed.
func FromCA(ca *pkitest.CA, seed uint64) Certificates { return issuer{ca, seed} }

type issuer struct {
	ca   *pkitest.CA
	seed uint64
}

func (i issuer) TrustDomain() identity.TrustDomain { return i.ca.TrustDomain }

func (i issuer) Serials(n int) ([]identity.Serial, error) {
	rng := newRand(i.seed, streamSerials)
	list := make([]identity.Serial, 0, n)
	seen := make(map[identity.Serial]bool, n)
	for len(list) < n {
		s := identity.Serial(fmt.Sprintf("%0*d", identity.SerialLen, rng.Uint64N(1e10)))
		if !seen[s] {
			seen[s] = true
			list = append(list, s)
		}
	}
	return list, nil
}

func (i issuer) Credentials(id identity.ID) (*enrol.Credentials, error) {
	return i.ca.Credentials(id), nil
}

// FromDir reads certificates from a directory in which each endpoint has one of
// its own, as [WriteDir] makes it and as enrol.Credentials are saved:
//
//	DIR/device/<serial>/{cert,key,roots}.pem
//	DIR/service/<name>/{cert,key,roots}.pem
func FromDir(dir string, td identity.TrustDomain) Certificates { return directory{dir, td} }

type directory struct {
	path string
	td   identity.TrustDomain
}

func (d directory) TrustDomain() identity.TrustDomain { return d.td }

func (d directory) Serials(n int) ([]identity.Serial, error) {
	entries, err := os.ReadDir(filepath.Join(d.path, identity.KindDevice.String()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("device certificates: %w", err)
	}
	var list []identity.Serial
	for _, e := range entries {
		if s, err := identity.ParseSerial(e.Name()); err == nil && e.IsDir() {
			list = append(list, s)
		}
	}
	if len(list) < n {
		return nil, fmt.Errorf("%w: %s has %d, want %d", ErrTooFew, d.path, len(list), n)
	}
	slices.Sort(list)
	return list[:n], nil
}

func (d directory) Credentials(id identity.ID) (*enrol.Credentials, error) {
	c, err := enrol.LoadCredentials(filepath.Join(d.path, filepath.FromSlash(id.Path())))
	if err != nil {
		return nil, err
	}
	if c.ID() != id {
		return nil, fmt.Errorf("%s holds the certificate of %s, want %s", d.path, c.ID(), id)
	}
	return c, nil
}

// WriteDir makes a directory for [FromDir] with the certificates of n devices and
// of the other endpoints.
func WriteDir(dir string, certs Certificates, n int, others ...identity.ID) error {
	serials, err := certs.Serials(n)
	if err != nil {
		return err
	}
	for _, s := range serials {
		others = append(others, identity.Device(certs.TrustDomain(), s))
	}
	return inParallel(len(others), func(i int) error {
		c, err := certs.Credentials(others[i])
		if err != nil {
			return err
		}
		return c.Save(filepath.Join(dir, filepath.FromSlash(others[i].Path())))
	})
}
