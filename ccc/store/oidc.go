package store

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
)

// OIDCLink says who a user is at an OpenID provider.
type OIDCLink struct {
	Issuer   string // URL of the provider
	Subject  string // his name there, which never is another's
	User     UserID
	Provider string // id in the configuration
	// Made: the account was made at a sign-in there, and has no password that anybody knows.
	Made bool
	// Follows: the user's roles are those that the provider says, as nobody else gave them.
	Follows  bool
	Created  time.Time
	LastUsed *time.Time // nil: never
}

const oidcColumns = "issuer, subject, user_id, provider, made, follows, created, last_used"

func scanOIDCLink(s scanner) (v OIDCLink, err error) {
	var created, used moment
	err = s.Scan(&v.Issuer, &v.Subject, &v.User, &v.Provider, &v.Made, &v.Follows, &created, &used)
	v.Created, v.LastUsed = created.Time, used.pointer()
	return v, err
}

// CreateOIDCLink adds one. ErrConflict "id" where the subject is somebody already.
func (t *Tx) CreateOIDCLink(v OIDCLink) error {
	t.makes("", "provider", v.Provider, "")
	var c checks
	if v.Issuer == "" {
		c.fail("Issuer", "is missing")
	}
	if v.Subject == "" {
		c.fail("Subject", "is missing")
	}
	c.time("Created", v.Created)
	if c.err != nil {
		return c.err
	}
	_, err := t.exec("INSERT INTO oidc_links ("+oidcColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		v.Issuer, v.Subject, v.User, v.Provider, v.Made, v.Follows, v.Created, moments(v.LastUsed))
	return err
}

// DeleteOIDCLink removes one of a user's. ErrNotFound where it is none of his, or where the
// account was made there.
func (t *Tx) DeleteOIDCLink(user UserID, issuer, subject string) error {
	return t.change("DELETE FROM oidc_links WHERE user_id = $1 AND issuer = $2 AND subject = $3 AND NOT made", user, issuer, subject)
}

// DeleteOIDCLinks removes those of a user that he, or whoever was in his place, has made.
func (t *Tx) DeleteOIDCLinks(user UserID) error {
	_, err := t.exec("DELETE FROM oidc_links WHERE user_id = $1 AND NOT made", user)
	return err
}

// NoteProvider has the audit log of a user's tenant tell what a sign-in at an OpenID
// provider has done to his account, as in "roles_changed", and with which roles.
func (t *Tx) NoteProvider(user User, provider, what string, roles []string) {
	t.noted = append(t.noted, noted{Entry: audit.Entry{
		Tenant: string(user.Tenant), Actor: "provider " + provider, Operation: "oidc." + what, Resource: "user " + string(user.ID), Fields: roles,
	}})
}

// OIDCLink gives who a subject is.
func (t *Tx) OIDCLink(issuer, subject string) (OIDCLink, error) {
	return row(t, scanOIDCLink, "SELECT "+oidcColumns+" FROM oidc_links WHERE issuer = $1 AND subject = $2", issuer, subject)
}

// OIDCLinks gives a user's.
func (t *Tx) OIDCLinks(user UserID) ([]OIDCLink, error) {
	return rows(t, scanOIDCLink, "SELECT "+oidcColumns+" FROM oidc_links WHERE user_id = $1 ORDER BY issuer, subject", user)
}

// UseOIDCLink notes a sign-in.
func (t *Tx) UseOIDCLink(issuer, subject string, at time.Time) error {
	return t.change("UPDATE oidc_links SET last_used = $3 WHERE issuer = $1 AND subject = $2", issuer, subject, at)
}
