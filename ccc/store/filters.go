package store

import (
	"errors"
	"time"
)

// MaxFilters is how many filters a person keeps in a tenant at most, and how many all
// share.
const MaxFilters = 100

// SavedFilter is a filter of systems with a name.
type SavedFilter struct {
	ID      FilterID
	Tenant  TenantID
	User    UserID // whose it is; empty: of all in the tenant
	Name    string // unique among the person's, or those of all
	Filter  string // opaque to the store
	Created time.Time
}

// CreateFilter adds a filter. ErrLimit where there are MaxFilters; ErrConflict "name" or
// "id"; ErrNotFound without the tenant or the user.
func (t *Tx) CreateFilter(v SavedFilter) error {
	t.makes(v.Tenant, "filter", string(v.ID), "")
	var c checks
	c.id("ID", string(v.ID))
	if v.Name == "" {
		c.fail("Name", "is missing")
	}
	c.time("Created", v.Created)
	if c.err != nil {
		return c.err
	}
	n, err := row(t, value[int], "SELECT count(*) FROM saved_filters WHERE tenant_id = $1 AND coalesce(user_id, '') = $2", v.Tenant, optional(v.User))
	if err != nil {
		return err
	}
	if n >= MaxFilters {
		return ErrLimit
	}
	_, err = t.exec("INSERT INTO saved_filters (id, tenant_id, user_id, name, filter, created) VALUES ($1, $2, $3, $4, $5, $6)",
		v.ID, v.Tenant, nullable(v.User), v.Name, v.Filter, v.Created)
	return err
}

// nullable makes an empty id NULL, as a reference wants it.
func nullable(id UserID) any {
	if id == "" {
		return nil
	}
	return id
}

const filterColumns = "id, tenant_id, coalesce(user_id, ''), name, filter, created"

func scanFilter(s scanner) (v SavedFilter, err error) {
	var created moment
	err = s.Scan(&v.ID, &v.Tenant, &v.User, &v.Name, &v.Filter, &created)
	v.Created = created.Time
	return v, err
}

// Filters gives what a user may choose from in a tenant, by name: his own filters and
// those of all.
func (t *Tx) Filters(tenant TenantID, user UserID) ([]SavedFilter, error) {
	all, err := rows(t, scanFilter, "SELECT "+filterColumns+" FROM saved_filters WHERE tenant_id = $1 AND (user_id IS NULL OR user_id = $2)", tenant, user)
	sortBy(all, nameKeys{}, func(f SavedFilter) string { return f.Name })
	return all, err
}

// Filter gives one of these. ErrNotFound also for another person's.
func (t *Tx) Filter(tenant TenantID, user UserID, id FilterID) (SavedFilter, error) {
	return row(t, scanFilter, "SELECT "+filterColumns+" FROM saved_filters WHERE tenant_id = $1 AND (user_id IS NULL OR user_id = $2) AND id = $3", tenant, user, id)
}

// ChangeFilter gives a filter another name and contents. ErrConflict "name".
func (t *Tx) ChangeFilter(tenant TenantID, id FilterID, name, filter string) error {
	if name == "" {
		return &InvalidError{Field: "Name", Problem: "is missing"}
	}
	return t.change("UPDATE saved_filters SET name = $3, filter = $4 WHERE tenant_id = $1 AND id = $2", tenant, id, name, filter)
}

// DeleteFilter removes a filter, and nobody begins with it any more.
func (t *Tx) DeleteFilter(tenant TenantID, id FilterID) error {
	return t.change("DELETE FROM saved_filters WHERE tenant_id = $1 AND id = $2", tenant, id)
}

// DefaultFilter gives the one that a user's list begins with; empty: none.
func (t *Tx) DefaultFilter(tenant TenantID, user UserID) (FilterID, error) {
	id, err := row(t, value[FilterID], "SELECT filter_id FROM default_filters WHERE tenant_id = $1 AND user_id = $2", tenant, user)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return id, err
}

// SetDefaultFilter chooses it; empty: none. ErrNotFound where the user has no such filter.
func (t *Tx) SetDefaultFilter(tenant TenantID, user UserID, id FilterID) error {
	if id != "" {
		if _, err := t.Filter(tenant, user, id); err != nil {
			return err
		}
	}
	_, err := t.exec("DELETE FROM default_filters WHERE tenant_id = $1 AND user_id = $2", tenant, user)
	if err == nil && id != "" {
		_, err = t.exec("INSERT INTO default_filters (tenant_id, user_id, filter_id) VALUES ($1, $2, $3)", tenant, user, id)
	}
	return err
}
