-- +goose Up
-- Sites divide a tenant's systems by place. A system is at one or at none ('').
CREATE TABLE sites (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    created BIGINT NOT NULL
);
CREATE UNIQUE INDEX sites_name ON sites (tenant_id, name);

ALTER TABLE systems ADD COLUMN site_id TEXT NOT NULL DEFAULT '';
CREATE INDEX systems_site ON systems (tenant_id, site_id);

-- What a user may in his own tenant: in all of it, where site_id and system_id are '',
-- and otherwise at the one that is named.
CREATE TABLE user_grants (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    site_id TEXT NOT NULL,
    system_id TEXT NOT NULL,
    PRIMARY KEY (user_id, role, site_id, system_id)
);
CREATE INDEX user_grants_site ON user_grants (site_id) WHERE site_id <> '';
CREATE INDEX user_grants_system ON user_grants (system_id) WHERE system_id <> '';

-- Who could read before can read now, by the role of that name.
INSERT INTO user_grants (user_id, role, site_id, system_id)
    SELECT id, CASE role WHEN 'viewer' THEN 'monitoring' ELSE role END, '', '' FROM users;
ALTER TABLE users DROP COLUMN role;

-- What one tenant lets the users of another do, until it takes that back or it ends
-- (until; 0: it stands). The grantee need not exist: who gives learns nothing about it.
CREATE TABLE tenant_grants (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    grantee TEXT NOT NULL,
    roles TEXT NOT NULL,
    site_id TEXT NOT NULL,
    system_id TEXT NOT NULL,
    until BIGINT NOT NULL,
    granted_by TEXT NOT NULL,
    created BIGINT NOT NULL
);
CREATE INDEX tenant_grants_grantee ON tenant_grants (grantee, tenant_id);
CREATE INDEX tenant_grants_tenant ON tenant_grants (tenant_id, created, id);

-- The operator's staff who have entered a tenant without being let in. The records stay.
CREATE TABLE break_glass (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    home TEXT NOT NULL,
    user_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    reason TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    ended_by TEXT NOT NULL
);
CREATE INDEX break_glass_user ON break_glass (user_id, tenant_id);
CREATE INDEX break_glass_tenant ON break_glass (tenant_id, created, id);
CREATE INDEX break_glass_home ON break_glass (home, created, id);

-- Systems on their way from one tenant to another. to_tenant need not exist, as above.
CREATE TABLE handovers (
    id TEXT NOT NULL PRIMARY KEY,
    from_tenant TEXT NOT NULL REFERENCES tenants (id),
    to_tenant TEXT NOT NULL,
    system_id TEXT NOT NULL,
    serial TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    offered_by TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    decided_by TEXT NOT NULL,
    decided BIGINT NOT NULL
);
CREATE UNIQUE INDEX handovers_open ON handovers (system_id) WHERE state IN ('offered', 'accepted');
CREATE INDEX handovers_from ON handovers (from_tenant, created, id);
CREATE INDEX handovers_to ON handovers (to_tenant, created, id);

-- +goose Down
DROP TABLE handovers;
DROP TABLE break_glass;
DROP TABLE tenant_grants;
ALTER TABLE users ADD COLUMN role TEXT NOT NULL DEFAULT 'viewer';
UPDATE users SET role = 'administrator' WHERE id IN (SELECT user_id FROM user_grants WHERE role = 'administrator' AND site_id = '' AND system_id = '');
UPDATE users SET role = 'owner' WHERE id IN (SELECT user_id FROM user_grants WHERE role = 'owner' AND site_id = '' AND system_id = '');
DROP TABLE user_grants;
DROP INDEX systems_site;
ALTER TABLE systems DROP COLUMN site_id;
DROP TABLE sites;
