package store_test

import (
	"database/sql"
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

// look gives one value.
func look(t testing.TB, pool *sql.DB, query string) (v string) {
	t.Helper()
	if err := pool.QueryRowContext(t.Context(), query).Scan(&v); err != nil {
		t.Fatal(query, err)
	}
	return v
}

// TestMigrationOfRollouts: mails, rollouts and the audit log of a database of version 11 stay
// what they are, there and back and there again.
func TestMigrationOfRollouts(t *testing.T) {
	t.Parallel()
	const version = 11
	engines(t, func(t *testing.T, cfg store.Config) {
		pool := raw(t, cfg)
		if err := store.MigrateTo(t.Context(), cfg.Engine, pool, version); err != nil {
			t.Fatal(err)
		}
		rollout := func(id, kind, state string) string {
			return `INSERT INTO rollouts (id, tenant_id, name, kind, template_id, template_version, firmware_id, settings, plan, state, reason, ring, not_before,
				forgiven, created, created_by, acting, started, deadline, ended, lease_owner, lease_until)
				VALUES ('` + id + "', 't', 'Time', '" + kind + "', '', 0, '', '{}', '{}', '" + state + "', '', 0, 0, 0, 7, 'jo', 'jo', 8, 9, 0, '', 0)"
		}
		for _, query := range []string{
			"INSERT INTO tenants (id, kind, parent, name, legal_name, brand, created) VALUES ('t', 'customer', NULL, 'Acker', 'Acker GmbH', '', 1)",
			`INSERT INTO mails (id, kind, sealed, state, tries, due, expires, created, ended, failure) VALUES
				('m1', 'invitation', '1', 'queued', 0, 1, 99, 1, 0, ''), ('m2', 'password_reset', '2', 'queued', 0, 1, 99, 1, 0, '')`,
			`INSERT INTO invitations (id, tenant_id, email, name, language, roles, founding, invited_by, secret_hash, mail_id, created, expires) VALUES
				('i1', 't', 'a@example.com', 'A', 'de', '[]', false, 'jo', '1', 'm1', 1, 99), ('i2', 't', 'b@example.com', 'B', 'de', '[]', false, 'jo', '2', '', 1, 99)`,
			rollout("r1", "settings", "paused"),
			`INSERT INTO audit (tenant_id, seq, at, actor, user_id, home, by_right, operation, resource, serial, outcome, fields, access, prev, hash)
				VALUES ('t', 1, 1, 'user', 'jo', 't', '', 'login', '', '', 'done', '', '', '', 'h1')`,
			"INSERT INTO audit_chains (tenant_id, seq, hash, at, swept, swept_hash) VALUES ('t', 1, 'h1', 1, 0, '')",
		} {
			if _, err := pool.ExecContext(t.Context(), query); err != nil {
				t.Fatal(query, err)
			}
		}
		if cfg.Path != "" {
			if err := os.Chmod(cfg.Path, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		upgraded := func() {
			t.Helper()
			if err := open(t, cfg).Close(); err != nil {
				t.Fatal(err)
			}
			for query, want := range map[string]string{
				"SELECT tenant_id || ' ' || priority FROM mails WHERE id = 'm1'": "t 1",
				"SELECT tenant_id || ' ' || priority FROM mails WHERE id = 'm2'": " 0",
				"SELECT state || ' ' || stood FROM rollouts WHERE id = 'r1'":     "paused 0",
				"SELECT hash || ' ' || repeats FROM audit WHERE tenant_id = 't'": "h1 0",
			} {
				if got := look(t, pool, query); got != want {
					t.Errorf("%s: %q, want %q", query, got, want)
				}
			}
		}
		upgraded()
		if _, err := pool.ExecContext(t.Context(), rollout("r2", "firmware", "running")); err != nil {
			t.Fatal(err)
		}
		if err := store.MigrateDown(t.Context(), cfg.Engine, pool, version); err != nil {
			t.Fatal(err)
		}
		if got := look(t, pool, "SELECT state || ' ' || ended FROM rollouts WHERE id = 'r2'"); got != "stopped 7" {
			t.Errorf("firmware, for a program that does not know it: %s", got)
		}
		upgraded()
	})
}

// TestMigrationIsPatient: what changes the tables of PostgreSQL has no time limit, which
// everything else has.
func TestMigrationIsPatient(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	pool := raw(t, cfg)
	if _, err := pool.ExecContext(t.Context(), `CREATE TABLE limits (v TEXT);
		CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO limits VALUES (current_setting('statement_timeout')); END $$;
		CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION note()`); err != nil {
		t.Fatal(err)
	}
	db := open(t, cfg)
	if got := look(t, pool, "SELECT string_agg(DISTINCT v, ' ') FROM limits"); got != "0" {
		t.Errorf("the limit while tables are made: %s", got)
	}
	if got := get(t, db, func(tx *store.Tx) (string, error) { return store.Setting(tx, "statement_timeout") }); got != "1min" {
		t.Errorf("the limit afterwards: %s", got)
	}
}
