package store

import "time"

// MaxTemplates is how many templates a tenant has at most.
const MaxTemplates = 1000

// Template is a named set of settings.
type Template struct {
	ID        TemplateID
	Tenant    TenantID
	Name      string // unique in the tenant
	Version   int64  // counts the changes, from 1
	Settings  []byte // a JSON object
	Created   time.Time
	Changed   time.Time
	ChangedBy UserID
}

const templateColumns = "id, tenant_id, name, version, settings, created, changed, changed_by"

func scanTemplate(s scanner) (v Template, err error) {
	var created, changed moment
	var settings string
	err = s.Scan(&v.ID, &v.Tenant, &v.Name, &v.Version, &settings, &created, &changed, &v.ChangedBy)
	v.Settings, v.Created, v.Changed = []byte(settings), created.Time, changed.Time
	return v, err
}

// CreateTemplate adds a template; its Version is 1, whatever it says. ErrLimit where the
// tenant has MaxTemplates; ErrConflict "name" or "id"; ErrNotFound without the tenant.
func (t *Tx) CreateTemplate(v Template) error {
	t.makes(v.Tenant, "template", string(v.ID), "")
	t.makes(v.Tenant, "template", string(v.ID), "")
	var c checks
	c.id("ID", string(v.ID))
	if v.Name == "" {
		c.fail("Name", "is missing")
	}
	c.time("Created", v.Created)
	if c.err != nil {
		return c.err
	}
	n, err := row(t, value[int], "SELECT count(*) FROM templates WHERE tenant_id = $1", v.Tenant)
	if err != nil {
		return err
	}
	if n >= MaxTemplates {
		return ErrLimit
	}
	_, err = t.exec("INSERT INTO templates ("+templateColumns+") VALUES ($1, $2, $3, 1, $4, $5, $5, $6)",
		v.ID, v.Tenant, v.Name, string(v.Settings), v.Created, optional(v.ChangedBy))
	return err
}

// Template gives one of the tenant's.
func (t *Tx) Template(tenant TenantID, id TemplateID) (Template, error) {
	return row(t, scanTemplate, "SELECT "+templateColumns+" FROM templates WHERE tenant_id = $1 AND id = $2", tenant, id)
}

// Templates gives the tenant's, by name.
func (t *Tx) Templates(tenant TenantID) ([]Template, error) {
	all, err := rows(t, scanTemplate, "SELECT "+templateColumns+" FROM templates WHERE tenant_id = $1", tenant)
	sortBy(all, nameKeys{}, func(v Template) string { return v.Name })
	return all, err
}

// UpdateTemplate replaces name and settings of one, and gives it. ErrVersion where it has
// another version than v; 0 takes any. ErrConflict "name".
func (t *Tx) UpdateTemplate(tenant TenantID, v Template) (Template, error) {
	if v.Name == "" {
		return v, &InvalidError{Field: "Name", Problem: "is missing"}
	}
	is, err := t.Template(tenant, v.ID)
	if err != nil {
		return is, err
	}
	if v.Version != 0 && v.Version != is.Version {
		return is, ErrVersion
	}
	return row(t, scanTemplate, `UPDATE templates SET name = $2, settings = $3, changed = $4, changed_by = $5, version = version + 1
		WHERE id = $1 RETURNING `+templateColumns, v.ID, v.Name, string(v.Settings), v.Changed, optional(v.ChangedBy))
}

// DeleteTemplate removes one. Rollouts have a copy of what it was.
func (t *Tx) DeleteTemplate(tenant TenantID, id TemplateID) error {
	return t.change("DELETE FROM templates WHERE tenant_id = $1 AND id = $2", tenant, id)
}
