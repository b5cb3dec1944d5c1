package store

import (
	"strings"
	"time"
)

// APIToken lets a program do as a user may, within its scopes.
type APIToken struct {
	ID     APITokenID
	Tenant TenantID
	User   UserID
	For    TenantID // that it is good for; need not be Tenant, which is the user's
	Hash   TokenHash
	Name   string // that the user has given it
	// Scopes are words without spaces, at least one.
	Scopes []string
	// Second: who made it had proven himself with a second factor.
	Second   bool
	Created  time.Time
	Expires  time.Time
	LastUsed *time.Time // the day; nil: never
}

const tokenColumns = "id, tenant_id, user_id, for_tenant, token_hash, name, scopes, second, created, expires, last_used"

func scanToken(s scanner) (v APIToken, err error) {
	var created, expires, used moment
	var hash []byte
	var scopes string
	err = s.Scan(&v.ID, &v.Tenant, &v.User, &v.For, &hash, &v.Name, &scopes, &v.Second, &created, &expires, &used)
	copy(v.Hash[:], hash)
	v.Scopes, v.Created, v.Expires, v.LastUsed = strings.Fields(scopes), created.Time, expires.Time, used.pointer()
	return v, err
}

// CreateAPIToken adds a token. ErrNotFound where the user is not one of the tenant, or
// without the tenant that it is for.
func (t *Tx) CreateAPIToken(v APIToken) error {
	t.makes(v.Tenant, "token", string(v.ID), "")
	var c checks
	c.id("ID", string(v.ID))
	c.time("Created", v.Created)
	c.time("Expires", v.Expires)
	if len(v.Scopes) == 0 {
		c.fail("Scopes", "are missing")
	}
	if c.err != nil {
		return c.err
	}
	return t.change(`INSERT INTO api_tokens (`+tokenColumns+`)
		SELECT $1, tenant_id, id, $4, $5, $6, $7, $8, $9, $10, $11 FROM users WHERE tenant_id = $2 AND id = $3`,
		v.ID, v.Tenant, v.User, v.For, v.Hash[:], v.Name, strings.Join(v.Scopes, " "), v.Second, v.Created, v.Expires, moments(v.LastUsed))
}

// APITokenByHash gives a token, expired or not.
func (t *Tx) APITokenByHash(hash TokenHash) (APIToken, error) {
	return row(t, scanToken, "SELECT "+tokenColumns+" FROM api_tokens WHERE token_hash = $1", hash[:])
}

// APITokens gives a user's tokens, the newest first.
func (t *Tx) APITokens(user UserID) ([]APIToken, error) {
	return rows(t, scanToken, "SELECT "+tokenColumns+" FROM api_tokens WHERE user_id = $1 ORDER BY created DESC, id DESC", user)
}

// UseAPIToken notes the day on which a token was used.
func (t *Tx) UseAPIToken(id APITokenID, day time.Time) error {
	return t.change("UPDATE api_tokens SET last_used = $2 WHERE id = $1", id, day)
}

// DeleteAPIToken removes a user's token.
func (t *Tx) DeleteAPIToken(user UserID, id APITokenID) error {
	return t.change("DELETE FROM api_tokens WHERE user_id = $1 AND id = $2", user, id)
}

// DeleteAPITokens removes all of a user's tokens; none is no error.
func (t *Tx) DeleteAPITokens(user UserID) error {
	_, err := t.exec("DELETE FROM api_tokens WHERE user_id = $1", user)
	return err
}

// SweepAPITokens removes those that have expired before a time, and tells how many.
func (t *Tx) SweepAPITokens(before time.Time) (int, error) {
	return t.sweep("DELETE FROM api_tokens WHERE expires < $1", before)
}
