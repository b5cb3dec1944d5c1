package wire

import (
	"errors"
	"fmt"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/jws"
)

// MaxStatement bounds a signed statement, in bytes: one certificate chain and little
// text.
const MaxStatement = 7 << 10

// ErrStatement is wrapped by every error of [Verify] and [Sign].
var ErrStatement = errors.New("unusable statement")

// Statement is what may be signed: [Offer], [Received], [Ack], [Tombstone], [Remote].
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
	kindRemote    kind = "ccc-remote+jws"
)

// Sign makes the compact JWS of a statement with the credentials' key, which has to
// be of P-256, and their certificates.
func Sign(creds *enrol.Credentials, s Statement) (string, error) {
	payload, err := s.encode()
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrStatement, s.kind(), err)
	}
	text, err := jws.Sign(creds, string(s.kind()), payload, MaxStatement)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrStatement, err)
	}
	return text, nil
}

// Verify reads a statement that exactly by has signed, with a certificate that leads
// to one of the credentials' roots and is valid at now (a device passes the time of
// its [enrol.Clock]). into also says the kind of the statement, and is filled only
// where all is right. Errors wrap [ErrStatement].
func Verify(creds *enrol.Credentials, now time.Time, by identity.ID, text string, into Receiver) error {
	payload, err := jws.Verify(creds, now, by, string(into.kind()), text, MaxStatement)
	if err == nil {
		err = into.decode(payload)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrStatement, into.kind(), err)
	}
	return nil
}
