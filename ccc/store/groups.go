package store

import "slices"

// MaxGroups is how many groups a tenant has at most.
const MaxGroups = 1000

// CreateGroup adds a group. ErrLimit where the tenant has MaxGroups; ErrConflict "name"
// or "id"; ErrNotFound without the tenant.
func (t *Tx) CreateGroup(v Group) error {
	t.makes(v.Tenant, "group", string(v.ID), "")
	var c checks
	c.id("ID", string(v.ID))
	if v.Name == "" {
		c.fail("Name", "is missing")
	}
	c.time("Created", v.Created)
	if c.err != nil {
		return c.err
	}
	n, err := row(t, value[int], "SELECT count(*) FROM system_groups WHERE tenant_id = $1", v.Tenant)
	if err != nil {
		return err
	}
	if n >= MaxGroups {
		return ErrLimit
	}
	_, err = t.exec("INSERT INTO system_groups (id, tenant_id, name, created) VALUES ($1, $2, $3, $4)",
		v.ID, v.Tenant, v.Name, v.Created)
	return err
}

func scanGroup(s scanner) (v Group, err error) {
	var created moment
	err = s.Scan(&v.ID, &v.Tenant, &v.Name, &created)
	v.Created = created.Time
	return v, err
}

// Groups gives the tenant's, by name; where some are named those alone, without what is
// not there.
func (t *Tx) Groups(tenant TenantID, only ...GroupID) ([]Group, error) {
	query, args := "SELECT id, tenant_id, name, created FROM system_groups WHERE tenant_id = $1", []any{tenant}
	if len(only) > 0 {
		query += " AND id IN " + t.list("$2")
		args = append(args, listOf(wellFormedOf(only)))
	}
	all, err := rows(t, scanGroup, query, args...)
	sortGroups(all, nameKeys{})
	return all, err
}

// GroupsWithin gives those of the tenant's in which a system of some parts of it is, by
// name.
func (t *Tx) GroupsWithin(tenant TenantID, in Within) ([]Group, error) {
	w := t.filter(tenant, Filter{Within: &in})
	all, err := rows(t, scanGroup, `SELECT id, tenant_id, name, created FROM system_groups WHERE tenant_id = $1 AND id IN
		(SELECT group_id FROM system_group_members WHERE system_id IN (SELECT id FROM systems WHERE `+w.sql.String()+"))", w.args...)
	sortGroups(all, nameKeys{})
	return all, err
}

// wellFormedOf leaves out what cannot be an id: PostgreSQL takes no list with NUL in it.
func wellFormedOf[T ~string](all []T) []T {
	return slices.DeleteFunc(slices.Clone(all), func(id T) bool { return !wellFormed(string(id)) })
}

// DeleteGroup removes a group; its systems stay.
func (t *Tx) DeleteGroup(tenant TenantID, id GroupID) error {
	return t.change("DELETE FROM system_groups WHERE tenant_id = $1 AND id = $2", tenant, id)
}

// Tags gives the tags of the tenant's systems, or of those within some parts, by name.
func (t *Tx) Tags(tenant TenantID, within *Within) ([]TagCount, error) {
	w := t.filter(tenant, Filter{Within: within})
	scan := func(s scanner) (v TagCount, err error) {
		err = s.Scan(&v.Tag, &v.Systems)
		return v, err
	}
	all, err := rows(t, scan, "SELECT tag, count(*) FROM system_tags JOIN systems ON systems.id = system_id WHERE "+
		w.sql.String()+" GROUP BY tag", w.args...)
	sortBy(all, nameKeys{}, func(v TagCount) string { return v.Tag })
	return all, err
}
