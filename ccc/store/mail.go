package store

import "time"

// MailState says how far a mail is.
type MailState string

// The states of mails.
const (
	MailQueued MailState = "queued"
	MailSent   MailState = "sent"
	MailFailed MailState = "failed" // given up
)

// Mail is a mail on its way, or what is known of one that was.
type Mail struct {
	ID     MailID
	Kind   string // what it tells, such as "invitation"
	Sealed []byte // all that is in it; nil once it has ended
	State  MailState
	Tries  int
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

const mailColumns = "id, kind, sealed, state, tries, due, expires, created, ended, failure"

func scanMail(s scanner) (v Mail, err error) {
	var due, expires, created, ended moment
	err = s.Scan(&v.ID, &v.Kind, blob{&v.Sealed}, &v.State, &v.Tries, &due, &expires, &created, &ended, &v.Failure)
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
	_, err := t.exec("INSERT INTO mails ("+mailColumns+") VALUES ($1, $2, $3, $4, 0, $5, $6, $7, 0, '')",
		v.ID, v.Kind, v.Sealed, MailQueued, v.Due, v.Expires, v.Created)
	return err
}

// TakeMail gives the mail that is due first, with one try more, and has it due again at a
// later time. ErrNotFound where none is due.
func (t *Tx) TakeMail(now, again time.Time) (Mail, error) {
	return row(t, scanMail, `UPDATE mails SET tries = tries + 1, due = $2 WHERE id =
		(SELECT id FROM mails WHERE state = 'queued' AND due <= $1 ORDER BY due, id LIMIT 1) RETURNING `+mailColumns, now, again)
}

// PostponeMail has a mail that was tried be due at a time. ErrNotFound where it has ended.
func (t *Tx) PostponeMail(id MailID, due time.Time, failure string) error {
	return t.change("UPDATE mails SET due = $2, failure = $3 WHERE id = $1 AND state = 'queued'", id, due, failure)
}

// EndMail erases what is in a mail. ErrNotFound where it has ended before.
func (t *Tx) EndMail(id MailID, state MailState, failure string, at time.Time) error {
	t.erased = true
	return t.change("UPDATE mails SET state = $2, failure = $3, ended = $4, sealed = $5 WHERE id = $1 AND state = 'queued'",
		id, state, failure, at, []byte{})
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

// CountSentMails tells how many were sent since a time.
func (t *Tx) CountSentMails(since time.Time) (int, error) {
	return row(t, value[int], "SELECT count(*) FROM mails WHERE state <> 'queued' AND state = $2 AND ended >= $1", since, MailSent)
}

// SweepMails removes those that ended before a time, and tells how many.
func (t *Tx) SweepMails(before time.Time) (int, error) {
	return t.sweep("DELETE FROM mails WHERE state <> 'queued' AND ended < $1", before)
}
