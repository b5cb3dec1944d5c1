package authority

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.step.sm/crypto/pemutil"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/internal/atomicfile"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// Files of the intermediate for the names of servers.
const (
	serverCertFile = profile.ServerAuthority + ".pem"
	serverKeyFile  = profile.ServerAuthority + ".key"
)

// ErrNoServerAuthority: the state directory was made before there was an
// intermediate for the names of servers. [InitServer] makes it.
var ErrNoServerAuthority = errors.New("no intermediate for the names of servers")

// InitServer makes the intermediate for the names of servers in a state directory
// that [Init] made without one; it needs the root's key there. It gives the
// intermediate's fingerprint, and [ErrInitialised] where there is one.
func InitServer(cfg Config) (fingerprint string, err error) {
	if err := cfg.Validate(); err != nil {
		return "", err
	}
	cfg = cfg.withDefaults()
	if _, err := os.Stat(cfg.file(serverCertFile)); err == nil {
		return "", fmt.Errorf("%w: %s", ErrInitialised, cfg.file(serverCertFile))
	}
	text, err := os.ReadFile(cfg.file(rootsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s", ErrNotInitialised, cfg.StateDir)
	}
	if err != nil {
		return "", err
	}
	roots, err := enrol.ParseCertificates(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", cfg.file(rootsFile), err)
	}
	pass, err := cfg.passphrase()
	if err != nil {
		return "", err
	}
	rootKey, err := cfg.readKey(rootKeyFile, pass)
	if err != nil {
		return "", err
	}
	if !enrol.SameKey(rootKey.Public(), roots[0].PublicKey) {
		return "", fmt.Errorf("%w: %s is not the key of the first root", ErrKeys, cfg.file(rootKeyFile))
	}
	return cfg.makeServerIssuer(roots[0], rootKey, pass)
}

// makeServerIssuer writes key and certificate, the latter last, and gives its
// fingerprint.
func (c Config) makeServerIssuer(root *x509.Certificate, rootKey crypto.Signer, pass []byte) (string, error) {
	tmpl, err := profile.ServerIntermediate(c.TrustDomain, c.ServerNames...)
	if err != nil {
		return "", err
	}
	key, err := c.makeKey(serverKeyFile, pass)
	if err != nil {
		return "", err
	}
	cert, err := signCert(dated(tmpl, time.Now(), c.Lifetimes.Intermediate), root, key, rootKey)
	if err != nil {
		return "", err
	}
	return enrol.Fingerprint(cert), atomicfile.Write(c.file(serverCertFile), enrol.EncodeCertificates(cert), 0o644)
}

// ServerIssuer is the intermediate that signs the names of servers.
type ServerIssuer struct {
	Roots []*x509.Certificate // the trust bundle
	Cert  *x509.Certificate
	Key   crypto.Signer
}

// LoadServerIssuer reads the intermediate for the names of servers with its key,
// and checks that both belong together and to the trust domain. Errors wrap
// [ErrNoServerAuthority], [ErrNotInitialised] or [ErrKeys].
func LoadServerIssuer(cfg Config) (*ServerIssuer, error) {
	cfg = cfg.withDefaults()
	roots, err := pemutil.ReadCertificateBundle(cfg.file(rootsFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotInitialised, err)
	}
	cert, err := pemutil.ReadCertificate(cfg.file(serverCertFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s", ErrNoServerAuthority, cfg.StateDir)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	pass, err := cfg.passphrase()
	if err != nil {
		return nil, err
	}
	key, err := cfg.readKey(serverKeyFile, pass)
	if err != nil {
		return nil, err
	}
	switch {
	case !enrol.SameKey(key.Public(), cert.PublicKey):
		err = errors.New("the key is not that of the certificate")
	case !profile.IsServerAuthority(cert, cfg.TrustDomain):
		err = fmt.Errorf("certificate of %q, want that of the server authority of %s (trust_domain changed?)", cert.Subject.CommonName, cfg.TrustDomain)
	default:
		pool := x509.NewCertPool()
		for _, r := range roots {
			pool.AddCert(r)
		}
		_, err = cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	}
	if err != nil {
		return nil, fmt.Errorf("%w: server authority: %w", ErrKeys, err)
	}
	return &ServerIssuer{Roots: roots, Cert: cert, Key: key}, nil
}
