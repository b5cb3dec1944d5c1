// Package jws signs what has to be shown later with the credentials of an endpoint, and
// tells whether exactly one endpoint has signed it.
//
// A statement is a JWS in compact form (RFC 7515 §3.1) with ES256 (RFC 7518 §3.4), the
// signer's certificate and intermediates in x5c (RFC 7515 §4.1.6) and the kind of
// statement in typ (§4.1.9), so that one kind never passes for another. What the payload
// means is the caller's.
//
//	text, err := jws.Sign(creds, "ara-grant+jws", payload, 4096)
//	payload, err := jws.Verify(creds, time.Now(), identity.Service(td, "ccc"), "ara-grant+jws", text, 4096)
//
// The package is not covered by the compatibility promise.
package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Sign makes the compact JWS of a payload with the credentials' key, which has to be of
// P-256, and their certificates. More than limit bytes are an error.
func Sign(creds *enrol.Credentials, typ string, payload []byte, limit int) (string, error) {
	cert := creds.Certificate()
	key, ok := cert.PrivateKey.(crypto.Signer)
	if !ok || !isP256(key.Public()) {
		return "", fmt.Errorf("the key of %s is not of P-256", creds.ID().Path())
	}
	chain := make([]string, len(cert.Certificate))
	for i, der := range cert.Certificate {
		chain[i] = base64.StdEncoding.EncodeToString(der)
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: cryptosigner.Opaque(key)},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)).WithHeader("x5c", chain),
	)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		return "", err
	}
	if len(text) > limit {
		return "", fmt.Errorf("%s has %d bytes, at most %d are allowed", typ, len(text), limit)
	}
	return text, nil
}

// Verify gives the payload of a statement of the kind typ, at most limit bytes long, that
// exactly by has signed, with a certificate that leads to one of the credentials' roots
// and is valid at now (a device passes the time of its [enrol.Clock]).
func Verify(creds *enrol.Credentials, now time.Time, by identity.ID, typ, text string, limit int) ([]byte, error) {
	if len(text) > limit {
		return nil, fmt.Errorf("%d bytes, at most %d are allowed", len(text), limit)
	}
	signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil, fmt.Errorf("not a JWS with ES256: %w", err)
	}
	header := signed.Signatures[0].Protected
	if got, _ := header.ExtraHeaders[jose.HeaderType].(string); got != typ {
		return nil, errors.New("typ names another kind of statement")
	}
	chains, err := header.Certificates(x509.VerifyOptions{
		Roots: creds.Pool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	chain := chains[0]
	id, err := identity.FromChain(chain)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if id != by {
		return nil, fmt.Errorf("%w: signed by %s, not by %s", identity.ErrUnexpected, id, by)
	}
	if !isP256(chain[0].PublicKey) {
		return nil, errors.New("the key of the certificate is not of P-256")
	}
	payload, err := signed.Verify(chain[0].PublicKey)
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	return payload, nil
}

func isP256(key crypto.PublicKey) bool {
	k, ok := key.(*ecdsa.PublicKey)
	return ok && k.Curve == elliptic.P256()
}
