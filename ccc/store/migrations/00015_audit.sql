-- +goose Up
-- What the log is looked through for, each in the order of the log: the beginning of a
-- word says which one it is, and most outcomes are "done", which need no index.
CREATE INDEX audit_operation ON audit (tenant_id, operation, seq);
CREATE INDEX audit_actor ON audit (tenant_id, substr(actor, 1, 3), seq);
CREATE INDEX audit_outcome ON audit (tenant_id, substr(outcome, 1, 4), seq) WHERE outcome <> 'done';
CREATE INDEX audit_at ON audit (tenant_id, at, seq);

-- How often the same was refused again, where the entry tells of that.
ALTER TABLE audit ADD COLUMN repeats BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE audit DROP COLUMN repeats;
DROP INDEX audit_at;
DROP INDEX audit_outcome;
DROP INDEX audit_actor;
DROP INDEX audit_operation;
