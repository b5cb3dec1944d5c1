-- +goose Up
-- Since when a rollout stands still, paused or halted; 0: it does not.
ALTER TABLE rollouts ADD COLUMN stood BIGINT NOT NULL DEFAULT 0;

-- How far a rollout is, is counted in the index alone.
DROP INDEX rollout_devices_ring;
CREATE INDEX rollout_devices_progress ON rollout_devices (rollout_id, ring, state, step);
CREATE INDEX rollout_devices_unchecked ON rollout_devices (rollout_id, ring, system_id) WHERE NOT checked;

-- +goose Down
DROP INDEX rollout_devices_unchecked;
DROP INDEX rollout_devices_progress;
CREATE INDEX rollout_devices_ring ON rollout_devices (rollout_id, ring, state);
ALTER TABLE rollouts DROP COLUMN stood;
