package store

import (
	"errors"
	"time"
)

// MailState says how far a mail is.
type MailState string

// The states of mails.
const (
	MailQueued MailState = "queued"
	MailSent   MailState = "sent"
	MailFailed MailState = "failed" // given up
	// MailWithdrawn: what it tells of is not so any more.
	MailWithdrawn MailState = "withdrawn"
)

// MailPriority says which mails come first.
type MailPriority int

// The priorities.
const (
	MailUrgent   MailPriority = 0 // somebody waits for it, or has to know at once
	MailOrdinary MailPriority = 1
)

// Mail is a mail on its way, or what is known of one that was.
type Mail struct {
	ID       MailID
	Tenant   TenantID // whose it is; empty: nobody's
	Kind     string   // what it tells, such as "invitation"
	Priority MailPriority
	Sealed   []byte // all that is in it; nil once it has ended
	State    MailState
	Tries    int
	// Due is when it is tried next.
	Due time.Time
	// Expires is when there is no more use in sending it.
	Expires time.Time
	Created time.Time
	Ended   *time.Time
	// Failure is the last answer's code, as in "550 5.1.1", or a word of the caller's.
	// Never the answer's text, which has addresses in it.
	Failure string
}

const mailColumns = "id, tenant_id, kind, priority, sealed, state, tries, due, expires, created, ended, failure"

func scanMail(s scanner) (v Mail, err error) {
	var due, expires, created, ended moment
	err = s.Scan(&v.ID, &v.Tenant, &v.Kind, &v.Priority, blob{&v.Sealed}, &v.State, &v.Tries, &due, &expires, &created, &ended, &v.Failure)
	v.Due, v.Expires, v.Created, v.Ended = due.Time, expires.Time, created.Time, ended.pointer()
	return v, err
}

// CreateMail queues a mail. ErrConflict "id".
func (t *Tx) CreateMail(v Mail) error {
	var c checks
	c.id("ID", string(v.ID))
	if v.Kind == "" {
		c.fail("Kind", "is missing")
	}
	c.time("Due", v.Due)
	c.time("Expires", v.Expires)
	c.time("Created", v.Created)
	if c.err != nil {
		return c.err
	}
	_, err := t.exec("INSERT INTO mails ("+mailColumns+") VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, 0, '')",
		v.ID, optional(v.Tenant), v.Kind, int64(v.Priority), v.Sealed, MailQueued, v.Due, v.Expires, v.Created)
	return err
}

// MailBounds are how many mails may be sent in a time.
type MailBounds struct {
	Since     time.Time // its beginning
	All       int
	Reserved  int // of all, for urgent ones alone
	PerTenant int // of one tenant, of urgent ones and of ordinary ones each
}

// takeMail counts those that were sent, or are being tried, and takes of those that are
// due, within the bounds, first the urgent ones, and then that of the tenant with the
// fewest: who has many waits for himself.
const takeMail = `WITH
	used AS (SELECT tenant_id, priority FROM mails WHERE state <> 'queued' AND state = 'sent' AND ended >= $3
		UNION ALL SELECT tenant_id, priority FROM mails WHERE state = 'queued' AND taken > 0 AND due > $1),
	counts AS (SELECT tenant_id, priority, count(*) AS n FROM used GROUP BY tenant_id, priority)
	UPDATE mails SET tries = tries + 1, taken = 1, due = $2 WHERE id =
		(SELECT m.id FROM mails m LEFT JOIN counts c ON c.tenant_id = m.tenant_id AND c.priority = m.priority
		WHERE m.state = 'queued' AND m.due <= $1 AND coalesce(c.n, 0) < $4
			AND (SELECT count(*) FROM used) < CASE m.priority WHEN 0 THEN CAST($5 AS BIGINT) ELSE CAST($6 AS BIGINT) END
		ORDER BY m.priority, coalesce(c.n, 0), m.due, m.id LIMIT 1) RETURNING ` + mailColumns

// TakeMail gives the mail whose turn it is, with one try more, and has it due again at a
// later time. ErrNotFound where none is due, or the bounds are reached.
func (t *Tx) TakeMail(now, again time.Time, b MailBounds) (Mail, error) {
	return row(t, scanMail, takeMail, now, again, b.Since, b.PerTenant, b.All, b.All-b.Reserved)
}

// PostponeMail has a mail that was tried be due at a time. ErrNotFound where it has ended.
func (t *Tx) PostponeMail(id MailID, due time.Time, failure string) error {
	return t.change("UPDATE mails SET due = $2, failure = $3, taken = 0 WHERE id = $1 AND state = 'queued'", id, due, failure)
}

// EndMail erases what is in a mail. ErrNotFound where it has ended before; one that was
// withdrawn while it was being tried has not.
func (t *Tx) EndMail(id MailID, state MailState, failure string, at time.Time) error {
	t.erased = true
	return t.change("UPDATE mails SET state = $2, failure = $3, ended = $4, sealed = $5 WHERE id = $1 AND state IN ('queued', 'withdrawn')",
		id, state, failure, at, []byte{})
}

// WithdrawMail has a mail not be sent that is still queued, and tells whether it was, and
// had not been tried yet.
func (t *Tx) WithdrawMail(id MailID, at time.Time) (untried bool, err error) {
	t.erased = true
	tries, err := row(t, value[int], "UPDATE mails SET state = 'withdrawn', ended = $2, sealed = $3 WHERE id = $1 AND state = 'queued' RETURNING tries",
		id, at, []byte{})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && tries == 0, err
}

// Mails gives those of the ids that there are.
func (t *Tx) Mails(ids []MailID) (map[MailID]Mail, error) {
	found, err := rows(t, scanMail, "SELECT "+mailColumns+" FROM mails WHERE id IN "+t.list("$1"), listOf(ids))
	all := make(map[MailID]Mail, len(found))
	for _, v := range found {
		all[v.ID] = v
	}
	return all, err
}

// QueuedMails gives all that have not ended, the oldest first.
func (t *Tx) QueuedMails() ([]Mail, error) {
	return rows(t, scanMail, "SELECT "+mailColumns+" FROM mails WHERE state = 'queued' ORDER BY created, id")
}

// ResealMail replaces what a mail has sealed by the same, sealed with another key.
// ErrNotFound where it has ended by now.
func (t *Tx) ResealMail(v Mail, sealed []byte) error {
	t.erased = true
	return t.change("UPDATE mails SET sealed = $3 WHERE id = $1 AND sealed = $2", v.ID, v.Sealed, sealed)
}

// MailCount is how many mails of a kind wait.
type MailCount struct {
	Kind    string
	Waiting int
	Oldest  time.Time // when the oldest of them was made
}

// CountMails tells what waits to be sent, by kind.
func (t *Tx) CountMails() ([]MailCount, error) {
	return rows(t, func(s scanner) (v MailCount, err error) {
		var oldest moment
		err = s.Scan(&v.Kind, &v.Waiting, &oldest)
		v.Oldest = oldest.Time
		return v, err
	}, "SELECT kind, count(*), min(created) FROM mails WHERE state = 'queued' GROUP BY kind ORDER BY kind")
}

// SweepMails removes those that ended before a time, and tells how many.
func (t *Tx) SweepMails(before time.Time) (int, error) {
	return t.sweep("DELETE FROM mails WHERE state <> 'queued' AND ended < $1", before)
}
