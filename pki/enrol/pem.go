package enrol

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ErrPEM is wrapped by the errors about certificate files that cannot be read.
var ErrPEM = errors.New("not a certificate bundle")

const certBlock = "CERTIFICATE"

// ParseCertificates reads one or more certificates from PEM text. Anything else
// in the text (another block, trailing data that is not PEM) is refused.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for len(text) > 0 {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != certBlock {
			return nil, fmt.Errorf("%w: found a block %q", ErrPEM, block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: certificate %d: %w", ErrPEM, len(certs)+1, err)
		}
		certs = append(certs, c)
		text = rest
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%w: no certificate in it", ErrPEM)
	}
	return certs, nil
}

// EncodeCertificates writes certificates as PEM text.
func EncodeCertificates(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: c.Raw})...)
	}
	return out
}

func encodeChain(ders [][]byte) []byte {
	var out []byte
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: der})...)
	}
	return out
}
