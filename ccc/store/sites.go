package store

import "time"

// MaxSites is how many sites a tenant has at most.
const MaxSites = 1000

// Site is a place where a tenant has systems.
type Site struct {
	ID      SiteID
	Tenant  TenantID
	Name    string // unique in the tenant
	Created time.Time
	Address string    // postal; see [Tx.PlaceSite]
	At      *Position // nil: not known
}

// CreateSite adds a site. ErrLimit where the tenant has MaxSites; ErrConflict "name" or
// "id"; ErrNotFound without the tenant.
func (t *Tx) CreateSite(v Site) error {
	t.makes(v.Tenant, "site", string(v.ID), "")
	var c checks
	c.id("ID", string(v.ID))
	if v.Name == "" {
		c.fail("Name", "is missing")
	}
	c.time("Created", v.Created)
	if c.err != nil {
		return c.err
	}
	n, err := row(t, value[int], "SELECT count(*) FROM sites WHERE tenant_id = $1", v.Tenant)
	if err != nil {
		return err
	}
	if n >= MaxSites {
		return ErrLimit
	}
	_, err = t.exec("INSERT INTO sites (id, tenant_id, name, created) VALUES ($1, $2, $3, $4)", v.ID, v.Tenant, v.Name, v.Created)
	return err
}

const siteColumns = "id, tenant_id, name, created, address, placed, latitude, longitude"

func scanSite(s scanner) (v Site, err error) {
	var created moment
	var placed, latitude, longitude int64
	err = s.Scan(&v.ID, &v.Tenant, &v.Name, &created, &v.Address, &placed, &latitude, &longitude)
	v.Created, v.At = created.Time, position(placed, latitude, longitude)
	return v, err
}

// Site gives a site of the tenant.
func (t *Tx) Site(tenant TenantID, id SiteID) (Site, error) {
	return row(t, scanSite, "SELECT "+siteColumns+" FROM sites WHERE tenant_id = $1 AND id = $2", tenant, id)
}

// Sites gives the tenant's, by name.
func (t *Tx) Sites(tenant TenantID) ([]Site, error) {
	all, err := rows(t, scanSite, "SELECT "+siteColumns+" FROM sites WHERE tenant_id = $1", tenant)
	sortBy(all, nameKeys{}, func(s Site) string { return s.Name })
	return all, err
}

// RenameSite changes a site's name. ErrConflict "name".
func (t *Tx) RenameSite(tenant TenantID, id SiteID, name string) error {
	if name == "" {
		return &InvalidError{Field: "Name", Problem: "is missing"}
	}
	return t.change("UPDATE sites SET name = $3 WHERE tenant_id = $1 AND id = $2", tenant, id, name)
}

// DeleteSite removes a site with what was granted for it. Its systems stay, at none.
func (t *Tx) DeleteSite(tenant TenantID, id SiteID) error {
	if err := t.change("DELETE FROM sites WHERE tenant_id = $1 AND id = $2", tenant, id); err != nil {
		return err
	}
	for _, query := range []string{
		"UPDATE systems SET site_id = '', version = version + 1 WHERE site_id = $1",
		"DELETE FROM user_grants WHERE site_id = $1",
		"DELETE FROM tenant_grants WHERE site_id = $1",
	} {
		if _, err := t.exec(query, id); err != nil {
			return err
		}
	}
	return nil
}

// SystemSite gives the site of a system of the tenant; empty: it is at none.
func (t *Tx) SystemSite(tenant TenantID, id SystemID) (SiteID, error) {
	return row(t, value[SiteID], "SELECT site_id FROM systems WHERE tenant_id = $1 AND id = $2", tenant, id)
}
