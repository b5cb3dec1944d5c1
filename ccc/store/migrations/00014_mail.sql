-- +goose Up
-- Whose mail it is, for the bounds of each tenant; '': nobody's. priority 0 is for what
-- somebody waits for or has to know at once, 1 for what can wait. taken: it is being tried.
ALTER TABLE mails ADD COLUMN tenant_id TEXT NOT NULL DEFAULT '';
ALTER TABLE mails ADD COLUMN priority BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mails ADD COLUMN taken BIGINT NOT NULL DEFAULT 0;
UPDATE mails SET priority = 1 WHERE kind IN ('invitation', 'invitation_taken');
UPDATE mails SET tenant_id = (SELECT i.tenant_id FROM invitations i WHERE i.mail_id = mails.id)
    WHERE EXISTS (SELECT 1 FROM invitations i WHERE i.mail_id = mails.id);

-- +goose Down
ALTER TABLE mails DROP COLUMN taken;
ALTER TABLE mails DROP COLUMN priority;
ALTER TABLE mails DROP COLUMN tenant_id;
