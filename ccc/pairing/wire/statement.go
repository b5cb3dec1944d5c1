package wire

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

// MaxStatement bounds a signed statement, in bytes: one certificate chain and little
// text.
const MaxStatement = 7 << 10

// ErrStatement is wrapped by every error of [Verify] and [Sign].
var ErrStatement = errors.New("unusable statement")

// Statement is what may be signed: [Offer], [Received], [Ack], [Tombstone].
type Statement interface {
	kind() kind
	encode() ([]byte, error)
}

// Receiver is where a statement is read into: a pointer to one.
type Receiver interface {
	kind() kind
	decode(payload []byte) error
}

// kind is the typ of a statement (RFC 7515 §4.1.9).
type kind string

const (
	kindOffer     kind = "ccc-offer+jws"
	kindReceived  kind = "ccc-received+jws"
	kindAck       kind = "ccc-ack+jws"
	kindTombstone kind = "ccc-tombstone+jws"
)

// Sign makes the compact JWS of a statement with the credentials' key, which has to
// be of P-256, and their certificates.
func Sign(creds *enrol.Credentials, s Statement) (string, error) {
	payload, err := s.encode()
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrStatement, s.kind(), err)
	}
	cert := creds.Certificate()
	key, ok := cert.PrivateKey.(crypto.Signer)
	if !ok || !isP256(key.Public()) {
		return "", fmt.Errorf("%w: the key of %s is not of P-256", ErrStatement, creds.ID().Path())
	}
	chain := make([]string, len(cert.Certificate))
	for i, der := range cert.Certificate {
		chain[i] = base64.StdEncoding.EncodeToString(der)
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: cryptosigner.Opaque(key)},
		(&jose.SignerOptions{}).WithType(jose.ContentType(s.kind())).WithHeader("x5c", chain),
	)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrStatement, err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrStatement, err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrStatement, err)
	}
	if len(text) > MaxStatement {
		return "", fmt.Errorf("%w: %s has %d bytes, at most %d are allowed", ErrStatement, s.kind(), len(text), MaxStatement)
	}
	return text, nil
}

// Verify reads a statement that exactly by has signed, with a certificate that leads
// to one of the credentials' roots and is valid at now (a device passes the time of
// its [enrol.Clock]). into also says the kind of the statement, and is filled only
// where all is right. Errors wrap [ErrStatement].
func Verify(creds *enrol.Credentials, now time.Time, by identity.ID, jws string, into Receiver) error {
	if err := verify(creds.Pool(), now, by, jws, into); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrStatement, into.kind(), err)
	}
	return nil
}

func verify(roots *x509.CertPool, now time.Time, by identity.ID, jws string, into Receiver) error {
	if len(jws) > MaxStatement {
		return fmt.Errorf("%d bytes, at most %d are allowed", len(jws), MaxStatement)
	}
	signed, err := jose.ParseSignedCompact(jws, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return fmt.Errorf("not a JWS with ES256: %w", err)
	}
	header := signed.Signatures[0].Protected
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); typ != string(into.kind()) {
		return errors.New("typ names another kind of statement")
	}
	chains, err := header.Certificates(x509.VerifyOptions{
		Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	chain := chains[0]
	id, err := identity.FromChain(chain)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	if id != by {
		return fmt.Errorf("%w: signed by %s, not by %s", identity.ErrUnexpected, id, by)
	}
	if !isP256(chain[0].PublicKey) {
		return errors.New("the key of the certificate is not of P-256")
	}
	payload, err := signed.Verify(chain[0].PublicKey)
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	return into.decode(payload)
}

func isP256(key crypto.PublicKey) bool {
	k, ok := key.(*ecdsa.PublicKey)
	return ok && k.Curve == elliptic.P256()
}
