-- +goose Up
-- What a rollout of firmware brings. The image may be gone when somebody looks back.
ALTER TABLE rollouts ADD COLUMN firmware_model TEXT NOT NULL DEFAULT '';
ALTER TABLE rollouts ADD COLUMN firmware_version TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE rollouts DROP COLUMN firmware_version;
ALTER TABLE rollouts DROP COLUMN firmware_model;
