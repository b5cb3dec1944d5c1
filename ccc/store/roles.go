package store

import (
	"slices"
	"time"
)

// Role is a set of things that a user may do; ccc/access says which.
type Role string

// The roles. A user has any number of them, and none to begin with.
const (
	RoleOwner         Role = "owner"
	RoleAdministrator Role = "administrator"
	RoleMonitoring    Role = "monitoring"
	RoleBackup        Role = "backup"
	RoleCallData      Role = "calldata"
	RoleRemote        Role = "remote"
	RoleLicences      Role = "licences"
	RoleAuditor       Role = "auditor"
)

// Roles gives all roles.
func Roles() []Role {
	return []Role{RoleOwner, RoleAdministrator, RoleMonitoring, RoleBackup, RoleCallData, RoleRemote, RoleLicences, RoleAuditor}
}

// Part is the part of a tenant that a grant is about: one system, one site with all
// systems there, or, the zero value, everything.
type Part struct {
	Site   SiteID
	System SystemID
}

// Whole tells whether it is everything.
func (p Part) Whole() bool { return p == Part{} }

// check: a part is at most one of the two.
func (p Part) check(c *checks) {
	if p.Site != "" && p.System != "" {
		c.fail("Part", "is a site and a system at once")
	}
}

// UserGrant is a role of a user in his own tenant.
type UserGrant struct {
	User UserID
	Role Role
	Part
}

func (v UserGrant) check(c *checks) {
	oneOf(c, "Role", v.Role, Roles()...)
	v.Part.check(c)
	if v.Role == RoleOwner && !v.Whole() {
		c.fail("Part", "is given for an owner, who owns everything")
	}
}

// setGrants replaces a user's grants. ErrNotFound for a part that is not the tenant's.
func (t *Tx) setGrants(tenant TenantID, user UserID, all []UserGrant) error {
	var c checks
	for _, g := range all {
		g.check(&c)
	}
	if c.err != nil {
		return c.err
	}
	if _, err := t.exec("DELETE FROM user_grants WHERE user_id = $1", user); err != nil {
		return err
	}
	for _, g := range all {
		if err := t.hasPart(tenant, g.Part); err != nil {
			return err
		}
		if _, err := t.exec("INSERT INTO user_grants (user_id, role, site_id, system_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
			user, g.Role, optional(g.Site), optional(g.System)); err != nil {
			return err
		}
	}
	return nil
}

// hasPart is nil where the part is the tenant's.
func (t *Tx) hasPart(tenant TenantID, p Part) error {
	var err error
	if p.Site != "" {
		_, err = row(t, value[int], "SELECT 1 FROM sites WHERE tenant_id = $1 AND id = $2", tenant, p.Site)
	}
	if err == nil && p.System != "" {
		_, err = row(t, value[int], "SELECT 1 FROM systems WHERE tenant_id = $1 AND id = $2", tenant, p.System)
	}
	return err
}

// SetUserGrants replaces all roles of a user. ErrNotFound for a user, a site or a system
// that is not the tenant's, after which the transaction is to be given up.
func (t *Tx) SetUserGrants(tenant TenantID, user UserID, all []UserGrant) error {
	if err := t.replaceGrants(tenant, user, all); err != nil {
		return err
	}
	return t.announceUser("user.roles_changed", tenant, user, time.Now())
}

func (t *Tx) replaceGrants(tenant TenantID, user UserID, all []UserGrant) error {
	if _, err := t.User(tenant, user); err != nil {
		return err
	}
	err := t.setGrants(tenant, user, all)
	if err != nil && t.failed == nil {
		t.failed = err // some of them may be there
	}
	return err
}

// UserGrants gives the roles of the tenant's users, or of one of them where one is
// named.
func (t *Tx) UserGrants(tenant TenantID, user UserID) ([]UserGrant, error) {
	w := &where{t: t, args: []any{tenant}}
	w.sql.WriteString("tenant_id = $1")
	if user != "" {
		w.id("user_id = ?", string(user))
	}
	return rows(t, scanUserGrant, `SELECT user_id, role, site_id, system_id FROM user_grants JOIN users ON users.id = user_id
		WHERE `+w.sql.String()+" ORDER BY user_id, role, site_id, system_id", w.args...)
}

func scanUserGrant(s scanner) (v UserGrant, err error) {
	err = s.Scan(&v.User, &v.Role, &v.Site, &v.System)
	return v, err
}

// CountOwners tells how many of the tenant's owners are not disabled.
func (t *Tx) CountOwners(tenant TenantID) (int, error) {
	return row(t, value[int], `SELECT count(*) FROM users JOIN user_grants ON user_id = id
		WHERE tenant_id = $1 AND role = $2 AND NOT disabled`, tenant, RoleOwner)
}

// rolesOf reads roles as they are kept: separated by commas, in any order, some perhaps
// twice.
func rolesOf(text string) []Role {
	return sorted(split[Role](text))
}

// Has tells whether a user has one of the roles, if only for a part of his tenant.
func (u User) Has(roles ...Role) bool {
	return slices.ContainsFunc(u.Roles, func(r Role) bool { return slices.Contains(roles, r) })
}
