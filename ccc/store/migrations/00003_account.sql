-- +goose Up
-- How people prove who they are beside the password. A row of totp with pending is a
-- secret that was shown and not yet confirmed; last_step is the step of time of the last
-- code that was taken (RFC 6238 §5.2).
CREATE TABLE totp (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    pending BOOLEAN NOT NULL,
    secret_sealed BYTEA NOT NULL,
    created BIGINT NOT NULL,
    last_step BIGINT NOT NULL,
    PRIMARY KEY (user_id, pending)
);

CREATE TABLE recovery_codes (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    code_hash BYTEA NOT NULL,
    PRIMARY KEY (user_id, code_hash)
);

-- data is what is needed to check a signature, as JSON; it is not secret.
CREATE TABLE passkeys (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    credential BYTEA NOT NULL,
    name TEXT NOT NULL,
    data BYTEA NOT NULL,
    created BIGINT NOT NULL,
    last_used BIGINT NOT NULL
);
CREATE UNIQUE INDEX passkeys_credential ON passkeys (credential);
CREATE INDEX passkeys_user ON passkeys (user_id);

-- What a passkey is to sign, for one browser, and once.
CREATE TABLE challenges (
    holder BYTEA NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    data BYTEA NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX challenges_expires ON challenges (expires);

-- for_tenant is what the token is good for, which need not be the user's own tenant; scopes
-- are words with a space between; last_used is a day.
CREATE TABLE api_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    for_tenant TEXT NOT NULL REFERENCES tenants (id),
    token_hash BYTEA NOT NULL,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    second BOOLEAN NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    last_used BIGINT NOT NULL
);
CREATE UNIQUE INDEX api_tokens_hash ON api_tokens (token_hash);
CREATE INDEX api_tokens_user ON api_tokens (user_id);

-- +goose Down
DROP TABLE api_tokens;
DROP TABLE challenges;
DROP TABLE passkeys;
DROP TABLE recovery_codes;
DROP TABLE totp;
