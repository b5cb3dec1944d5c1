package enrol

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/internal/atomicfile"
)

const csrBlock = "CERTIFICATE REQUEST"

// NewRequest makes a P-256 key and a certificate request for it (PEM). The
// request carries no names: what a certificate says comes from the token or from
// the certificate that is renewed, never from the request.
func NewRequest() (key crypto.Signer, csr []byte, err error) {
	key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	csr, err = EncodeRequest(key, &x509.CertificateRequest{})
	return key, csr, err
}

// requestWith makes a certificate request for the key in the file, which it makes where
// there is none. An empty path means a key that is not kept.
func requestWith(path string) (key crypto.Signer, csr []byte, err error) {
	if path == "" {
		return NewRequest()
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return keptRequest(path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("key of the enrolment: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, nil, fmt.Errorf("%w: %s holds no key in PEM form; remove it", ErrCredentials, path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w; remove it", ErrCredentials, path, err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, nil, fmt.Errorf("%w: the key in %s cannot sign; remove it", ErrCredentials, path)
	}
	csr, err = EncodeRequest(key, &x509.CertificateRequest{})
	return key, csr, err
}

// keptRequest is NewRequest with the key on the disk before anybody hears of it.
func keptRequest(path string) (key crypto.Signer, csr []byte, err error) {
	if key, csr, err = NewRequest(); err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = atomicfile.Write(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("key of the enrolment: %w", err)
	}
	return key, csr, nil
}

// EncodeRequest signs a certificate request with the key and writes it as PEM.
func EncodeRequest(key crypto.Signer, tmpl *x509.CertificateRequest) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate request: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: csrBlock, Bytes: der}), nil
}

// ParseRequest reads a certificate request from PEM text and checks its
// signature (RFC 2986 §3). Errors wrap [ErrBadRequest].
func ParseRequest(text []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != csrBlock {
		return nil, fmt.Errorf("%w: no %s in PEM form", ErrBadRequest, csrBlock)
	}
	return ParseRequestDER(block.Bytes)
}

// ParseRequestDER is [ParseRequest] for a request in DER.
func ParseRequestDER(der []byte) (*x509.CertificateRequest, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("%w: certificate request: %w", ErrBadRequest, err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: signature of the certificate request: %w", ErrBadRequest, err)
	}
	return csr, nil
}

// Credentials puts an answer together with the key that was made for it. The
// chain must lead to one of the roots. Of these, the credentials get those that
// somebody who trusts the trusted ones may trust; see [Bundle.Accept]. Nil trusts
// whatever the answer says.
func (i Issued) Credentials(key crypto.Signer, trusted []*x509.Certificate) (*Credentials, error) {
	chain, err := ParseCertificates([]byte(i.Chain))
	if err != nil {
		return nil, fmt.Errorf("issued chain: %w", err)
	}
	roots, version, err := i.trust(trusted)
	if err != nil {
		return nil, err
	}
	cert := tls.Certificate{PrivateKey: key}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	creds, err := newCredentials(cert, roots, version)
	if err != nil {
		return nil, err
	}
	return creds, verifyChain(chain, creds.Pool())
}

// trust gives the roots that may be trusted by who trusts the given ones.
func (i Issued) trust(trusted []*x509.Certificate) (roots []*x509.Certificate, version uint64, err error) {
	if b := i.Bundle; b != nil {
		if trusted == nil {
			trusted = b.Trusted()
		}
		if roots, err = b.Accept(trusted); err != nil {
			return nil, 0, fmt.Errorf("%w: issued roots: %w", ErrCredentials, err)
		}
		return roots, b.Version, nil
	}
	if roots, err = ParseCertificates([]byte(i.Roots)); err != nil {
		return nil, 0, fmt.Errorf("issued roots: %w", err)
	}
	if trusted != nil {
		roots = slices.DeleteFunc(roots, func(c *x509.Certificate) bool { return !contains(trusted, c) })
	}
	if len(roots) == 0 {
		return nil, 0, fmt.Errorf("%w: the issued roots share none with the trusted ones", ErrCredentials)
	}
	return roots, 0, nil
}

// verifyChain checks names and signatures. It asks at the leaf's own start of
// validity, because a device may not know the time yet.
func verifyChain(chain []*x509.Certificate, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	chains, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: chain[0].NotBefore,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return fmt.Errorf("%w: issued chain: %w", ErrCredentials, err)
	}
	if _, err := identity.FromChain(chains[0]); err != nil {
		return fmt.Errorf("%w: issued chain: %w", ErrCredentials, err)
	}
	return nil
}
