package authority

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"go.step.sm/crypto/pemutil"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/internal/atomicfile"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Issuer is one intermediate with its key.
type Issuer struct {
	// Role is what it is for: the name of a kind of endpoint, as in "device".
	Role string
	// Generation counts the intermediates of the role, from 1.
	Generation  int
	Certificate *x509.Certificate
	Key         crypto.Signer
	// Root signed it.
	Root *x509.Certificate
	// Active: new certificates come from it. The others have certificates in use,
	// and sign revocation lists for them.
	Active bool
}

// keyID is the subject key identifier in hex, by which [Certificate.Issuer] names
// the issuer.
func (i *Issuer) keyID() string { return hex.EncodeToString(i.Certificate.SubjectKeyId) }

// keyring is what the authority works with at one time. It is never changed.
type keyring struct {
	bundle   enrol.Bundle
	roots    []*x509.Certificate // to be trusted, the active one first
	issuers  []*Issuer           // by role, newest first
	signers  map[identity.Kind]*signer
	replaced chan struct{} // closed when there is another
}

// arrange puts the intermediates below the roots of the bundle, and checks that they
// belong there, and the bundle to the roots on disk. The newest below the active
// root is the active one of its role, and there has to be one.
func (c Config) arrange(b enrol.Bundle, read []*Issuer) (*keyring, error) {
	if b.TrustDomain != c.TrustDomain {
		return nil, fmt.Errorf("%w: the trust bundle in the store is that of %q, want %q", ErrKeys, b.TrustDomain, c.TrustDomain)
	}
	if err := c.checkAnchors(b); err != nil {
		return nil, err
	}
	var roots []*x509.Certificate // the retired ones too
	for _, r := range b.Roots {
		roots = append(roots, r.Certificate)
	}
	k := &keyring{bundle: b, roots: b.Trusted(), signers: make(map[identity.Kind]*signer), replaced: make(chan struct{})}
	active := make(map[string]bool)
	for _, i := range read {
		i := *i
		if i.Root = parent(i.Certificate, roots); i.Root == nil {
			return nil, fmt.Errorf("%w: %s authority, generation %d: its root %q is not in the trust bundle", ErrKeys, i.Role, i.Generation, i.Certificate.Issuer)
		}
		i.Active = !active[i.Role] && i.Root.Equal(k.roots[0])
		active[i.Role] = active[i.Role] || i.Active
		k.issuers = append(k.issuers, &i)
	}
	for _, r := range c.roles() {
		if !active[r.name] && !r.optional {
			return nil, fmt.Errorf("%w: %s authority: no intermediate below the active root %q", ErrKeys, r.name, k.roots[0].Subject)
		}
	}
	return k, nil
}

// sign makes the signers of the active intermediates.
func (k *keyring) sign(c Config) (err error) {
	for _, i := range k.issuers {
		kind, err := identity.ParseKind(i.Role)
		if err != nil || !i.Active {
			continue // the former signs no endpoints
		}
		if k.signers[kind], err = newSigner(kind, i, k.bundle, c); err != nil {
			return err
		}
		if left := time.Until(i.Certificate.NotAfter); left < c.Lifetimes.of(kind) {
			c.Logger.Warn("the intermediate expires before the certificates it signs would; make a new one",
				"kind", kind, "expires", i.Certificate.NotAfter)
		}
	}
	return nil
}

// same tells whether there is nothing new in k.
func (k *keyring) same(old *keyring) bool {
	return k.bundle.Version == old.bundle.Version && slices.EqualFunc(k.issuers, old.issuers, func(x, y *Issuer) bool {
		return x.Role == y.Role && x.Generation == y.Generation && x.Certificate.Equal(y.Certificate)
	})
}

// checkAnchors refuses a bundle with a root that the roots on disk do not lead to:
// so who can write to the store cannot make the fleet trust a root. Then it writes
// the bundle's roots to the disk.
func (c Config) checkAnchors(b enrol.Bundle) error {
	anchors, err := c.readRoots()
	if err != nil {
		return err
	}
	trusted := b.Trusted()
	accepted, err := b.Accept(anchors)
	if err == nil && len(accepted) != len(trusted) {
		err = fmt.Errorf("only %d of its %d roots are certified by one that is", len(accepted), len(trusted))
	}
	if err != nil {
		return fmt.Errorf("%w: the trust bundle in the store does not follow from %s (was the store restored from a backup?): %w",
			ErrKeys, c.file(rootsFile), err)
	}
	if slices.EqualFunc(anchors, trusted, (*x509.Certificate).Equal) {
		return nil
	}
	return atomicfile.Write(c.file(rootsFile), enrol.EncodeCertificates(trusted...), 0o644)
}

// readRoots fails with [ErrNotInitialised] where there are none.
func (c Config) readRoots() ([]*x509.Certificate, error) {
	text, err := os.ReadFile(c.file(rootsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotInitialised, c.StateDir)
	}
	if err != nil {
		return nil, err
	}
	roots, err := enrol.ParseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.file(rootsFile), err)
	}
	return roots, nil
}

// readIssuers reads every intermediate that has not expired, and of each role the
// newest, by role and newest first. Keys of certificates among old come from there,
// because decrypting is slow on purpose. Root and Active are not set.
func (c Config) readIssuers(old []*Issuer) (out []*Issuer, err error) {
	pass, err := c.passphrase()
	if err != nil {
		return nil, err
	}
	for _, r := range c.roles() {
		generations, err := c.generations(r, certExt)
		if err == nil && len(generations) == 0 && !r.optional {
			err = fmt.Errorf("%w: there is no %s", ErrKeys, c.file(r.file(1)+certExt))
		}
		slices.Reverse(generations)
		for _, n := range generations {
			var i *Issuer
			if i, err = c.readIssuer(r, n, n == generations[0], pass, old); err != nil {
				break
			}
			if i != nil {
				out = append(out, i)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s authority: %w", r.name, err)
		}
	}
	return out, nil
}

// readIssuer gives nil for one that has expired and is not the newest.
func (c Config) readIssuer(r role, generation int, newest bool, pass []byte, old []*Issuer) (*Issuer, error) {
	path := c.file(r.file(generation) + certExt)
	cert, err := pemutil.ReadCertificate(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	if !r.fits(cert.Subject.String(), uriStrings(cert)) {
		return nil, fmt.Errorf("%w: %s: certificate of %q, want %q (trust_domain changed?)", ErrKeys, path, cert.Subject, r.template.Subject)
	}
	if !newest && time.Now().After(cert.NotAfter) {
		return nil, nil
	}
	i := &Issuer{Role: r.name, Generation: generation, Certificate: cert}
	if at := slices.IndexFunc(old, func(o *Issuer) bool { return o.Certificate.Equal(cert) }); at >= 0 {
		i.Key = old[at].Key
		return i, nil
	}
	name := r.file(generation) + keyExt
	if i.Key, err = c.readKey(name, pass); err != nil {
		return nil, err
	}
	if !enrol.SameKey(i.Key.Public(), cert.PublicKey) {
		return nil, fmt.Errorf("%w: %s is not the key of the certificate", ErrKeys, c.file(name))
	}
	return i, nil
}

// Reload looks for intermediates and for a trust bundle that somebody else has
// installed, and swaps them in: certificates come from the new intermediate from
// then on, and nothing that is going on is disturbed. It tells whether there was
// anything new. If something does not fit, everything stays as it was.
func (a *Authority) Reload(ctx context.Context) (changed bool, err error) {
	a.reload.Lock()
	defer a.reload.Unlock()
	var b enrol.Bundle
	if err := a.db.View(ctx, func(tx store.Tx) (err error) {
		b, _, err = readBundle(tx)
		return err
	}); err != nil {
		return false, err
	}
	old := a.keys.Load()
	read, err := a.cfg.readIssuers(old.issuers)
	if err != nil {
		return false, err
	}
	next, err := a.cfg.arrange(b, read)
	if err != nil || next.same(old) {
		return false, err
	}
	if err := next.sign(a.cfg); err != nil {
		return false, err
	}
	a.keys.Store(next)
	close(old.replaced)
	a.cfg.Logger.Info("keys and trust bundle swapped", "bundle", b.Version, "issuers", next.describe())
	return true, nil
}

// describe lists the active intermediates, for a log line.
func (k *keyring) describe() (out []string) {
	for _, i := range k.issuers {
		if i.Active {
			out = append(out, fmt.Sprintf("%s %d", i.Role, i.Generation))
		}
	}
	return out
}

// Changed gives a channel that is closed when intermediates or trust bundle are
// swapped. Take it before reading them.
func (a *Authority) Changed() <-chan struct{} { return a.keys.Load().replaced }

// Issuers lists the intermediates that have not expired, by role, newest first.
// Each needs a revocation list of its own.
func (a *Authority) Issuers() (out []Issuer) {
	for _, i := range a.keys.Load().issuers {
		out = append(out, *i)
	}
	return out
}

// Expiry tells until when each kind's active intermediate is valid.
func (a *Authority) Expiry() map[identity.Kind]time.Time {
	k := a.keys.Load()
	out := make(map[identity.Kind]time.Time, len(k.signers))
	for kind, s := range k.signers {
		out[kind] = s.cert.NotAfter
	}
	return out
}

// Short tells whether the kind's active intermediate expires before a certificate
// of now should: certificates are cut short, and a new intermediate is due.
func (a *Authority) Short(kind identity.Kind) bool {
	s := a.keys.Load().signers[kind]
	return s != nil && time.Until(s.cert.NotAfter) < s.lifetime
}
