package store

import (
	"encoding/json"
	"fmt"
	"time"
)

// Invitation is somebody who may make an account for himself in a tenant.
type Invitation struct {
	ID       InvitationID
	Tenant   TenantID
	Email    string // normalised by the caller; invited once at a time by a tenant
	Name     string
	Language Language
	Roles    []UserGrant // that he gets; User is empty
	// Founding: he becomes the first owner of the tenant, whom nobody there has invited.
	Founding bool
	By       UserID
	Secret   TokenHash // of what is in the link
	Mail     MailID    // the last one; empty: none was sent
	Created  time.Time
	Expires  time.Time
}

// invitedRole is a role in the column roles.
type invitedRole struct {
	Role   Role     `json:"role"`
	Site   SiteID   `json:"site,omitempty"`
	System SystemID `json:"system,omitempty"`
}

const invitationColumns = "id, tenant_id, email, name, language, roles, founding, invited_by, secret_hash, mail_id, created, expires"

func scanInvitation(s scanner) (v Invitation, err error) {
	var created, expires moment
	var text string
	var hash []byte
	err = s.Scan(&v.ID, &v.Tenant, &v.Email, &v.Name, &v.Language, &text, &v.Founding, &v.By, &hash, &v.Mail, &created, &expires)
	if err != nil {
		return v, err
	}
	var roles []invitedRole
	if err := json.Unmarshal([]byte(text), &roles); err != nil {
		return v, fmt.Errorf("roles of an invitation: %w", err)
	}
	v.Roles = make([]UserGrant, len(roles))
	for i, r := range roles {
		v.Roles[i] = UserGrant{Role: r.Role, Part: Part{Site: r.Site, System: r.System}}
	}
	copy(v.Secret[:], hash)
	v.Created, v.Expires = created.Time, expires.Time
	return v, nil
}

// CreateInvitation adds one. ErrConflict "invitation" where the tenant has invited the
// address already, or "id"; ErrNotFound without the tenant.
func (t *Tx) CreateInvitation(v Invitation) error {
	t.makes(v.Tenant, "invitation", string(v.ID), "")
	var c checks
	c.id("ID", string(v.ID))
	if v.Email == "" {
		c.fail("Email", "is missing")
	}
	oneOf(&c, "Language", v.Language, German, English, French)
	roles := make([]invitedRole, len(v.Roles))
	for i, g := range v.Roles {
		g.check(&c)
		roles[i] = invitedRole{g.Role, g.Site, g.System}
	}
	c.time("Created", v.Created)
	c.time("Expires", v.Expires)
	if c.err != nil {
		return c.err
	}
	text, err := json.Marshal(roles)
	if err != nil {
		return err
	}
	_, err = t.exec("INSERT INTO invitations ("+invitationColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
		v.ID, v.Tenant, v.Email, v.Name, v.Language, string(text), v.Founding, optional(v.By), v.Secret[:], optional(v.Mail), v.Created, v.Expires)
	return err
}

// Invitation gives one of the tenant.
func (t *Tx) Invitation(tenant TenantID, id InvitationID) (Invitation, error) {
	return row(t, scanInvitation, "SELECT "+invitationColumns+" FROM invitations WHERE tenant_id = $1 AND id = $2", tenant, id)
}

// InvitationBySecret gives the one with a link, expired or not.
func (t *Tx) InvitationBySecret(secret TokenHash) (Invitation, error) {
	return row(t, scanInvitation, "SELECT "+invitationColumns+" FROM invitations WHERE secret_hash = $1", secret[:])
}

// Invitations gives the tenant's, the newest first, expired or not.
func (t *Tx) Invitations(tenant TenantID) ([]Invitation, error) {
	return rows(t, scanInvitation, "SELECT "+invitationColumns+" FROM invitations WHERE tenant_id = $1 ORDER BY created DESC, id DESC", tenant)
}

// FoundingInvitation gives that of the first owner of a tenant.
func (t *Tx) FoundingInvitation(tenant TenantID) (Invitation, error) {
	return row(t, scanInvitation, "SELECT "+invitationColumns+" FROM invitations WHERE tenant_id = $1 AND founding ORDER BY created, id LIMIT 1", tenant)
}

// FoundingInvitations gives those of several tenants, for who is above them.
func (t *Tx) FoundingInvitations(tenants []TenantID) (map[TenantID]Invitation, error) {
	found, err := rows(t, scanInvitation, "SELECT "+invitationColumns+" FROM invitations WHERE founding AND tenant_id IN "+t.list("$1"), listOf(tenants))
	all := make(map[TenantID]Invitation, len(found))
	for _, v := range found {
		all[v.Tenant] = v
	}
	return all, err
}

// CountInvitations tells how many the tenant has, expired or not.
func (t *Tx) CountInvitations(tenant TenantID) (int, error) {
	return row(t, value[int], "SELECT count(*) FROM invitations WHERE tenant_id = $1", tenant)
}

// RenewInvitation gives an invitation a new link, which makes the one before it void.
func (t *Tx) RenewInvitation(tenant TenantID, id InvitationID, secret TokenHash, mail MailID, expires time.Time) error {
	t.erased = true
	return t.change("UPDATE invitations SET secret_hash = $3, mail_id = $4, expires = $5 WHERE tenant_id = $1 AND id = $2",
		tenant, id, secret[:], optional(mail), expires)
}

// DeleteInvitation removes one.
func (t *Tx) DeleteInvitation(tenant TenantID, id InvitationID) error {
	t.erased = true
	return t.change("DELETE FROM invitations WHERE tenant_id = $1 AND id = $2", tenant, id)
}

// SweepInvitations removes those that expired before a time, and tells how many.
func (t *Tx) SweepInvitations(before time.Time) (int, error) {
	return t.sweep("DELETE FROM invitations WHERE expires < $1", before)
}

// ResetRequest is an address that somebody has asked a new password for, sealed.
type ResetRequest struct {
	ID      ResetRequestID
	Sealed  []byte
	Created time.Time
}

// CreateResetRequest keeps one.
func (t *Tx) CreateResetRequest(v ResetRequest) error {
	_, err := t.exec("INSERT INTO reset_requests (id, sealed, created) VALUES ($1, $2, $3)", v.ID, v.Sealed, v.Created)
	return err
}

// TakeResetRequest gives the oldest, and removes it. ErrNotFound where there is none.
func (t *Tx) TakeResetRequest() (ResetRequest, error) {
	t.erased = true
	return row(t, func(s scanner) (v ResetRequest, err error) {
		var created moment
		err = s.Scan(&v.ID, blob{&v.Sealed}, &created)
		v.Created = created.Time
		return v, err
	}, "DELETE FROM reset_requests WHERE id = (SELECT id FROM reset_requests ORDER BY id LIMIT 1) RETURNING id, sealed, created")
}

// PutPasswordReset keeps the hash of a user's link, in place of the one before it.
func (t *Tx) PutPasswordReset(user UserID, secret TokenHash, expires time.Time) error {
	t.erased = true
	_, err := t.exec(`INSERT INTO password_resets (user_id, secret_hash, expires) VALUES ($1, $2, $3)
		ON CONFLICT (user_id) DO UPDATE SET secret_hash = excluded.secret_hash, expires = excluded.expires`, user, secret[:], expires)
	return err
}

// PasswordReset gives whose a link is. ErrNotFound where it is nobody's, or has expired.
func (t *Tx) PasswordReset(secret TokenHash, now time.Time) (UserID, error) {
	return row(t, value[UserID], "SELECT user_id FROM password_resets WHERE secret_hash = $1 AND expires > $2", secret[:], now)
}

// DeletePasswordReset removes a user's; none is no error.
func (t *Tx) DeletePasswordReset(user UserID) error {
	t.erased = true
	_, err := t.exec("DELETE FROM password_resets WHERE user_id = $1", user)
	return err
}

// SweepPasswordResets removes those that have expired, and tells how many.
func (t *Tx) SweepPasswordResets(now time.Time) (int, error) {
	return t.sweep("DELETE FROM password_resets WHERE expires <= $1", now)
}
