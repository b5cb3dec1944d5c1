package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// walk reads all pages of a list and gives the names in it.
func walk[T any](t *testing.T, limit int, name func(T) string, page func(store.Page) ([]T, string, int, error)) (names []string, pages int) {
	t.Helper()
	for p := (store.Page{Limit: limit}); ; {
		items, next, total, err := page(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(items) > limit {
			t.Fatalf("a page of %d", len(items))
		}
		for _, item := range items {
			names = append(names, name(item))
		}
		pages++
		if p.Cursor = next; next == "" {
			if total != len(names) {
				t.Errorf("total %d, and %d were on the pages", total, len(names))
			}
			return names, pages
		}
	}
}

// TestTenantsBelow: sorted as people sort, found without case and accents, page by page.
func TestTenantsBelow(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		named := func(name string) store.Tenant {
			v := newTenant()
			v.Name = name
			return v
		}
		parent, other := named("Parent"), named("Other")
		parent.Kind, other.Kind = store.KindReseller, store.KindReseller
		update(t, db, func(tx *store.Tx) error { return errors.Join(tx.CreateTenant(parent), tx.CreateTenant(other)) })
		below := func(of store.TenantID, name string) {
			v := named(name)
			v.Parent = of
			update(t, db, func(tx *store.Tx) error { return tx.CreateTenant(v) })
		}
		for _, name := range []string{"Praxis 10", "Müller & Söhne", "Praxis 9", "praxis 1", "Zoll", "Müller & Söhne"} {
			below(parent.ID, name)
		}
		below(other.ID, "Müller of another")
		of := func(query string) func(store.Page) ([]store.Tenant, string, int, error) {
			return func(p store.Page) (items []store.Tenant, next string, total int, err error) {
				err = db.View(t.Context(), func(tx *store.Tx) (err error) {
					items, next, total, err = tx.TenantsBelow(parent.ID, query, p)
					return err
				})
				return items, next, total, err
			}
		}
		name := func(v store.Tenant) string { return v.Name }
		for query, want := range map[string][]string{
			"":              {"Müller & Söhne", "Müller & Söhne", "praxis 1", "Praxis 9", "Praxis 10", "Zoll"},
			"MULLER":        {"Müller & Söhne", "Müller & Söhne"},
			"sohne müll":    {"Müller & Söhne", "Müller & Söhne"},
			"PRAXIS 1":      {"praxis 1", "Praxis 10"},
			"nobody at all": nil,
			"%":             nil,
		} {
			for _, limit := range []int{1, 2, 100} {
				if got, _ := walk(t, limit, name, of(query)); !slices.Equal(got, want) {
					t.Errorf("%q by %d: %q, want %q", query, limit, got, want)
				}
			}
		}
		for _, cursor := range []string{"x", "bm9uZQ", "eyJjIjoidXNlciIsImkiOiJhIn0"} { // the last one is of users
			if _, _, _, err := of("")(store.Page{Cursor: cursor}); !errors.Is(err, store.ErrCursor) {
				t.Errorf("cursor %q: %v", cursor, err)
			}
		}
	})
}

// TestFindUsers: by name or address, in the order of the addresses.
func TestFindUsers(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		for i := range 5 {
			u := newUser(s.Tenant, fmt.Sprintf("u%d@example.com", i))
			u.Name = []string{"Zoé", "Anna", "Jörg", "anna", "Zoe"}[i]
			update(t, db, func(tx *store.Tx) error { return tx.CreateUser(u) })
		}
		for query, want := range map[string][]string{
			"anna":        {"u1@example.com", "u3@example.com"},
			"ZOE":         {"u0@example.com", "u4@example.com"},
			"u2 jorg":     {"u2@example.com"},
			"@EXAMPLE u4": {"u4@example.com"},
			"somebody":    nil,
		} {
			got, pages := walk(t, 1, func(v store.User) string { return v.Email }, func(p store.Page) (items []store.User, next string, total int, err error) {
				err = db.View(t.Context(), func(tx *store.Tx) (err error) {
					items, next, total, err = tx.FindUsers(s.Tenant, query, p)
					return err
				})
				return items, next, total, err
			})
			if !slices.Equal(got, want) || pages != max(1, len(want)) {
				t.Errorf("%q: %q on %d pages, want %q", query, got, pages, want)
			}
		}
	})
}
