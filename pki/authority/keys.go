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
	"strings"
	"time"

	"go.step.sm/crypto/keyutil"
	"go.step.sm/crypto/pemutil"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
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
	// LogKey is the public key of the audit log, for those who watch over it.
	LogKey audit.Key `json:"log_key"`
	// RootKey is the file of the root's key, which may be moved offline now.
	RootKey string `json:"root_key"`
	// Passphrase is the file of the passphrase, empty with plain keys;
	// NewPassphrase tells whether Init made it.
	Passphrase    string `json:"passphrase"`
	NewPassphrase bool   `json:"new_passphrase"`
	// KMS tells that the keys are in a key management system.
	KMS bool `json:"kms,omitempty"`
}

// Init makes a root, one intermediate per kind and one for the names of servers, and
// the key of the audit log in the state directory, the keys encrypted. It never
// replaces anything. The root's key is needed again only for new intermediates.
func Init(cfg Config) (*Made, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	pass, made, err := cfg.prepare()
	if err != nil {
		return nil, err
	}
	logPass, logMade, err := cfg.drawPassphrase()
	if err != nil {
		return nil, err
	}
	out := &Made{
		TrustDomain: cfg.TrustDomain, Intermediates: map[string]string{},
		RootKey: cfg.keyFile(rootKeyFile), NewPassphrase: made || logMade, KMS: cfg.external(),
	}
	if !cfg.PlainKeys {
		out.Passphrase = string(cfg.PassphraseFile)
	}
	root, rootKey, err := cfg.makeRoot("", pass)
	if err != nil {
		return nil, err
	}
	for _, r := range cfg.roles() {
		if out.Intermediates[r.name], err = cfg.makeIssuer(r, root, rootKey, pass); err != nil {
			return nil, err
		}
	}
	if out.LogKey, err = cfg.makeLogKey(logPass); err != nil {
		return nil, err
	}
	// Last: with it, the state directory counts as initialised.
	out.RootFingerprint = enrol.Fingerprint(root)
	return out, atomicfile.Write(cfg.file(rootsFile), enrol.EncodeCertificates(root), 0o644)
}

// makeIssuer makes the first intermediate of a role, the certificate last, and gives its
// fingerprint.
func (c Config) makeIssuer(r role, root *x509.Certificate, rootKey crypto.Signer, pass []byte) (string, error) {
	key, err := c.makeKey(r.file(1)+keyExt, pass)
	if err != nil {
		return "", err
	}
	cert, err := signCert(dated(r.template, time.Now(), c.Lifetimes.Intermediate), root, key, rootKey)
	if err != nil {
		return "", err
	}
	return enrol.Fingerprint(cert), atomicfile.Write(c.file(r.file(1)+certExt), enrol.EncodeCertificates(cert), 0o644)
}

func (c Config) file(name string) string { return filepath.Join(c.StateDir, name) }

// keyFile is where a new key is, or what names it.
func (c Config) keyFile(name string) string {
	if c.external() {
		name = strings.TrimSuffix(name, keyExt) + kmsExt
	}
	return c.file(name)
}

// dated starts a day back, so that a device whose clock is behind believes it.
func dated(c *x509.Certificate, now time.Time, life time.Duration) *x509.Certificate {
	c.NotBefore, c.NotAfter = now.Add(-24*time.Hour), now.Add(life)
	return c
}

func signCert(tmpl, parent *x509.Certificate, key, by crypto.Signer) (*x509.Certificate, error) {
	return signFor(tmpl, parent, key.Public(), by)
}

func signFor(tmpl, parent *x509.Certificate, public crypto.PublicKey, by crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, public, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// prepare makes the state directory, which must not have a root, and the
// passphrase.
func (c Config) prepare() (pass []byte, made bool, err error) {
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		return nil, false, err
	}
	if _, err := os.Stat(c.file(rootsFile)); err == nil {
		return nil, false, fmt.Errorf("%w: %s", ErrInitialised, c.StateDir)
	}
	return c.makePassphrase()
}

// makeRoot makes the root's key, which it writes, and its certificate.
func (c Config) makeRoot(label string, pass []byte) (*x509.Certificate, crypto.Signer, error) {
	tmpl := dated(profile.Root(c.TrustDomain), time.Now(), c.Lifetimes.Root)
	if label != "" {
		tmpl.Subject.CommonName += " " + label
	}
	key, err := c.makeKey(rootKeyFile, pass)
	if err != nil {
		return nil, nil, err
	}
	root, err := signCert(tmpl, tmpl, key, key)
	return root, key, err
}

// makePassphrase is drawPassphrase for the keys of certificates. It gives nil where
// they are not in files.
func (c Config) makePassphrase() (pass []byte, made bool, err error) {
	if c.external() {
		return nil, false, nil
	}
	return c.drawPassphrase()
}

// drawPassphrase reads the passphrase, or draws one (256 bits) where the file is
// missing. It gives nil with plain keys.
func (c Config) drawPassphrase() (pass []byte, made bool, err error) {
	if c.PlainKeys {
		return nil, false, nil
	}
	pass, err = c.readPassphrase()
	if !errors.Is(err, fs.ErrNotExist) {
		return pass, false, err
	}
	var random [32]byte
	rand.Read(random[:]) // never fails
	pass = hex.AppendEncode(nil, random[:])
	return pass, true, atomicfile.Write(string(c.PassphraseFile), append(slices.Clip(pass), '\n'), 0o600)
}

// passphrase gives nil with plain keys, and where no key in a file has needed one yet.
func (c Config) passphrase() ([]byte, error) {
	if c.PlainKeys {
		return nil, nil
	}
	pass, err := c.readPassphrase()
	if errors.Is(err, fs.ErrNotExist) && c.external() {
		return nil, nil
	}
	return pass, err
}

func (c Config) readPassphrase() ([]byte, error) {
	pass, err := c.PassphraseFile.Read()
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	if len(pass) == 0 {
		return nil, fmt.Errorf("%w: the passphrase file %s is empty", ErrKeys, c.PassphraseFile)
	}
	return pass, nil
}

// makeKey makes a P-256 key in the key management system, or writes it as encrypted
// PKCS #8 (PBES2: PBKDF2 with 600,000 rounds, AES-256).
func (c Config) makeKey(name string, pass []byte) (crypto.Signer, error) {
	if c.external() {
		return c.makeExternalKey(strings.TrimSuffix(name, keyExt))
	}
	key, err := keyutil.GenerateSigner("EC", "P-256", 0)
	if err != nil {
		return nil, err
	}
	return key, c.writeKey(name, key, pass)
}

// writeKey writes a key as encrypted PKCS #8 (PBES2: PBKDF2 with 600,000 rounds,
// AES-256).
func (c Config) writeKey(name string, key crypto.Signer, pass []byte) error {
	options := []pemutil.Options{pemutil.WithPKCS8(true)}
	if pass != nil {
		options = append(options, pemutil.WithPassword(pass))
	}
	block, err := pemutil.Serialize(key, options...)
	if err != nil {
		return fmt.Errorf("encrypt %s: %w", name, err)
	}
	return atomicfile.Write(c.file(name), pem.EncodeToMemory(block), 0o600)
}

func (c Config) readKey(name string, pass []byte) (crypto.Signer, error) {
	if key, err := c.readExternalKey(strings.TrimSuffix(name, keyExt)); key != nil || err != nil {
		return key, err
	}
	text, err := os.ReadFile(c.file(name))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	if block, _ := pem.Decode(text); block == nil || (block.Type != encryptedKey) != c.PlainKeys {
		return nil, fmt.Errorf("%w: %s is not as plain_keys says", ErrKeys, c.file(name))
	}
	if !c.PlainKeys && pass == nil { // pemutil would ask at the terminal
		return nil, fmt.Errorf("%w: %s is encrypted, and there is no passphrase in %s", ErrKeys, c.file(name), c.PassphraseFile)
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
