package store

import "time"

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
