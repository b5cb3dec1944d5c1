package enrol

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// ErrCredentials is wrapped by every error about credentials that do not fit
// together: no certificate, a key of another certificate, no root.
var ErrCredentials = errors.New("unusable credentials")

// Credentials are what an endpoint needs to speak TLS in the cloud: its
// certificate chain and key, and the roots that it trusts. They may be swapped
// while connections are being made; every handshake sees one consistent set.
//
// All methods are safe for concurrent use.
type Credentials struct {
	swap  sync.Mutex // held during a swap, so that no two swaps cross
	cur   atomic.Pointer[material]
	clock atomic.Pointer[Clock] // nil: the machine's own
}

// material is one generation of credentials. It is never changed.
type material struct {
	cert    tls.Certificate // Leaf is set
	id      identity.ID
	roots   []*x509.Certificate
	pool    *x509.CertPool
	version uint64        // of the trust bundle; 0 if the roots came without one
	changed chan struct{} // closed when this generation has been replaced
}

// NewCredentials puts a certificate chain (leaf first, root left out) with its
// key and the trusted roots together. The key must be the leaf's, the leaf must
// carry an identity, and there must be a root. Dates and signatures are not
// checked: an expired certificate is still what a device has to renew with.
func NewCredentials(cert tls.Certificate, roots []*x509.Certificate) (*Credentials, error) {
	return newCredentials(cert, roots, 0)
}

func newCredentials(cert tls.Certificate, roots []*x509.Certificate, version uint64) (*Credentials, error) {
	m, err := newMaterial(cert, roots)
	if err != nil {
		return nil, err
	}
	m.version = version
	c := &Credentials{}
	c.cur.Store(m)
	return c, nil
}

func newMaterial(cert tls.Certificate, roots []*x509.Certificate) (*material, error) {
	if len(cert.Certificate) == 0 {
		return nil, fmt.Errorf("%w: no certificate", ErrCredentials)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("%w: leaf: %w", ErrCredentials, err)
	}
	cert.Leaf = leaf
	key, ok := cert.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: the private key cannot sign", ErrCredentials)
	}
	if !SameKey(key.Public(), leaf.PublicKey) {
		return nil, fmt.Errorf("%w: the key is not that of the certificate", ErrCredentials)
	}
	id, err := identity.FromCert(leaf)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCredentials, err)
	}
	if len(roots) == 0 {
		return nil, fmt.Errorf("%w: no trusted root", ErrCredentials)
	}
	pool := x509.NewCertPool()
	for _, r := range roots {
		pool.AddCert(r)
	}
	return &material{cert: cert, id: id, roots: roots, pool: pool, changed: make(chan struct{})}, nil
}

// SameKey reports whether two public keys are equal.
func SameKey(a, b crypto.PublicKey) bool {
	eq, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && eq.Equal(b)
}

// SetClock makes every later configuration verify the other side by this clock,
// and tell it what certificates prove. Devices do it, whose own clock may be wrong;
// servers judge by theirs.
func (c *Credentials) SetClock(clock *Clock) {
	m := c.cur.Load()
	clock.Saw(m.cert.Leaf.NotBefore)
	for _, r := range m.roots {
		clock.Saw(r.NotBefore)
	}
	c.clock.Store(clock)
}

// Learn lets the clock that was set learn from a handshake that failed; see
// [Clock.Learn].
func (c *Credentials) Learn(err error) bool { return c.clock.Load().Learn(err, c.Pool()) }

// ID is the endpoint that the credentials speak for. It never changes.
func (c *Credentials) ID() identity.ID { return c.cur.Load().id }

// Leaf is the current certificate. Callers must not change it.
func (c *Credentials) Leaf() *x509.Certificate { return c.cur.Load().cert.Leaf }

// Certificate is the current chain with its key. Callers must not change what
// it points to.
func (c *Credentials) Certificate() tls.Certificate { return c.cur.Load().cert }

// Roots lists the trusted roots. Callers must not change them.
func (c *Credentials) Roots() []*x509.Certificate { return c.cur.Load().roots }

// Pool holds the trusted roots. Callers must not add to it.
func (c *Credentials) Pool() *x509.CertPool { return c.cur.Load().pool }

// Changed gives a channel that is closed at the next swap. Take the channel
// before reading the credentials, and take a new one after it has closed.
func (c *Credentials) Changed() <-chan struct{} { return c.cur.Load().changed }

// BundleVersion is the version of the trust bundle that the roots are from, 0 if
// it is not known.
func (c *Credentials) BundleVersion() uint64 { return c.cur.Load().version }

// Swap replaces certificate, key and roots for every later handshake. Nil roots
// keep the present ones. A certificate of another identity is refused with
// [ErrCredentials], and nothing changes.
func (c *Credentials) Swap(cert tls.Certificate, roots []*x509.Certificate) error {
	return c.replace(func(old *material) (*material, error) {
		version := uint64(0)
		if roots == nil {
			roots, version = old.roots, old.version
		}
		m, err := newMaterial(cert, roots)
		if err == nil {
			m.version = version
		}
		return m, err
	})
}

// Adopt takes over all of next, as in Swap.
func (c *Credentials) Adopt(next *Credentials) error {
	n := next.cur.Load()
	return c.replace(func(*material) (*material, error) { return n.with(n.roots, n.version) })
}

// SwapBundle replaces the roots by those of the bundle, for every later handshake.
// It takes only roots that [Bundle.Accept] lets in. A bundle that is older than the
// present one is refused with [ErrBundle]: somebody turned back the time, or the PKI
// was restored from a backup. changed tells whether the version is a new one.
func (c *Credentials) SwapBundle(b Bundle) (changed bool, err error) {
	err = c.replace(func(old *material) (*material, error) {
		if b.Version < old.version {
			return nil, fmt.Errorf("%w: version %d after %d", ErrBundle, b.Version, old.version)
		}
		if b.Version == old.version {
			return old, nil
		}
		roots, err := b.Accept(old.roots)
		if err != nil {
			return nil, err
		}
		changed = true
		return old.with(roots, b.Version)
	})
	return changed && err == nil, err
}

// with gives the same certificate and key with other roots.
func (m *material) with(roots []*x509.Certificate, version uint64) (*material, error) {
	next, err := newMaterial(m.cert, roots)
	if err == nil {
		next.version = version
	}
	return next, err
}

// replace stores what next makes of the present generation, unless that is it.
func (c *Credentials) replace(next func(old *material) (*material, error)) error {
	c.swap.Lock()
	defer c.swap.Unlock()
	old := c.cur.Load()
	m, err := next(old)
	if err != nil || m == old {
		return err
	}
	if m.id != old.id {
		return fmt.Errorf("%w: cannot swap %s for %s", ErrCredentials, old.id, m.id)
	}
	c.cur.Store(m)
	close(old.changed)
	return nil
}
