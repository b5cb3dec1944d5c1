-- One file for SQLite and PostgreSQL. Times are milliseconds of Unix time, 0 means
-- never; ids are UUIDs made by the program; BYTEA holds bytes on both (SQLite takes any
-- name of a type).

-- +goose Up
CREATE TABLE tenants (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    parent TEXT REFERENCES tenants (id),
    name TEXT NOT NULL,
    legal_name TEXT NOT NULL,
    brand TEXT NOT NULL,
    created BIGINT NOT NULL
);

CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    language TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created BIGINT NOT NULL,
    disabled BOOLEAN NOT NULL
);
CREATE UNIQUE INDEX users_email ON users (email);
CREATE INDEX users_tenant ON users (tenant_id);

CREATE TABLE sessions (
    token_hash BYTEA NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    data BYTEA NOT NULL,
    created BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expires ON sessions (expires);

-- name_key sorts names as people do, search is what a search looks through.
CREATE TABLE systems (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    serial TEXT NOT NULL,
    name TEXT NOT NULL,
    name_key BYTEA NOT NULL,
    note TEXT NOT NULL,
    search TEXT NOT NULL,
    state TEXT NOT NULL,
    error_code TEXT NOT NULL,
    version BIGINT NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    state_since BIGINT NOT NULL,
    paired BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    replaces TEXT NOT NULL
);
CREATE UNIQUE INDEX systems_serial ON systems (tenant_id, serial);
CREATE INDEX systems_name ON systems (tenant_id, name_key, id);
CREATE INDEX systems_state ON systems (tenant_id, state, id);
CREATE INDEX systems_created ON systems (tenant_id, created, id);
CREATE INDEX systems_state_since ON systems (tenant_id, state_since, id);

CREATE TABLE system_tags (
    system_id TEXT NOT NULL REFERENCES systems (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (system_id, tag)
);
CREATE INDEX system_tags_tag ON system_tags (tag, system_id);

CREATE TABLE system_groups (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    created BIGINT NOT NULL
);
CREATE UNIQUE INDEX system_groups_name ON system_groups (tenant_id, name);

CREATE TABLE system_group_members (
    system_id TEXT NOT NULL REFERENCES systems (id) ON DELETE CASCADE,
    group_id TEXT NOT NULL REFERENCES system_groups (id) ON DELETE CASCADE,
    PRIMARY KEY (system_id, group_id)
);
CREATE INDEX system_group_members_group ON system_group_members (group_id, system_id);

CREATE TABLE offers (
    id TEXT NOT NULL PRIMARY KEY,
    system_id TEXT NOT NULL REFERENCES systems (id) ON DELETE CASCADE,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    serial TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    state TEXT NOT NULL,
    token_sealed BYTEA NOT NULL,
    nonce BYTEA NOT NULL,
    code TEXT NOT NULL,
    received BIGINT NOT NULL,
    closed BIGINT NOT NULL,
    tries BIGINT NOT NULL
);
CREATE UNIQUE INDEX offers_open ON offers (system_id) WHERE state IN ('open', 'received');
CREATE INDEX offers_system ON offers (system_id);
CREATE INDEX offers_serial ON offers (serial, state);
CREATE INDEX offers_due ON offers (expires) WHERE state IN ('open', 'received');

-- A row is there as long as the pairing is alive, so that its serial is unique.
CREATE TABLE pairings (
    id TEXT NOT NULL PRIMARY KEY,
    system_id TEXT NOT NULL REFERENCES systems (id),
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    serial TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    user_sealed BYTEA NOT NULL,
    password_sealed BYTEA NOT NULL,
    completion BYTEA NOT NULL,
    offer_id TEXT NOT NULL,
    pbx_version BIGINT NOT NULL,
    paired BIGINT NOT NULL,
    proved BIGINT NOT NULL
);
CREATE UNIQUE INDEX pairings_serial ON pairings (serial);
CREATE UNIQUE INDEX pairings_system ON pairings (system_id);
CREATE UNIQUE INDEX pairings_offer ON pairings (offer_id);

-- The row with the serial '' holds what all new epochs are above.
CREATE TABLE ownership (
    serial TEXT NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL
);

CREATE TABLE tombstones (
    pairing_id TEXT NOT NULL PRIMARY KEY,
    serial TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX tombstones_serial ON tombstones (serial);
CREATE INDEX tombstones_at ON tombstones (at);

CREATE TABLE events (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    system_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    detail TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX events_system ON events (tenant_id, system_id, at, id);
CREATE INDEX events_at ON events (at);

CREATE TABLE idempotency (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    idem_key TEXT NOT NULL,
    request BYTEA NOT NULL,
    status BIGINT NOT NULL,
    body BYTEA NOT NULL,
    created BIGINT NOT NULL,
    PRIMARY KEY (user_id, idem_key)
);
CREATE INDEX idempotency_created ON idempotency (created);

CREATE TABLE attempts (
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX attempts_subject ON attempts (kind, subject, at);
CREATE INDEX attempts_at ON attempts (at);

-- +goose Down
DROP TABLE attempts;
DROP TABLE idempotency;
DROP TABLE events;
DROP TABLE tombstones;
DROP TABLE ownership;
DROP TABLE pairings;
DROP TABLE offers;
DROP TABLE system_group_members;
DROP TABLE system_groups;
DROP TABLE system_tags;
DROP TABLE systems;
DROP TABLE sessions;
DROP TABLE users;
DROP TABLE tenants;
