-- +goose Up
-- A tenant's records of remote access, of all its systems, the newest first.
CREATE INDEX remote_sessions_tenant ON remote_sessions (tenant_id, requested, id);

-- +goose Down
DROP INDEX remote_sessions_tenant;
