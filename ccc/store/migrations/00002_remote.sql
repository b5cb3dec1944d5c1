-- +goose Up
-- The records of remote access outlive the system and the user that they name. ended is
-- set with the state, confirmed when the PBX has said so; ending is the cause that the
-- PBX is still to be told, reported the PBX's time of its last report.
CREATE TABLE remote_sessions (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    system_id TEXT NOT NULL,
    serial TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    user_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    reason TEXT NOT NULL,
    service TEXT NOT NULL,
    target TEXT NOT NULL,
    seconds BIGINT NOT NULL,
    state TEXT NOT NULL,
    consent TEXT NOT NULL,
    cause TEXT NOT NULL,
    requested BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    started BIGINT NOT NULL,
    until BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    reported BIGINT NOT NULL,
    confirmed BOOLEAN NOT NULL,
    ending TEXT NOT NULL,
    bytes_in BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL
);
CREATE INDEX remote_sessions_system ON remote_sessions (tenant_id, system_id, requested, id);
CREATE INDEX remote_sessions_serial ON remote_sessions (serial, epoch);
CREATE INDEX remote_sessions_open ON remote_sessions (id) WHERE ended = 0;
CREATE INDEX remote_sessions_ending ON remote_sessions (id) WHERE ending <> '';
CREATE INDEX remote_sessions_requested ON remote_sessions (requested);

-- +goose Down
DROP TABLE remote_sessions;
