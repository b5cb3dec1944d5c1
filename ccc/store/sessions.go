package store

import "time"

// PutSession adds a session, or replaces all of it but the time it was created.
// ErrNotFound without the user.
func (t *Tx) PutSession(v Session) error {
	var c checks
	c.time("Created", v.Created)
	c.time("LastSeen", v.LastSeen)
	c.time("Expires", v.Expires)
	if c.err != nil {
		return c.err
	}
	_, err := t.exec(`INSERT INTO sessions (token_hash, user_id, data, created, last_seen, expires)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (token_hash) DO UPDATE SET user_id = excluded.user_id, data = excluded.data,
		last_seen = excluded.last_seen, expires = excluded.expires`,
		v.TokenHash[:], v.User, v.Data, v.Created, v.LastSeen, v.Expires)
	return err
}

const sessionColumns = "token_hash, user_id, data, created, last_seen, expires"

func scanSession(s scanner) (v Session, err error) {
	var created, lastSeen, expires moment
	var hash []byte
	err = s.Scan(&hash, &v.User, blob{&v.Data}, &created, &lastSeen, &expires)
	copy(v.TokenHash[:], hash)
	v.Created, v.LastSeen, v.Expires = created.Time, lastSeen.Time, expires.Time
	return v, err
}

// Session gives a session, expired or not.
func (t *Tx) Session(hash TokenHash) (Session, error) {
	return row(t, scanSession, "SELECT "+sessionColumns+" FROM sessions WHERE token_hash = $1", hash[:])
}

// UserSessions gives a user's sessions, the one seen last first.
func (t *Tx) UserSessions(user UserID) ([]Session, error) {
	return rows(t, scanSession, "SELECT "+sessionColumns+" FROM sessions WHERE user_id = $1 ORDER BY last_seen DESC, token_hash", user)
}

// DeleteSession removes a session; none is no error.
func (t *Tx) DeleteSession(hash TokenHash) error {
	_, err := t.exec("DELETE FROM sessions WHERE token_hash = $1", hash[:])
	return err
}

// DeleteUserSessions removes a user's sessions but the one with the hash, and tells how
// many. The zero hash spares none.
func (t *Tx) DeleteUserSessions(user UserID, except TokenHash) (int, error) {
	return t.sweep("DELETE FROM sessions WHERE user_id = $1 AND token_hash <> $2", user, except[:])
}

// SweepSessions removes those that have expired, and tells how many.
func (t *Tx) SweepSessions(now time.Time) (int, error) {
	return t.sweep("DELETE FROM sessions WHERE expires <= $1", now)
}

// TouchSession notes that a session was used and when it expires. ErrNotFound where it
// has been removed.
func (t *Tx) TouchSession(hash TokenHash, lastSeen, expires time.Time) error {
	return t.change("UPDATE sessions SET last_seen = $2, expires = $3 WHERE token_hash = $1", hash[:], lastSeen, expires)
}
