-- +goose Up
-- Filters of systems that people keep: for themselves, or, without a user, for all of the
-- tenant. filter is what the API makes of it.
CREATE TABLE saved_filters (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    filter TEXT NOT NULL,
    created BIGINT NOT NULL
);
CREATE UNIQUE INDEX saved_filters_own ON saved_filters (tenant_id, user_id, name);
CREATE UNIQUE INDEX saved_filters_shared ON saved_filters (tenant_id, name) WHERE user_id IS NULL;
CREATE INDEX saved_filters_user ON saved_filters (user_id);

-- The one that a user's list of a tenant's systems begins with.
CREATE TABLE default_filters (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    filter_id TEXT NOT NULL REFERENCES saved_filters (id) ON DELETE CASCADE,
    PRIMARY KEY (tenant_id, user_id)
);
CREATE INDEX default_filters_filter ON default_filters (filter_id);
CREATE INDEX default_filters_user ON default_filters (user_id);

-- When a sheet with the token was made last.
ALTER TABLE offers ADD COLUMN sheet BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE offers DROP COLUMN sheet;
DROP TABLE default_filters;
DROP TABLE saved_filters;
