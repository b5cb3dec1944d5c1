package store

import "time"

// AddAttempt notes an attempt. Kind says at what, subject by or on whom: an id or a hash,
// never an address. IP addresses come under a keyed hash, as all of them can be tried.
func (t *Tx) AddAttempt(kind, subject string, at time.Time) error {
	_, err := t.exec("INSERT INTO attempts (kind, subject, at) VALUES ($1, $2, $3)", kind, subject, at)
	return err
}

// CountAttempts tells how many there were since a time, and when the last was.
func (t *Tx) CountAttempts(kind, subject string, since time.Time) (n int, last time.Time, err error) {
	type counted struct {
		n    int
		last moment
	}
	v, err := row(t, func(s scanner) (v counted, err error) {
		err = s.Scan(&v.n, &v.last)
		return v, err
	}, "SELECT count(*), coalesce(max(at), 0) FROM attempts WHERE kind = $1 AND subject = $2 AND at >= $3", kind, subject, since)
	return v.n, v.last.Time, err
}

// DeleteAttempt forgets those of a subject at one moment.
func (t *Tx) DeleteAttempt(kind, subject string, at time.Time) error {
	_, err := t.exec("DELETE FROM attempts WHERE kind = $1 AND subject = $2 AND at = $3", kind, subject, at)
	return err
}

// ClearAttempts forgets the attempts of a subject.
func (t *Tx) ClearAttempts(kind, subject string) error {
	_, err := t.exec("DELETE FROM attempts WHERE kind = $1 AND subject = $2", kind, subject)
	return err
}

// SweepAttempts removes those from before a time, and tells how many.
func (t *Tx) SweepAttempts(before time.Time) (int, error) {
	return t.sweep("DELETE FROM attempts WHERE at < $1", before)
}
