-- +goose Up
-- Mails on their way. What is sealed has the address and links that let somebody in: it is
-- erased once the mail is sent, or given up. A mail that is tried is due again after the
-- time that a try may take, so that one whose process ended is tried once more.
CREATE TABLE mails (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    state TEXT NOT NULL,
    tries BIGINT NOT NULL,
    due BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    created BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    failure TEXT NOT NULL
);
CREATE INDEX mails_due ON mails (due) WHERE state = 'queued';
CREATE INDEX mails_ended ON mails (ended) WHERE state <> 'queued';

-- An invitation is there until it is taken up or withdrawn. roles is JSON; founding is for
-- the first owner of a tenant, whom nobody of that tenant has invited.
CREATE TABLE invitations (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    language TEXT NOT NULL,
    roles TEXT NOT NULL,
    founding BOOLEAN NOT NULL,
    invited_by TEXT NOT NULL,
    secret_hash BYTEA NOT NULL,
    mail_id TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE UNIQUE INDEX invitations_secret ON invitations (secret_hash);
CREATE UNIQUE INDEX invitations_email ON invitations (tenant_id, email);

-- Who has asked for a new password, sealed: whether the address has an account is looked up
-- later, so that the answer cannot tell.
CREATE TABLE reset_requests (
    id TEXT NOT NULL PRIMARY KEY,
    sealed BYTEA NOT NULL,
    created BIGINT NOT NULL
);

-- One for each user: a new link makes the one before it void.
CREATE TABLE password_resets (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    secret_hash BYTEA NOT NULL,
    expires BIGINT NOT NULL
);
CREATE UNIQUE INDEX password_resets_secret ON password_resets (secret_hash);

-- Who a user is at an OpenID provider. made: the account was made at a sign-in there, and
-- has no password that anybody knows.
CREATE TABLE oidc_links (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    provider TEXT NOT NULL,
    made BOOLEAN NOT NULL,
    follows BOOLEAN NOT NULL,
    created BIGINT NOT NULL,
    last_used BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX oidc_links_user ON oidc_links (user_id);

-- +goose Down
DROP TABLE oidc_links;
DROP TABLE password_resets;
DROP TABLE reset_requests;
DROP TABLE invitations;
DROP TABLE mails;
