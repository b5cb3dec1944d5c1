-- +goose Up
-- What a PBX's connection was, in intervals, for each ownership. ended 0: it lasts, which
-- of an ownership one does. boot is a hash of what the PBX said of its start, 0: nothing.
-- There is no address.
CREATE TABLE presence_history (
    id TEXT NOT NULL PRIMARY KEY,
    serial TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    relay TEXT NOT NULL,
    transport TEXT NOT NULL,
    boot BIGINT NOT NULL,
    rtt_count BIGINT NOT NULL,
    rtt_sum BIGINT NOT NULL,
    rtt_min BIGINT NOT NULL,
    rtt_max BIGINT NOT NULL,
    changes BIGINT NOT NULL,
    online_ms BIGINT NOT NULL,
    started BIGINT NOT NULL,
    ended BIGINT NOT NULL
);
CREATE INDEX presence_history_system ON presence_history (serial, epoch, started, id);
CREATE INDEX presence_history_ended ON presence_history (ended);

-- When who writes the history was last there: one row.
CREATE TABLE presence_recorder (
    id BIGINT NOT NULL PRIMARY KEY,
    seen BIGINT NOT NULL
);

-- Where a site is, in millionths of a degree, if anybody has said so (placed 1).
ALTER TABLE sites ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE sites ADD COLUMN placed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sites ADD COLUMN latitude BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sites ADD COLUMN longitude BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE sites DROP COLUMN longitude;
ALTER TABLE sites DROP COLUMN latitude;
ALTER TABLE sites DROP COLUMN placed;
ALTER TABLE sites DROP COLUMN address;
DROP TABLE presence_recorder;
DROP TABLE presence_history;
