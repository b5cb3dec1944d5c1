package store

// CreateGroup adds a group. ErrConflict "name" or "id"; ErrNotFound without the tenant.
func (t *Tx) CreateGroup(v Group) error {
	var c checks
	c.id("ID", string(v.ID))
	if v.Name == "" {
		c.fail("Name", "is missing")
	}
	c.time("Created", v.Created)
	if c.err != nil {
		return c.err
	}
	_, err := t.exec("INSERT INTO system_groups (id, tenant_id, name, created) VALUES ($1, $2, $3, $4)",
		v.ID, v.Tenant, v.Name, v.Created)
	return err
}

func scanGroup(s scanner) (v Group, err error) {
	var created moment
	err = s.Scan(&v.ID, &v.Tenant, &v.Name, &created)
	v.Created = created.Time
	return v, err
}

// Groups gives the tenant's, by name.
func (t *Tx) Groups(tenant TenantID) ([]Group, error) {
	all, err := rows(t, scanGroup, "SELECT id, tenant_id, name, created FROM system_groups WHERE tenant_id = $1", tenant)
	sortGroups(all)
	return all, err
}

// DeleteGroup removes a group; its systems stay.
func (t *Tx) DeleteGroup(tenant TenantID, id GroupID) error {
	return t.change("DELETE FROM system_groups WHERE tenant_id = $1 AND id = $2", tenant, id)
}

// Tags gives the tags of the tenant's systems, by name.
func (t *Tx) Tags(tenant TenantID) ([]TagCount, error) {
	scan := func(s scanner) (v TagCount, err error) {
		err = s.Scan(&v.Tag, &v.Systems)
		return v, err
	}
	all, err := rows(t, scan, `SELECT tag, count(*) FROM system_tags JOIN systems ON systems.id = system_id
		WHERE tenant_id = $1 GROUP BY tag`, tenant)
	sortBy(all, func(v TagCount) string { return v.Tag })
	return all, err
}
