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
func (t *Tx) Rights(user UserID, home, tenant TenantID, now time.Time) (Rights, error) {
	query, args := rightsQuery(user, home, tenant, now)
	all, err := t.rights(user, home, query, args)
	own := all[home]
	if err != nil || tenant == home {
		return own, err
	}
	r := all[tenant]
	r.Own = own.Own
	return r, err
}

// RightsAway gives what a user has for each tenant but his own in which he has something.
func (t *Tx) RightsAway(user UserID, home TenantID, now time.Time) (map[TenantID]Rights, error) {
	query, args := rightsQuery(user, home, "", now)
	all, err := t.rights(user, home, query, args)
	own := all[home].Own
	delete(all, home)
	for tenant, r := range all {
		r.Own = own
		all[tenant] = r
	}
	return all, err
}

// rights gives by tenant what one of its own queries finds. What is the user's own is only
// with his home.
func (t *Tx) rights(user UserID, home TenantID, query string, args []any) (map[TenantID]Rights, error) {
	type none struct{}
	all := map[TenantID]Rights{}
	_, err := rows(t, func(s scanner) (none, error) {
		var kind, roles, id string
		var tenant TenantID
		var part Part
		var until moment
		err := s.Scan(&kind, &tenant, &roles, &part.Site, &part.System, &until, &id)
		r := all[tenant]
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
		all[tenant] = r
		return none{}, err
	}, query, args...)
	return all, err
}

// rightsQuery is what each request of a user asks for: few rows, by indexes. Without a
// tenant it is about all.
func rightsQuery(user UserID, home, tenant TenantID, now time.Time) (query string, args []any) {
	query = `SELECT 'own', tenant_id, role, site_id, system_id, CAST(0 AS BIGINT), '' FROM user_grants JOIN users ON users.id = user_id
		WHERE user_id = $1 AND tenant_id = $2 AND NOT disabled`
	args = []any{user, home}
	if tenant == home {
		return query, args
	}
	in := "tenant_id <> $2"
	args = append(args, now)
	if tenant != "" {
		in = "tenant_id = $4"
		args = append(args, tenant)
	}
	return query + ` UNION ALL SELECT 'given', tenant_id, roles, site_id, system_id, until, tenant_grants.id FROM tenant_grants JOIN tenants ON tenants.id = grantee
		WHERE grantee = $2 AND ` + in + ` AND tenants.kind <> 'operator' AND (until = 0 OR until > $3)
		UNION ALL SELECT 'glass', tenant_id, '', '', '', expires, id FROM break_glass
		WHERE user_id = $1 AND home = $2 AND ` + in + ` AND ended = 0 AND expires > $3`, args
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
