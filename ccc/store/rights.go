package store

import "time"

// Rights is what a user has at a moment that says what he may do in a tenant. What is
// over is not in it.
type Rights struct {
	Own   []UserGrant   // in his own tenant
	Given []TenantGrant // by the tenant to his own; only ID, Roles, Part and Until are set, and Tenant and Grantee
	Glass []BreakGlass  // his, in the tenant; only ID, Tenant, User and Expires are set
}

// Rights gives what a user has for a tenant, which is his own or another. Nobody who is
// there has none. To the operator no tenant can give anything: its staff break glass.
func (t *Tx) Rights(user UserID, home, tenant TenantID, now time.Time) (r Rights, err error) {
	type none struct{}
	scan := func(s scanner) (none, error) {
		var kind, roles, id string
		var part Part
		var until moment
		err := s.Scan(&kind, &roles, &part.Site, &part.System, &until, &id)
		switch kind {
		case "own":
			for _, role := range rolesOf(roles) {
				r.Own = append(r.Own, UserGrant{User: user, Role: role, Part: part})
			}
		case "given":
			r.Given = append(r.Given, TenantGrant{ID: GrantID(id), Tenant: tenant, Grantee: home, Roles: rolesOf(roles), Part: part, Until: until.pointer()})
		case "glass":
			r.Glass = append(r.Glass, BreakGlass{ID: BreakGlassID(id), Tenant: tenant, Home: home, User: user, Expires: until.Time})
		}
		return none{}, err
	}
	query, args := rightsQuery(user, home, tenant, now)
	_, err = rows(t, scan, query, args...)
	return r, err
}

// rightsQuery is what each request of a user asks for: few rows, by indexes.
func rightsQuery(user UserID, home, tenant TenantID, now time.Time) (query string, args []any) {
	query = `SELECT 'own', role, site_id, system_id, CAST(0 AS BIGINT), '' FROM user_grants JOIN users ON users.id = user_id
		WHERE user_id = $1 AND tenant_id = $2 AND NOT disabled`
	args = []any{user, home}
	if home != tenant {
		query += ` UNION ALL SELECT 'given', roles, site_id, system_id, until, tenant_grants.id FROM tenant_grants JOIN tenants ON tenants.id = grantee
			WHERE grantee = $2 AND tenant_id = $3 AND kind <> 'operator' AND (until = 0 OR until > $4)
			UNION ALL SELECT 'glass', '', '', '', expires, id FROM break_glass
			WHERE user_id = $1 AND home = $2 AND tenant_id = $3 AND ended = 0 AND expires > $4`
		args = append(args, tenant, now)
	}
	return query, args
}

// UserByID gives a user of whatever tenant.
func (t *Tx) UserByID(id UserID) (User, error) {
	return row(t, scanUser, "SELECT "+userColumns+" FROM users WHERE id = $1", id)
}

// UserNames gives the names of users of whatever tenant, for what they have done. Those
// that are gone are not in it.
func (t *Tx) UserNames(ids []UserID) (map[UserID]string, error) {
	type pair struct {
		id   UserID
		name string
	}
	all, err := rows(t, func(s scanner) (p pair, err error) {
		err = s.Scan(&p.id, &p.name)
		return p, err
	}, "SELECT id, name FROM users WHERE id IN "+t.list("$1"), listOf(wellFormedOf(ids)))
	names := make(map[UserID]string, len(all))
	for _, p := range all {
		names[p.id] = p.name
	}
	return names, err
}

// RenameTenant changes what a tenant is called.
func (t *Tx) RenameTenant(tenant TenantID, name, legalName string) error {
	if name == "" || legalName == "" {
		return &InvalidError{Field: "Name", Problem: "is missing"}
	}
	return t.change("UPDATE tenants SET name = $2, legal_name = $3 WHERE id = $1", tenant, name, legalName)
}
