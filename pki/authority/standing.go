package authority

import (
	"context"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// Standing is what the PKI knows of a certificate that somebody shows.
type Standing struct {
	// Time is the PKI's clock.
	Time time.Time `json:"time"`
	// Certificate is nil where no such certificate was issued, or it was swept. It
	// comes without the DER and with its state.
	Certificate *Certificate `json:"certificate,omitempty"`
	// Block is how the identity is blocked or retired, nil where it is not.
	Block *Block `json:"block,omitempty"`
	// Confirmed is the newest generation of the lineage that was seen in use, Last
	// the newest that was issued. Replaced: a new enrolment ended the lineage.
	Confirmed uint64 `json:"confirmed,omitempty"`
	Last      uint64 `json:"last,omitempty"`
	Replaced  bool   `json:"replaced,omitempty"`
	// Issuers are the intermediates in use.
	Issuers []IssuerInfo `json:"issuers"`
}

// IssuerInfo names an intermediate.
type IssuerInfo struct {
	Kind   string `json:"kind"`
	KeyID  string `json:"key_id"` // subject key identifier, hex
	Newest bool   `json:"newest"` // signs what is issued now
}

// Standing looks a certificate up by its number in hex.
func (a *Authority) Standing(ctx context.Context, serial string) (s Standing, err error) {
	s = Standing{Time: time.Now().UTC()}
	for _, i := range a.Issuers() {
		s.Issuers = append(s.Issuers, IssuerInfo{i.Role, i.keyID(), i.Active})
	}
	err = a.db.View(ctx, func(tx store.Tx) error {
		c, ok, err := get[Certificate](tx, bucketCerts, []byte(serial))
		if err != nil || !ok {
			return err
		}
		if c.State, err = stateOf(tx, c, s.Time); err != nil {
			return err
		}
		c.DER = nil
		s.Certificate = &c
		l, _, err := get[lineage](tx, bucketLineages, lineageKey(c.Identity, c.Lineage))
		if err != nil {
			return err
		}
		s.Confirmed, s.Last, s.Replaced = l.Confirmed, l.Last, l.Retired
		b, ok, err := get[Block](tx, bucketBlocks, []byte(c.Identity))
		if ok {
			s.Block = &b
		}
		return err
	})
	return s, err
}
