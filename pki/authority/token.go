package authority

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// A token is 160 random bits in base32 (RFC 4648 §6), in groups of eight for
// people who have to type it. Only its SHA-256 is stored: who reads the store
// cannot enrol.
const (
	tokenBytes = 20
	tokenGroup = 8
)

// Token is a new one-time enrolment token.
type Token struct {
	// Token is shown once and cannot be read back.
	Token    string      `json:"token"`
	ID       identity.ID `json:"-"`
	Identity string      `json:"identity"`
	Expires  time.Time   `json:"expires"`
}

type tokenRecord struct {
	Identity string    `json:"identity"`
	Actor    string    `json:"actor"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
	Used     time.Time `json:"used"`
	// Key is the SHA-256 in hex of the public key that was enrolled with it,
	// Certificate the serial of what that got.
	Key         string `json:"key,omitempty"`
	Certificate string `json:"certificate,omitempty"`
}

// Token makes a token with which the identity can enrol once. A ttl of zero
// means the configured one. actor is who asked, for the audit log.
func (a *Authority) Token(ctx context.Context, id identity.ID, ttl time.Duration, actor string) (Token, error) {
	if err := a.ours(id); err != nil {
		return Token{}, err
	}
	if ttl <= 0 {
		ttl = a.cfg.TokenTTL
	}
	text := newToken()
	random, err := parseToken(text)
	if err != nil {
		return Token{}, err
	}
	now := time.Now().UTC()
	t := Token{Token: text, ID: id, Identity: id.Path(), Expires: now.Add(ttl)}
	err = a.db.Update(ctx, func(tx store.Tx) error {
		if err := blocked(tx, id); err != nil {
			return err
		}
		if err := register(tx, id, now); err != nil {
			return err
		}
		record := tokenRecord{Identity: id.Path(), Actor: actor, Created: now, Expires: t.Expires}
		if err := put(tx, bucketTokens, tokenKey(random), record); err != nil {
			return err
		}
		return audit.Append(tx, audit.Entry{Event: audit.EventToken, Actor: actor, Identity: id.Path(), Reason: "valid until " + t.Expires.Format(time.RFC3339)})
	})
	return t, err
}

// newToken draws 160 random bits and writes them for people.
func newToken() string {
	var random [tokenBytes]byte
	rand.Read(random[:]) // never fails
	return formatToken(random[:])
}

func formatToken(random []byte) string {
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random)
	var groups []string
	for len(text) > tokenGroup {
		groups, text = append(groups, text[:tokenGroup]), text[tokenGroup:]
	}
	return strings.Join(append(groups, text), "-")
}

// parseToken reads what people type: any case, with or without the dashes.
func parseToken(text string) ([]byte, error) {
	const most = 200 // bytes; more is no token
	if len(text) > most {
		return nil, enrol.ErrToken
	}
	text = strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(text))
	random, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(text)
	if err != nil || len(random) != tokenBytes {
		return nil, enrol.ErrToken
	}
	return random, nil
}

func tokenKey(random []byte) []byte {
	sum := sha256.Sum256(random)
	return sum[:]
}

// tokenProblem is a token that is known and cannot be used. To the peer it looks
// like an unknown one; the audit log tells which it was.
type tokenProblem struct{ reason string }

func (tokenProblem) Error() string { return enrol.ErrToken.Error() }
func (tokenProblem) Unwrap() error { return enrol.ErrToken }

// checkToken tells whether the token is good for a request with a key, whose SHA-256 is
// given in hex.
func checkToken(tx store.Tx, token []byte, key string, now time.Time) (tokenRecord, error) {
	record, ok, err := get[tokenRecord](tx, bucketTokens, token)
	switch {
	case err != nil:
		return record, err
	case !ok:
		return record, enrol.ErrToken
	case !now.Before(record.Expires):
		return record, tokenProblem{fmt.Sprintf("token expired at %s", record.Expires.Format(time.RFC3339))}
	case record.Certificate != "" && record.Key == key:
		return record, repeated{record.Certificate}
	case !record.Used.IsZero():
		return record, tokenProblem{fmt.Sprintf("token was used at %s", record.Used.Format(time.RFC3339))}
	}
	return record, nil
}

// useToken marks the token as used for the certificate, in the transaction that checked
// the token.
func useToken(tx store.Tx, token []byte, c Certificate) error {
	record, _, err := get[tokenRecord](tx, bucketTokens, token)
	if err != nil {
		return err
	}
	record.Used, record.Key, record.Certificate = c.Issued, c.SPKI, c.Serial
	return put(tx, bucketTokens, token, record)
}
