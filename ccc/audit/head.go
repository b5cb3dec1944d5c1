package audit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/jws"
)

// Head is where a chain stands: the number and hash of its last entry.
type Head struct {
	Tenant string    `json:"tenant"`
	Seq    int64     `json:"seq"` // 0: there is none yet
	Hash   Hash      `json:"hash"`
	At     time.Time `json:"at"` // when it was signed, in UTC
}

// Genesis is where the chain of a tenant begins.
func Genesis(tenant string) Head {
	return Head{Tenant: tenant, Hash: sum("genesis", []byte(tenant))}
}

const (
	headType = "ccc-audit-head+jws"
	// MaxHead bounds a signed head, in bytes: one certificate chain and little text.
	MaxHead = 7 << 10
)

// ErrHead is wrapped by the errors of [OpenHead] and [ReadHead].
var ErrHead = errors.New("unusable head of an audit log")

// SignHead signs a head as service/ccc: a JWS with ES256 of the type ccc-audit-head+jws.
func SignHead(creds *enrol.Credentials, h Head) (string, error) {
	h.At = h.At.UTC().Truncate(time.Second)
	payload, err := json.Marshal(h)
	if err != nil {
		return "", err
	}
	return jws.Sign(creds, headType, payload, MaxHead)
}

// OpenHead reads a head that service/ccc has signed, with a certificate that was valid
// when it did: heads are kept for longer than certificates.
func OpenHead(creds *enrol.Credentials, text string) (Head, error) {
	h, err := ReadHead(text)
	if err != nil {
		return h, err
	}
	by := identity.Service(creds.ID().TrustDomain, "ccc")
	if _, err := jws.Verify(creds, h.At, by, headType, text, MaxHead); err != nil {
		return Head{}, fmt.Errorf("%w: %w", ErrHead, err)
	}
	return h, nil
}

// ReadHead reads a head without a look at who has signed it.
func ReadHead(text string) (h Head, err error) {
	parts := strings.Split(text, ".")
	if len(text) > MaxHead || len(parts) != 3 {
		return h, fmt.Errorf("%w: it is no JWS in compact form", ErrHead)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return h, fmt.Errorf("%w: %w", ErrHead, err)
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil {
		return Head{}, fmt.Errorf("%w: %w", ErrHead, err)
	}
	if !forms.tenant.MatchString(h.Tenant) || h.Seq < 0 || h.Seq > maxSeq || h.At.IsZero() {
		return Head{}, fmt.Errorf("%w: a field is missing", ErrHead)
	}
	return h, nil
}
