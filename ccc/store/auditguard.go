package store

import (
	"context"
	"database/sql"
	"fmt"
)

// guards keep the tables of the audit log from being changed by a mistake, or by somebody
// who has not first taken them away: entries are only added, one after the other, and
// removed only from the beginning, after that was noted in audit_chains with the hash that
// the rest goes on from. Of heads the last one of each day stays. They are made at each start
// where they are missing.
var guards = map[Engine][]string{
	SQLite: {
		`CREATE TRIGGER IF NOT EXISTS audit_add BEFORE INSERT ON audit
			WHEN NEW.seq IS NOT (SELECT seq + 1 FROM audit_chains WHERE tenant_id = NEW.tenant_id)
			BEGIN SELECT RAISE(ABORT, 'entries of the audit log come one after the other'); END`,
		`CREATE TRIGGER IF NOT EXISTS audit_change BEFORE UPDATE ON audit
			BEGIN SELECT RAISE(ABORT, 'entries of the audit log do not change'); END`,
		`CREATE TRIGGER IF NOT EXISTS audit_remove BEFORE DELETE ON audit
			WHEN OLD.seq > coalesce((SELECT swept FROM audit_chains WHERE tenant_id = OLD.tenant_id), 0)
			BEGIN SELECT RAISE(ABORT, 'entries of the audit log are not removed'); END`,
		`CREATE TRIGGER IF NOT EXISTS audit_chains_change BEFORE UPDATE ON audit_chains
			WHEN NEW.tenant_id <> OLD.tenant_id OR NEW.seq < OLD.seq OR NEW.swept < OLD.swept OR NEW.swept > NEW.seq
				OR NEW.seq > OLD.seq AND NEW.hash IS NOT (SELECT hash FROM audit WHERE tenant_id = NEW.tenant_id AND seq = NEW.seq)
				OR NEW.seq = OLD.seq AND NEW.hash <> OLD.hash
				OR NEW.swept > OLD.swept AND NEW.swept_hash IS NOT (SELECT hash FROM audit WHERE tenant_id = NEW.tenant_id AND seq = NEW.swept)
				OR NEW.swept = OLD.swept AND NEW.swept_hash <> OLD.swept_hash
			BEGIN SELECT RAISE(ABORT, 'the chain of the audit log only goes on'); END`,
		`CREATE TRIGGER IF NOT EXISTS audit_chains_remove BEFORE DELETE ON audit_chains
			BEGIN SELECT RAISE(ABORT, 'chains of the audit log are not removed'); END`,
		`CREATE TRIGGER IF NOT EXISTS audit_heads_change BEFORE UPDATE ON audit_heads
			BEGIN SELECT RAISE(ABORT, 'heads of the audit log do not change'); END`,
		`CREATE TRIGGER IF NOT EXISTS audit_heads_thin BEFORE DELETE ON audit_heads
			WHEN OLD.seq >= coalesce((SELECT swept FROM audit_chains WHERE tenant_id = OLD.tenant_id), 0)
				AND (OLD.seq = (SELECT swept FROM audit_chains WHERE tenant_id = OLD.tenant_id) OR NOT EXISTS (SELECT 1 FROM audit_heads
					WHERE tenant_id = OLD.tenant_id AND seq > OLD.seq AND at / 86400000 = OLD.at / 86400000))
			BEGIN SELECT RAISE(ABORT, 'heads of the audit log are not removed'); END`,
		`DROP TRIGGER IF EXISTS audit_heads_remove`, // of older programs, which left all
	},
	Postgres: {postgresGuard},
}

// postgresGuard is one statement, so that either all or nothing of it is done. The lock is
// for programs that start at the same time.
const postgresGuard = `DO $guard$
BEGIN
	PERFORM pg_advisory_xact_lock(7165381442);
	IF EXISTS (SELECT 1 FROM pg_trigger WHERE tgname = 'audit_heads_thin' AND tgrelid = 'audit_heads'::regclass) THEN
		RETURN;
	END IF;
	CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $f$
	BEGIN
		RAISE EXCEPTION 'the audit log is only added to';
	END $f$;
	CREATE OR REPLACE FUNCTION audit_guard() RETURNS trigger LANGUAGE plpgsql AS $f$
	BEGIN
		IF TG_OP = 'INSERT' THEN
			IF NEW.seq IS DISTINCT FROM (SELECT seq + 1 FROM audit_chains WHERE tenant_id = NEW.tenant_id) THEN
				RAISE EXCEPTION 'entries of the audit log come one after the other';
			END IF;
			RETURN NEW;
		END IF;
		IF OLD.seq > coalesce((SELECT swept FROM audit_chains WHERE tenant_id = OLD.tenant_id), 0) THEN
			RAISE EXCEPTION 'entries of the audit log are not removed';
		END IF;
		RETURN OLD;
	END $f$;
	CREATE OR REPLACE FUNCTION audit_chains_guard() RETURNS trigger LANGUAGE plpgsql AS $f$
	BEGIN
		IF NEW.tenant_id <> OLD.tenant_id OR NEW.seq < OLD.seq OR NEW.swept < OLD.swept OR NEW.swept > NEW.seq
			OR NEW.seq > OLD.seq AND NEW.hash IS DISTINCT FROM (SELECT hash FROM audit WHERE tenant_id = NEW.tenant_id AND seq = NEW.seq)
			OR NEW.seq = OLD.seq AND NEW.hash <> OLD.hash
			OR NEW.swept > OLD.swept AND NEW.swept_hash IS DISTINCT FROM (SELECT hash FROM audit WHERE tenant_id = NEW.tenant_id AND seq = NEW.swept)
			OR NEW.swept = OLD.swept AND NEW.swept_hash <> OLD.swept_hash THEN
			RAISE EXCEPTION 'the chain of the audit log only goes on';
		END IF;
		RETURN NEW;
	END $f$;
	CREATE OR REPLACE FUNCTION audit_heads_guard() RETURNS trigger LANGUAGE plpgsql AS $f$
	BEGIN
		IF OLD.seq >= coalesce((SELECT swept FROM audit_chains WHERE tenant_id = OLD.tenant_id), 0)
			AND (OLD.seq = (SELECT swept FROM audit_chains WHERE tenant_id = OLD.tenant_id) OR NOT EXISTS (SELECT 1 FROM audit_heads
				WHERE tenant_id = OLD.tenant_id AND seq > OLD.seq AND at / 86400000 = OLD.at / 86400000)) THEN
			RAISE EXCEPTION 'heads of the audit log are not removed';
		END IF;
		RETURN OLD;
	END $f$;
	IF NOT EXISTS (SELECT 1 FROM pg_trigger WHERE tgname = 'audit_guard' AND tgrelid = 'audit'::regclass) THEN
		CREATE TRIGGER audit_guard BEFORE INSERT OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_guard();
		CREATE TRIGGER audit_change BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION audit_refuse();
		CREATE TRIGGER audit_empty BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
		CREATE TRIGGER audit_chains_change BEFORE UPDATE ON audit_chains FOR EACH ROW EXECUTE FUNCTION audit_chains_guard();
		CREATE TRIGGER audit_chains_remove BEFORE DELETE ON audit_chains FOR EACH ROW EXECUTE FUNCTION audit_refuse();
		CREATE TRIGGER audit_chains_empty BEFORE TRUNCATE ON audit_chains FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
		CREATE TRIGGER audit_heads_change BEFORE UPDATE ON audit_heads FOR EACH ROW EXECUTE FUNCTION audit_refuse();
		CREATE TRIGGER audit_heads_empty BEFORE TRUNCATE ON audit_heads FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
	END IF;
	DROP TRIGGER IF EXISTS audit_heads_remove ON audit_heads; -- of older programs, which left all
	CREATE TRIGGER audit_heads_thin BEFORE DELETE ON audit_heads FOR EACH ROW EXECUTE FUNCTION audit_heads_guard();
END $guard$`

// guard makes what is missing of them.
func guard(ctx context.Context, engine Engine, pool *sql.DB) error {
	for _, query := range guards[engine] {
		if _, err := pool.ExecContext(ctx, query); err != nil {
			return fmt.Errorf("guards of the audit log: %w", err)
		}
	}
	return nil
}
