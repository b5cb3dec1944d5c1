package store

// CreateTenant adds a tenant. ErrConflict "id"; ErrNotFound for a parent that is not
// there.
func (t *Tx) CreateTenant(v Tenant) error {
	t.makes(v.ID, "tenant", string(v.ID), "")
	var c checks
	c.id("ID", string(v.ID))
	oneOf(&c, "Kind", v.Kind, KindOperator, KindReseller, KindCustomer)
	c.time("Created", v.Created)
	if c.err != nil {
		return c.err
	}
	var parent any
	if v.Parent != "" {
		parent = v.Parent
	}
	_, err := t.exec(`INSERT INTO tenants (id, kind, parent, name, legal_name, brand, created)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`, v.ID, v.Kind, parent, v.Name, v.LegalName, v.Brand, v.Created)
	return err
}

const tenantColumns = "id, kind, coalesce(parent, ''), name, legal_name, brand, created"

func scanTenant(s scanner) (v Tenant, err error) {
	var created moment
	err = s.Scan(&v.ID, &v.Kind, &v.Parent, &v.Name, &v.LegalName, &v.Brand, &created)
	v.Created = created.Time
	return v, err
}

// CountTenants tells how many tenants are right below one.
func (t *Tx) CountTenants(parent TenantID) (int, error) {
	return row(t, value[int], "SELECT count(*) FROM tenants WHERE parent = $1", parent)
}

// Tenant gives a tenant.
func (t *Tx) Tenant(id TenantID) (Tenant, error) {
	return row(t, scanTenant, "SELECT "+tenantColumns+" FROM tenants WHERE id = $1", id)
}

// SomeTenants gives those of some ids, in any order.
func (t *Tx) SomeTenants(ids []TenantID) ([]Tenant, error) {
	return rows(t, scanTenant, "SELECT "+tenantColumns+" FROM tenants WHERE id IN "+t.list("$1"), listOf(wellFormedOf(ids)))
}

// Tenants gives all, those made first before the others.
func (t *Tx) Tenants() ([]Tenant, error) {
	return rows(t, scanTenant, "SELECT "+tenantColumns+" FROM tenants ORDER BY created, id")
}

// TenantsBelow gives a page of the tenants right below one in whose names each word of a
// query is, by name, the cursor of the next page (empty after the last), and how many
// there are on all pages now. ErrCursor.
func (t *Tx) TenantsBelow(parent TenantID, query string, p Page) (items []Tenant, next string, total int, err error) {
	all, err := rows(t, scanTenant, "SELECT "+tenantColumns+" FROM tenants WHERE parent = $1", parent)
	if err != nil {
		return nil, "", 0, err
	}
	keys := nameKeys{}
	return found[Tenant]{
		column: "tenant",
		text:   func(v Tenant) string { return v.Name },
		key:    func(v Tenant) []byte { return keys.of(v.Name) },
		id:     func(v Tenant) string { return string(v.ID) },
	}.page(all, query, p)
}
