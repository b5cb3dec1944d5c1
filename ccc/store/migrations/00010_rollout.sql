-- +goose Up
-- Named sets of settings, as JSON objects.
CREATE TABLE templates (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    settings TEXT NOT NULL,
    created BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    changed_by TEXT NOT NULL
);
CREATE UNIQUE INDEX templates_name ON templates (tenant_id, name);

-- Images that the operator has uploaded; the bytes are in files.
CREATE TABLE firmwares (
    id TEXT NOT NULL PRIMARY KEY,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    manifest TEXT NOT NULL,
    key_id TEXT NOT NULL,
    size BIGINT NOT NULL,
    uploaded BIGINT NOT NULL,
    uploaded_by TEXT NOT NULL
);
CREATE UNIQUE INDEX firmwares_version ON firmwares (model, version);

-- Until when a system's maintenance is paid; 0: it is not.
ALTER TABLE systems ADD COLUMN maintenance_until BIGINT NOT NULL DEFAULT 0;

-- Changes of many systems in rings. Whoever has the lease works on one.
CREATE TABLE rollouts (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    template_id TEXT NOT NULL,
    template_version BIGINT NOT NULL,
    firmware_id TEXT NOT NULL,
    settings TEXT NOT NULL,
    plan TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    ring BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    forgiven BIGINT NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    acting TEXT NOT NULL,
    started BIGINT NOT NULL,
    deadline BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    lease_owner TEXT NOT NULL,
    lease_until BIGINT NOT NULL
);
CREATE INDEX rollouts_tenant ON rollouts (tenant_id, id);
CREATE INDEX rollouts_active ON rollouts (state) WHERE state IN ('checking', 'running', 'reverting');

-- The systems of a rollout. What they had and get is sealed, and goes with the system.
CREATE TABLE rollout_devices (
    rollout_id TEXT NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    system_id TEXT NOT NULL REFERENCES systems (id) ON DELETE CASCADE,
    serial TEXT NOT NULL,
    ring BIGINT NOT NULL,
    state TEXT NOT NULL,
    code TEXT NOT NULL,
    step TEXT NOT NULL,
    checked BOOLEAN NOT NULL,
    seen TEXT NOT NULL,
    base TEXT NOT NULL,
    diff TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    boot TEXT NOT NULL,
    changed BIGINT NOT NULL,
    PRIMARY KEY (rollout_id, system_id)
);
CREATE INDEX rollout_devices_ring ON rollout_devices (rollout_id, ring, state);
CREATE INDEX rollout_devices_system ON rollout_devices (system_id);

-- +goose Down
DROP TABLE rollout_devices;
DROP TABLE rollouts;
ALTER TABLE systems DROP COLUMN maintenance_until;
DROP TABLE firmwares;
DROP TABLE templates;
