-- +goose Up
-- Where a tenant has told what happens. secret is sealed, as is previous, which is good
-- besides until previous_until. failures counts the tries that failed since the last one
-- that did not; paused_until is when the next one is made after too many of them.
CREATE TABLE webhooks (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    url TEXT NOT NULL,
    topics TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    gone BOOLEAN NOT NULL,
    secret BYTEA NOT NULL,
    previous BYTEA NOT NULL,
    previous_until BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    failing_since BIGINT NOT NULL,
    paused_until BIGINT NOT NULL,
    created BIGINT NOT NULL
);
CREATE INDEX webhooks_tenant ON webhooks (tenant_id, created, id);

-- What is to be told, written with what it tells. due is when the next try is; 0: there is
-- none any more. begun is since when it is tried.
CREATE TABLE webhook_deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    topic TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    tries BIGINT NOT NULL,
    due BIGINT NOT NULL,
    begun BIGINT NOT NULL,
    created BIGINT NOT NULL
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due) WHERE due > 0;
CREATE INDEX webhook_deliveries_created ON webhook_deliveries (webhook_id, created, id);

-- What came of each try: a status of HTTP, or 0 and what kept an answer from coming.
CREATE TABLE webhook_tries (
    delivery_id TEXT NOT NULL REFERENCES webhook_deliveries (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    status BIGINT NOT NULL,
    failure TEXT NOT NULL,
    milliseconds BIGINT NOT NULL
);
CREATE INDEX webhook_tries_delivery ON webhook_tries (delivery_id, at);
