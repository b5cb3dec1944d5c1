package store

import (
	"errors"
	"time"
)

// CreateUser adds a user. ErrConflict "email" or "id"; ErrNotFound without the tenant.
func (t *Tx) CreateUser(v User) error {
	t.makes(v.Tenant, "user", string(v.ID), "")
	var c checks
	c.id("ID", string(v.ID))
	if v.Email == "" {
		c.fail("Email", "is missing")
	}
	oneOf(&c, "Language", v.Language, German, English, French)
	if v.PasswordHash == "" {
		c.fail("PasswordHash", "is missing")
	}
	c.time("Created", v.Created)
	if c.err != nil {
		return c.err
	}
	_, err := t.exec(`INSERT INTO users (id, tenant_id, email, name, language, password_hash, created, disabled)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		v.ID, v.Tenant, v.Email, v.Name, v.Language, v.PasswordHash, v.Created, v.Disabled)
	if err != nil {
		return err
	}
	grants := make([]UserGrant, len(v.Roles))
	for i, role := range v.Roles {
		grants[i] = UserGrant{User: v.ID, Role: role}
	}
	if err := t.replaceGrants(v.Tenant, v.ID, grants); err != nil {
		return err
	}
	return t.announceUser("user.created", v.Tenant, v.ID, v.Created)
}

// announceUser tells of a user, by his id alone.
func (t *Tx) announceUser(topic Topic, tenant TenantID, id UserID, at time.Time) error {
	return t.Announce(Announcement{Tenant: tenant, Topic: topic, At: at, Data: map[string]string{"user_id": string(id)}})
}

const userColumns = `id, tenant_id, email, name, language, password_hash, created, disabled,
	coalesce((SELECT string_agg(role, ',') FROM user_grants WHERE user_id = users.id), '')`

func scanUser(s scanner) (v User, err error) {
	var created moment
	var roles string
	err = s.Scan(&v.ID, &v.Tenant, &v.Email, &v.Name, &v.Language, &v.PasswordHash, &created, &v.Disabled, &roles)
	v.Created, v.Roles = created.Time, rolesOf(roles)
	return v, err
}

// UserByEmail gives the user who signs in with a normalised address, disabled or not.
func (t *Tx) UserByEmail(email string) (User, error) {
	return row(t, scanUser, "SELECT "+userColumns+" FROM users WHERE email = $1", email)
}

// User gives a user of the tenant.
func (t *Tx) User(tenant TenantID, id UserID) (User, error) {
	return row(t, scanUser, "SELECT "+userColumns+" FROM users WHERE tenant_id = $1 AND id = $2", tenant, id)
}

// Users gives the tenant's, by address.
func (t *Tx) Users(tenant TenantID) ([]User, error) {
	return rows(t, scanUser, "SELECT "+userColumns+" FROM users WHERE tenant_id = $1 ORDER BY email", tenant)
}

// FindUsers gives a page of the tenant's users in whose names or addresses each word of a
// query is, by address, the cursor of the next page (empty after the last), and how many
// there are on all pages now. ErrCursor.
func (t *Tx) FindUsers(tenant TenantID, query string, p Page) (items []User, next string, total int, err error) {
	all, err := t.Users(tenant)
	if err != nil {
		return nil, "", 0, err
	}
	return found[User]{
		column: "user",
		text:   func(v User) string { return v.Name + "\n" + v.Email },
		key:    func(v User) []byte { return []byte(v.Email) },
		id:     func(v User) string { return string(v.ID) },
	}.page(all, query, p)
}

// CountUsers tells how many the tenant has, disabled ones too.
func (t *Tx) CountUsers(tenant TenantID) (int, error) {
	return row(t, value[int], "SELECT count(*) FROM users WHERE tenant_id = $1", tenant)
}

// SetPassword replaces the hash of a user's password.
func (t *Tx) SetPassword(tenant TenantID, id UserID, hash string) error {
	if hash == "" {
		return &InvalidError{Field: "PasswordHash", Problem: "is missing"}
	}
	t.erased = true
	return t.change("UPDATE users SET password_hash = $3 WHERE tenant_id = $1 AND id = $2", tenant, id, hash)
}

// SetUserLanguage changes a user's language.
func (t *Tx) SetUserLanguage(tenant TenantID, id UserID, language Language) error {
	var c checks
	if oneOf(&c, "Language", language, German, English, French); c.err != nil {
		return c.err
	}
	return t.change("UPDATE users SET language = $3 WHERE tenant_id = $1 AND id = $2", tenant, id, language)
}

// SetUserDisabled locks a user out, which takes his API tokens, or in again. It leaves his
// sessions alone.
func (t *Tx) SetUserDisabled(tenant TenantID, id UserID, disabled bool) error {
	err := t.change("UPDATE users SET disabled = $3 WHERE tenant_id = $1 AND id = $2", tenant, id, disabled)
	if err != nil {
		return err
	}
	if !disabled {
		return t.announceUser("user.let_in", tenant, id, time.Now())
	}
	return errors.Join(t.announceUser("user.locked_out", tenant, id, time.Now()), t.DeleteAPITokens(id))
}

// DeleteUser removes a user with his sessions and idempotency keys. His id stays in what
// he has made and in events.
func (t *Tx) DeleteUser(tenant TenantID, id UserID) error {
	t.erased = true
	return t.change("DELETE FROM users WHERE tenant_id = $1 AND id = $2", tenant, id)
}
