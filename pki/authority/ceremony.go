package authority

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/internal/atomicfile"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// The steps of a key ceremony. MakeRoot, SignRequest and CrossSign run on the
// machine with the root's key, which needs no network and no store;
// RequestIntermediates and Install run on the machine of the PKI, also while it
// serves. Between the two go certificate requests and certificates, never a key.

// ErrCeremony: a step of a ceremony does not fit to the one before.
var ErrCeremony = errors.New("the ceremony cannot go on")

// MakeRoot makes a root's key and certificate in the state directory. A label sets
// the name of the root apart from those of others, as in "2026".
func MakeRoot(cfg Config, label string) (*x509.Certificate, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	pass, _, err := cfg.prepare()
	if err != nil {
		return nil, err
	}
	root, _, err := cfg.makeRoot(label, pass)
	if err != nil {
		return nil, err
	}
	return root, atomicfile.Write(cfg.file(rootsFile), enrol.EncodeCertificates(root), 0o644)
}

// Request is a certificate request for an intermediate.
type Request struct {
	// Name is that of the files, as in "device-2".
	Name string
	// CSR is the request as PEM text.
	CSR []byte
}

// RequestIntermediates makes keys for the next generation of the roles, or of all
// roles if there are none, and gives requests for their certificates. Keys for which
// there is no certificate yet are used again.
func RequestIntermediates(cfg Config, roles ...string) (out []Request, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, err
	}
	pass, _, err := cfg.makePassphrase()
	if err != nil {
		return nil, err
	}
	if len(roles) == 0 {
		for _, r := range cfg.roles() {
			roles = append(roles, r.name)
		}
	}
	for _, name := range roles {
		r, err := cfg.role(name)
		if err != nil {
			return nil, err
		}
		one, err := cfg.request(r, pass)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, one)
	}
	return out, nil
}

func (c Config) request(r role, pass []byte) (Request, error) {
	generations, err := c.generations(r, certExt)
	if err != nil {
		return Request{}, err
	}
	next := 1
	if len(generations) > 0 {
		next = generations[len(generations)-1] + 1
	}
	name := r.file(next)
	key, err := c.readKey(name+keyExt, pass)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = c.makeKey(name+keyExt, pass)
	}
	if err != nil {
		return Request{}, err
	}
	csr, err := enrol.EncodeRequest(key, &x509.CertificateRequest{Subject: r.template.Subject, URIs: r.template.URIs})
	if err != nil {
		return Request{}, err
	}
	return Request{name, csr}, atomicfile.Write(c.file(name+csrExt), csr, 0o644)
}

// SignRequest makes the certificate of an intermediate with the root's key in the
// state directory. Of the request it takes the key; all else is the profile's. The
// certificate ends with the root at the latest.
func SignRequest(cfg Config, req Request) (*x509.Certificate, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	r, err := cfg.roleOf(req.Name)
	if err != nil {
		return nil, err
	}
	csr, err := enrol.ParseRequest(req.CSR)
	if err != nil {
		return nil, err
	}
	var uris []string
	for _, u := range csr.URIs {
		uris = append(uris, u.String())
	}
	if !r.fits(csr.Subject.String(), uris) {
		return nil, fmt.Errorf("%w: the request %s is for %q %v, want %q %v (another trust domain?)",
			ErrCeremony, req.Name, csr.Subject, uris, r.template.Subject, r.uris())
	}
	if err := checkKey(csr.PublicKey); err != nil {
		return nil, err
	}
	root, key, err := cfg.readRoot()
	if err != nil {
		return nil, err
	}
	return issue(dated(r.template, time.Now(), cfg.Lifetimes.Intermediate), root, csr.PublicKey, key)
}

// roleOf finds the role whose files have the name.
func (c Config) roleOf(name string) (role, error) {
	for _, r := range c.roles() {
		if r.generation(name) > 0 {
			return r, nil
		}
	}
	return role{}, fmt.Errorf("%w: %q is the name of no intermediate, as in %s", ErrCeremony, name, c.roles()[0].file(2))
}

// CrossSign certifies the name and the key of a newer root with the root's key in
// the state directory, until the older of both ends, or until a date before that,
// if it is not zero.
func CrossSign(cfg Config, newer *x509.Certificate, until time.Time) (*x509.Certificate, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if !enrol.SelfSigned(newer) {
		return nil, fmt.Errorf("%w: %q is not a root", ErrCeremony, newer.Subject)
	}
	root, key, err := cfg.readRoot()
	if err != nil {
		return nil, err
	}
	if root.Equal(newer) {
		return nil, fmt.Errorf("%w: %q would certify itself; take the state directory of the older root", ErrCeremony, root.Subject)
	}
	if root.MaxPathLen < 2 && root.MaxPathLen >= 0 {
		return nil, fmt.Errorf("%w: %q permits no chain of a cross certificate and an intermediate", ErrCeremony, root.Subject)
	}
	tmpl := profile.Cross(newer)
	tmpl.NotBefore, tmpl.NotAfter = newer.NotBefore, newer.NotAfter
	if !until.IsZero() && until.Before(tmpl.NotAfter) {
		tmpl.NotAfter = until
	}
	return issue(tmpl, root, newer.PublicKey, key)
}

// issue signs a template, cut to the life of the issuer.
func issue(tmpl, by *x509.Certificate, public any, key crypto.Signer) (*x509.Certificate, error) {
	if tmpl.NotAfter.After(by.NotAfter) {
		tmpl.NotAfter = by.NotAfter
	}
	if !tmpl.NotBefore.Before(tmpl.NotAfter) {
		return nil, fmt.Errorf("%w: %q expired at %s", ErrCeremony, by.Subject, by.NotAfter)
	}
	return signFor(tmpl, by, public, key)
}

// Install puts certificates of intermediates to the keys that RequestIntermediates
// made, and gives the names of their files. They are in use after
// [Authority.Reload], or from the next start on.
func Install(cfg Config, certs ...*x509.Certificate) (names []string, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	roots, err := cfg.readRoots()
	if err != nil {
		return nil, err
	}
	pass, err := cfg.passphrase()
	if err != nil {
		return nil, err
	}
	for _, cert := range certs { // all are checked before one is installed
		name, err := cfg.pending(cert, pass)
		if err == nil {
			err = installable(cert, roots)
		}
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	for i, cert := range certs {
		if err := atomicfile.Write(cfg.file(names[i]+certExt), enrol.EncodeCertificates(cert), 0o644); err != nil {
			return nil, err
		}
		if err := os.Remove(cfg.file(names[i] + csrExt)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return names, nil
}

// pending finds the key of a certificate among those that have none yet.
func (c Config) pending(cert *x509.Certificate, pass []byte) (string, error) {
	for _, r := range c.roles() {
		if !r.fits(cert.Subject.String(), uriStrings(cert)) {
			continue
		}
		generations, err := c.generations(r, csrExt)
		if err != nil {
			return "", err
		}
		for _, n := range generations {
			text, err := os.ReadFile(c.file(r.file(n) + csrExt))
			if err != nil {
				return "", err
			}
			csr, err := enrol.ParseRequest(text)
			if err != nil {
				return "", fmt.Errorf("%s: %w", c.file(r.file(n)+csrExt), err)
			}
			if !enrol.SameKey(csr.PublicKey, cert.PublicKey) {
				continue
			}
			key, err := c.readKey(r.file(n)+keyExt, pass)
			if err != nil {
				return "", err
			}
			if !enrol.SameKey(key.Public(), cert.PublicKey) {
				return "", fmt.Errorf("%w: %s is not the key of the request beside it", ErrKeys, c.file(r.file(n)+keyExt))
			}
			return r.file(n), nil
		}
	}
	return "", fmt.Errorf("%w: no key in %s waits for the certificate of %q", ErrCeremony, c.StateDir, cert.Subject)
}

// installable refuses what no intermediate of ours looks like.
func installable(cert *x509.Certificate, roots []*x509.Certificate) error {
	switch {
	case !cert.IsCA || cert.MaxPathLen != 0 || !cert.MaxPathLenZero:
		return fmt.Errorf("%w: %q is not the certificate of an authority that signs leaves only", ErrCeremony, cert.Subject)
	case !cert.PermittedDNSDomainsCritical || len(cert.PermittedURIDomains) == 0:
		return fmt.Errorf("%w: %q has no critical name constraints", ErrCeremony, cert.Subject)
	case time.Now().After(cert.NotAfter):
		return fmt.Errorf("%w: %q expired at %s", ErrCeremony, cert.Subject, cert.NotAfter)
	case parent(cert, roots) == nil:
		return fmt.Errorf("%w: %q is signed by %q, which is not a root of the trust bundle; \"pki bundle add\" it first", ErrCeremony, cert.Subject, cert.Issuer)
	}
	return nil
}

// InstallRoot begins the state directory of a PKI whose root was made elsewhere. The
// fingerprint is that of the printed protocol, so that nobody in between can slip in
// another root.
func InstallRoot(cfg Config, root *x509.Certificate, fingerprint string) error {
	cfg = cfg.withDefaults()
	if _, err := os.Stat(cfg.file(rootsFile)); err == nil {
		return fmt.Errorf("%w: %s", ErrInitialised, cfg.StateDir)
	}
	if got := enrol.Fingerprint(root); !enrol.SelfSigned(root) || got != plainHex(fingerprint) {
		return fmt.Errorf("%w: the root has the fingerprint %s, want %s", enrol.ErrFingerprint, got, fingerprint)
	}
	return atomicfile.Write(cfg.file(rootsFile), enrol.EncodeCertificates(root), 0o644)
}

// RenewIntermediates does the steps of a ceremony at once, with a root's key in the
// state directory, and gives the names of the files. No role means all.
func RenewIntermediates(cfg Config, roles ...string) (certs []*x509.Certificate, names []string, err error) {
	if _, _, err := cfg.withDefaults().readRoot(); err != nil {
		return nil, nil, err // before there are keys
	}
	requests, err := RequestIntermediates(cfg, roles...)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range requests {
		cert, err := SignRequest(cfg, r)
		if err != nil {
			return nil, nil, err
		}
		certs = append(certs, cert)
	}
	names, err = Install(cfg, certs...)
	return certs, names, err
}

// plainHex drops what people put between the digits.
func plainHex(fingerprint string) string {
	return strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(fingerprint))
}

// SigningRoot is the root whose key is in the state directory.
func SigningRoot(cfg Config) (*x509.Certificate, error) {
	root, _, err := cfg.withDefaults().readRoot()
	return root, err
}

// KeyFile is where the key of a name is that RequestIntermediates or MakeRoot makes,
// or where it says what the key management system calls it.
func (c Config) KeyFile(name string) string { return c.keyFile(name + keyExt) }

// readRoot reads the root's key and finds its certificate.
func (c Config) readRoot() (*x509.Certificate, crypto.Signer, error) {
	roots, err := c.readRoots()
	if err != nil {
		return nil, nil, err
	}
	pass, err := c.passphrase()
	if err != nil {
		return nil, nil, err
	}
	key, err := c.readKey(rootKeyFile, pass)
	if err != nil {
		return nil, nil, err
	}
	at := slices.IndexFunc(roots, func(r *x509.Certificate) bool { return enrol.SameKey(r.PublicKey, key.Public()) })
	if at < 0 {
		return nil, nil, fmt.Errorf("%w: %s is the key of none of the roots in %s", ErrKeys, c.file(rootKeyFile), c.file(rootsFile))
	}
	return roots[at], key, nil
}
