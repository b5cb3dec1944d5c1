package authority

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.step.sm/crypto/keyutil"
	"go.step.sm/crypto/pemutil"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/internal/atomicfile"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// Files of the state directory.
const (
	rootsFile      = "roots.pem"
	rootKeyFile    = "root.key"
	passphraseFile = "passphrase"
)

// encryptedKey is the PEM type of an encrypted PKCS #8 key (RFC 7468 §11).
const encryptedKey = "ENCRYPTED PRIVATE KEY"

// Errors about the state directory. Compare with errors.Is.
var (
	// ErrInitialised: there are keys already; Init never replaces any.
	ErrInitialised = errors.New("the state directory holds a PKI already")
	// ErrNotInitialised: Init has not been run.
	ErrNotInitialised = errors.New("the state directory holds no PKI")
	// ErrKeys: keys and certificates in the state directory do not fit.
	ErrKeys = errors.New("unusable keys")
)

// Made tells what [Init] made.
type Made struct {
	TrustDomain identity.TrustDomain `json:"trust_domain"`
	// RootFingerprint is what endpoints pin: SHA-256 of the root, in hex.
	RootFingerprint string `json:"root_fingerprint"`
	// Intermediates are the fingerprints by kind.
	Intermediates map[string]string `json:"intermediates"`
	// RootKey is the file of the root's key, which may be moved offline now.
	RootKey string `json:"root_key"`
	// Passphrase is the file of the passphrase, empty with plain keys;
	// NewPassphrase tells whether Init made it.
	Passphrase    string `json:"passphrase"`
	NewPassphrase bool   `json:"new_passphrase"`
}

// Init makes a root, one intermediate per kind and one for the names of servers in
// the state directory, their keys encrypted. It never replaces anything. The root's key is needed again
// only for new intermediates.
func Init(cfg Config) (*Made, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, err
	}
	if _, err := os.Stat(cfg.file(rootsFile)); err == nil {
		return nil, fmt.Errorf("%w: %s", ErrInitialised, cfg.StateDir)
	}
	pass, made, err := cfg.makePassphrase()
	if err != nil {
		return nil, err
	}
	out := &Made{
		TrustDomain: cfg.TrustDomain, Intermediates: map[string]string{},
		RootKey: cfg.file(rootKeyFile), NewPassphrase: made,
	}
	if !cfg.PlainKeys {
		out.Passphrase = string(cfg.PassphraseFile)
	}
	now := time.Now()
	root := dated(profile.Root(cfg.TrustDomain), now, cfg.Lifetimes.Root)
	rootKey, err := cfg.makeKey(rootKeyFile, pass)
	if err != nil {
		return nil, err
	}
	if root, err = signCert(root, root, rootKey, rootKey); err != nil {
		return nil, err
	}
	for _, kind := range profile.SignedKinds() {
		tmpl := dated(profile.Intermediate(cfg.TrustDomain, kind), now, cfg.Lifetimes.Intermediate)
		var extra []string
		if kind != identity.KindDevice {
			extra = cfg.ExtraDNS
		}
		profile.Constrain(tmpl, cfg.TrustDomain, kind, extra...)
		key, err := cfg.makeKey(kind.String()+".key", pass)
		if err != nil {
			return nil, err
		}
		cert, err := signCert(tmpl, root, key, rootKey)
		if err != nil {
			return nil, err
		}
		if err := atomicfile.Write(cfg.file(kind.String()+".pem"), enrol.EncodeCertificates(cert), 0o644); err != nil {
			return nil, err
		}
		out.Intermediates[kind.String()] = enrol.Fingerprint(cert)
	}
	if out.Intermediates[profile.ServerAuthority], err = cfg.makeServerIssuer(root, rootKey, pass); err != nil {
		return nil, err
	}
	// Last: with it, the state directory counts as initialised.
	out.RootFingerprint = enrol.Fingerprint(root)
	return out, atomicfile.Write(cfg.file(rootsFile), enrol.EncodeCertificates(root), 0o644)
}

func (c Config) file(name string) string { return filepath.Join(c.StateDir, name) }

// dated starts a day back, so that a device whose clock is behind believes it.
func dated(c *x509.Certificate, now time.Time, life time.Duration) *x509.Certificate {
	c.NotBefore, c.NotAfter = now.Add(-24*time.Hour), now.Add(life)
	return c
}

func signCert(tmpl, parent *x509.Certificate, key, by crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// makePassphrase reads the passphrase, or draws one (256 bits) where the file is
// missing. It gives nil with plain keys.
func (c Config) makePassphrase() (pass []byte, made bool, err error) {
	if c.PlainKeys {
		return nil, false, nil
	}
	pass, err = c.passphrase()
	if !errors.Is(err, fs.ErrNotExist) {
		return pass, false, err
	}
	var random [32]byte
	rand.Read(random[:]) // never fails
	pass = hex.AppendEncode(nil, random[:])
	return pass, true, atomicfile.Write(string(c.PassphraseFile), append(slices.Clip(pass), '\n'), 0o600)
}

// passphrase gives nil with plain keys.
func (c Config) passphrase() ([]byte, error) {
	if c.PlainKeys {
		return nil, nil
	}
	pass, err := c.PassphraseFile.Read()
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	if len(pass) == 0 {
		return nil, fmt.Errorf("%w: the passphrase file %s is empty", ErrKeys, c.PassphraseFile)
	}
	return pass, nil
}

// makeKey makes a P-256 key and writes it as encrypted PKCS #8 (PBES2: PBKDF2
// with 600,000 rounds, AES-256).
func (c Config) makeKey(name string, pass []byte) (crypto.Signer, error) {
	key, err := keyutil.GenerateSigner("EC", "P-256", 0)
	if err != nil {
		return nil, err
	}
	options := []pemutil.Options{pemutil.WithPKCS8(true)}
	if pass != nil {
		options = append(options, pemutil.WithPassword(pass))
	}
	block, err := pemutil.Serialize(key, options...)
	if err != nil {
		return nil, fmt.Errorf("encrypt %s: %w", name, err)
	}
	return key, atomicfile.Write(c.file(name), pem.EncodeToMemory(block), 0o600)
}

// issuer is one kind's intermediate.
type issuer struct {
	kind identity.Kind
	cert *x509.Certificate
	key  crypto.Signer
}

// loadIssuers reads roots, intermediates and keys, and checks that they belong
// together and to the trust domain.
func (c Config) loadIssuers() (roots []*x509.Certificate, issuers []issuer, err error) {
	text, err := os.ReadFile(c.file(rootsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w: %s", ErrNotInitialised, c.StateDir)
	}
	if err != nil {
		return nil, nil, err
	}
	if roots, err = enrol.ParseCertificates(text); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.file(rootsFile), err)
	}
	pass, err := c.passphrase()
	if err != nil {
		return nil, nil, err
	}
	pool := x509.NewCertPool()
	for _, r := range roots {
		pool.AddCert(r)
	}
	for _, kind := range profile.SignedKinds() {
		i, err := c.loadIssuer(kind, pool, pass)
		if err != nil {
			return nil, nil, fmt.Errorf("%s authority: %w", kind, err)
		}
		issuers = append(issuers, i)
	}
	return roots, issuers, nil
}

func (c Config) loadIssuer(kind identity.Kind, roots *x509.CertPool, pass []byte) (issuer, error) {
	cert, err := pemutil.ReadCertificate(c.file(kind.String() + ".pem"))
	if err != nil {
		return issuer{}, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	key, err := c.readKey(kind.String()+".key", pass)
	if err != nil {
		return issuer{}, err
	}
	if !enrol.SameKey(key.Public(), cert.PublicKey) {
		return issuer{}, fmt.Errorf("%w: the key is not that of the certificate", ErrKeys)
	}
	id, err := identity.FromCert(cert)
	if want := identity.Authority(c.TrustDomain, kind); err != nil || id != want {
		return issuer{}, fmt.Errorf("%w: certificate of %s, want %s (trust_domain changed?)", ErrKeys, id, want)
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return issuer{}, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	return issuer{kind, cert, key}, nil
}

func (c Config) readKey(name string, pass []byte) (crypto.Signer, error) {
	text, err := os.ReadFile(c.file(name))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	if block, _ := pem.Decode(text); block == nil || (block.Type != encryptedKey) != c.PlainKeys {
		return nil, fmt.Errorf("%w: %s is not as plain_keys says", ErrKeys, c.file(name))
	}
	parsed, err := pemutil.ParseKey(text, pemutil.WithPassword(pass))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKeys, c.file(name), err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: %s holds no private key", ErrKeys, c.file(name))
	}
	return key, nil
}
