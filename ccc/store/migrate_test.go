package store_test

import (
	"os"
	"slices"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// TestMigration: a database of the first program has what it had, and takes what is new.
// The role that a user had, he has.
func TestMigration(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, cfg store.Config) {
		pool := raw(t, cfg)
		if err := store.MigrateTo(t.Context(), cfg.Engine, pool, 1); err != nil {
			t.Fatal(err)
		}
		old := []string{
			"INSERT INTO tenants VALUES ('t', 'customer', NULL, 'Acker', 'Acker GmbH', '', 1)",
			`INSERT INTO systems VALUES ('s', 't', '0000000001', 'One', '', '', '', 'left', '', 1, 1, '', 1, 0, 0, 0, '')`,
		}
		for _, role := range []string{"owner", "administrator", "viewer"} {
			old = append(old, "INSERT INTO users VALUES ('"+role+"', 't', '"+role+"@example.com', 'Jo', '"+role+"', 'de', 'hash', 1, false)")
		}
		for _, query := range old {
			if _, err := pool.ExecContext(t.Context(), query); err != nil {
				t.Fatal(query, err)
			}
		}
		if err := pool.Close(); err != nil {
			t.Fatal(err)
		}
		if cfg.Path != "" {
			if err := os.Chmod(cfg.Path, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		db := open(t, cfg)
		for _, u := range get(t, db, func(tx *store.Tx) ([]store.User, error) { return tx.Users("t") }) {
			want := map[store.UserID]store.Role{
				"owner": store.RoleOwner, "administrator": store.RoleAdministrator, "viewer": store.RoleMonitoring,
			}[u.ID]
			if !slices.Equal(u.Roles, []store.Role{want}) || u.Name != "Jo" || u.PasswordHash != "hash" {
				t.Errorf("%s: %+v", u.ID, u)
			}
		}
		if n := get(t, db, func(tx *store.Tx) (int, error) { return tx.CountOwners("t") }); n != 1 {
			t.Errorf("%d owners", n)
		}
		s := get(t, db, func(tx *store.Tx) (store.System, error) { return tx.System("t", "s") })
		if s.Name != "One" || s.Site != "" {
			t.Errorf("the system: %+v", s)
		}
		v := newRemote(s, store.User{ID: "jo", Name: "Jo"})
		update(t, db, func(tx *store.Tx) error { return tx.CreateRemote(v) })
		equal(t, "a record", get(t, db, func(tx *store.Tx) (store.Remote, error) { return tx.Remote("t", "s", v.ID) }), v)
	})
}
