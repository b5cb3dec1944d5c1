-- +goose Up
-- The audit log, which is a chain for each tenant: see package ccc/audit. What keeps it
-- from being changed are triggers, which the program makes (auditguard.go), as their
-- language is another one on each engine. tenant_id is no reference: the log outlasts the
-- tenant, and '-' is of those who are not known.
CREATE TABLE audit (
    tenant_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    user_id TEXT NOT NULL,
    home TEXT NOT NULL,
    by_right TEXT NOT NULL,
    operation TEXT NOT NULL,
    resource TEXT NOT NULL,
    serial TEXT NOT NULL,
    outcome TEXT NOT NULL,
    fields TEXT NOT NULL,
    access TEXT NOT NULL,
    prev TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (tenant_id, seq)
);
CREATE INDEX audit_user ON audit (tenant_id, user_id, seq);
CREATE INDEX audit_resource ON audit (tenant_id, resource, seq);
CREATE INDEX audit_serial ON audit (tenant_id, serial, seq) WHERE serial <> '';

-- Where each chain stands, and what was removed from its beginning: the number and the
-- hash of the last entry of that.
CREATE TABLE audit_chains (
    tenant_id TEXT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL,
    at BIGINT NOT NULL,
    swept BIGINT NOT NULL,
    swept_hash TEXT NOT NULL
);

-- Signed heads.
CREATE TABLE audit_heads (
    tenant_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    head TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, seq)
);

-- +goose Down
DROP TABLE audit_heads;
DROP TABLE audit_chains;
DROP TABLE audit;
