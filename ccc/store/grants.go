package store

import (
	"strings"
	"time"
)

// TenantGrant is what a tenant lets the users of another do. The zero Until: it stands
// until it is taken back.
type TenantGrant struct {
	ID      GrantID
	Tenant  TenantID // who gives
	Grantee TenantID // whose users may; need not exist
	Roles   []Role   // never the owner's
	Part
	Until   *time.Time
	By      UserID
	Created time.Time
}

// split reads what is separated by commas.
func split[T ~string](text string) []T {
	all := []T{}
	for one := range strings.SplitSeq(text, ",") {
		if one != "" {
			all = append(all, T(one))
		}
	}
	return all
}

// join is the opposite of it.
func join[T ~string](all []T) string {
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = string(one)
	}
	return strings.Join(texts, ",")
}

// CreateTenantGrant adds a grant. ErrConflict "id"; ErrNotFound without the tenant, or for
// a part that is not the tenant's.
func (t *Tx) CreateTenantGrant(v TenantGrant) error {
	t.makes(v.Tenant, "grant", string(v.ID), "")
	var c checks
	c.id("ID", string(v.ID))
	c.id("Grantee", string(v.Grantee))
	for _, role := range v.Roles {
		oneOf(&c, "Roles", role, Roles()[1:]...)
	}
	if len(v.Roles) == 0 {
		c.fail("Roles", "is empty")
	}
	if v.Grantee == v.Tenant {
		c.fail("Grantee", "is who gives")
	}
	v.Part.check(&c)
	c.time("Created", v.Created)
	if c.err != nil {
		return c.err
	}
	if err := t.hasPart(v.Tenant, v.Part); err != nil {
		return err
	}
	_, err := t.exec("INSERT INTO tenant_grants ("+tenantGrantColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		v.ID, v.Tenant, v.Grantee, join(sorted(v.Roles)), optional(v.Site), optional(v.System), moments(v.Until), optional(v.By), v.Created)
	return err
}

const tenantGrantColumns = "id, tenant_id, grantee, roles, site_id, system_id, until, granted_by, created"

func scanTenantGrant(s scanner) (v TenantGrant, err error) {
	var until, created moment
	var roles string
	err = s.Scan(&v.ID, &v.Tenant, &v.Grantee, &roles, &v.Site, &v.System, &until, &v.By, &created)
	v.Roles, v.Until, v.Created = rolesOf(roles), until.pointer(), created.Time
	return v, err
}

// TenantGrants gives what a tenant has given, the newest first, what has ended too.
func (t *Tx) TenantGrants(tenant TenantID) ([]TenantGrant, error) {
	return rows(t, scanTenantGrant, "SELECT "+tenantGrantColumns+" FROM tenant_grants WHERE tenant_id = $1 ORDER BY created DESC, id DESC", tenant)
}

// TenantGrantsTo gives what a tenant was given by others and has not ended.
func (t *Tx) TenantGrantsTo(grantee TenantID, now time.Time) ([]TenantGrant, error) {
	return rows(t, scanTenantGrant, "SELECT "+tenantGrantColumns+` FROM tenant_grants
		WHERE grantee = $1 AND (until = 0 OR until > $2) ORDER BY created DESC, id DESC`, grantee, now)
}

// DeleteTenantGrant takes a grant back, and gives what it was.
func (t *Tx) DeleteTenantGrant(tenant TenantID, id GrantID) (TenantGrant, error) {
	return row(t, scanTenantGrant, "DELETE FROM tenant_grants WHERE tenant_id = $1 AND id = $2 RETURNING "+tenantGrantColumns, tenant, id)
}

// BreakGlass is the record of one of the operator's staff who works in a tenant that has
// not let him in.
type BreakGlass struct {
	ID      BreakGlassID
	Tenant  TenantID // where he works
	Home    TenantID // his own
	User    UserID
	Name    string // as he was called then
	Reason  string
	Created time.Time
	Expires time.Time
	Ended   *time.Time // nil: nobody has ended it
	EndedBy UserID
}

// CreateBreakGlass adds a record. ErrConflict "id"; ErrNotFound without the tenant.
func (t *Tx) CreateBreakGlass(v BreakGlass) error {
	t.makes(v.Tenant, "break_glass", string(v.ID), "")
	var c checks
	c.id("ID", string(v.ID))
	c.id("User", string(v.User))
	c.id("Home", string(v.Home))
	if v.Reason == "" {
		c.fail("Reason", "is missing")
	}
	c.time("Created", v.Created)
	c.time("Expires", v.Expires)
	if c.err != nil {
		return c.err
	}
	_, err := t.exec("INSERT INTO break_glass ("+breakGlassColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		v.ID, v.Tenant, v.Home, v.User, v.Name, v.Reason, v.Created, v.Expires, moments(v.Ended), optional(v.EndedBy))
	return err
}

const breakGlassColumns = "id, tenant_id, home, user_id, user_name, reason, created, expires, ended, ended_by"

func scanBreakGlass(s scanner) (v BreakGlass, err error) {
	var created, expires, ended moment
	err = s.Scan(&v.ID, &v.Tenant, &v.Home, &v.User, &v.Name, &v.Reason, &created, &expires, &ended, &v.EndedBy)
	v.Created, v.Expires, v.Ended = created.Time, expires.Time, ended.pointer()
	return v, err
}

var breakGlasses = liveList[BreakGlass]{
	table: "break_glass", columns: breakGlassColumns, of: "tenant_id = $1 OR home = $1",
	live: "expires > ? AND (ended = 0 OR ended > ?)",
	scan: scanBreakGlass,
	key:  func(v BreakGlass) (time.Time, string) { return v.Created, string(v.ID) },
}

// BreakGlasses gives a page of the records of who has worked in a tenant, and of its own
// users who have worked in others: first those who still may, each the newest first. It
// gives the cursor of the next page too. ErrCursor.
func (t *Tx) BreakGlasses(tenant TenantID, now time.Time, p Page) (items []BreakGlass, next string, err error) {
	return breakGlasses.page(t, tenant, now, p)
}

// UserBreakGlasses gives the records of a user that are not over.
func (t *Tx) UserBreakGlasses(user UserID, now time.Time) ([]BreakGlass, error) {
	return rows(t, scanBreakGlass, "SELECT "+breakGlassColumns+" FROM break_glass WHERE user_id = $1 AND ended = 0 AND expires > $2 ORDER BY created DESC, id DESC", user, now)
}

// EndBreakGlass ends one, for the tenant or for the home of the user, and gives it. What
// is over stays as it is.
func (t *Tx) EndBreakGlass(tenant TenantID, id BreakGlassID, by UserID, at time.Time) (BreakGlass, error) {
	return row(t, scanBreakGlass, `UPDATE break_glass SET ended_by = CASE WHEN ended = 0 AND expires > $4 THEN $3 ELSE ended_by END,
		ended = CASE WHEN ended = 0 AND expires > $4 THEN $4 ELSE ended END
		WHERE (tenant_id = $1 OR home = $1) AND id = $2 RETURNING `+breakGlassColumns, tenant, id, by, at)
}
