-- +goose Up
-- What a rollout of firmware brings. The image may be gone when somebody looks back.
ALTER TABLE rollouts ADD COLUMN firmware_model TEXT NOT NULL DEFAULT '';
ALTER TABLE rollouts ADD COLUMN firmware_version TEXT NOT NULL DEFAULT '';

-- +goose Down
-- What does not know firmware would take such a rollout for a restart.
UPDATE rollouts SET state = 'stopped', ended = CASE WHEN ended = 0 THEN created ELSE ended END
    WHERE kind = 'firmware' AND state NOT IN ('done', 'stopped', 'reverted');
ALTER TABLE rollouts DROP COLUMN firmware_version;
ALTER TABLE rollouts DROP COLUMN firmware_model;
