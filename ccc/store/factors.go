package store

import "time"

// TOTP is a secret for codes by time (RFC 6238), sealed.
type TOTP struct {
	User UserID
	// Pending: it was shown, and no code has come yet that was made with it.
	Pending bool
	Sealed  []byte
	Created time.Time
	// LastStep is the step of time of the last code that was taken.
	LastStep int64
}

// PutTOTP keeps a secret in place of the one that the user has with the same Pending.
func (t *Tx) PutTOTP(v TOTP) error {
	t.erased = true
	_, err := t.exec(`INSERT INTO totp (user_id, pending, secret_sealed, created, last_step) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (user_id, pending) DO UPDATE SET secret_sealed = excluded.secret_sealed, created = excluded.created,
		last_step = excluded.last_step`, v.User, v.Pending, v.Sealed, v.Created, v.LastStep)
	return err
}

const totpColumns = "user_id, pending, secret_sealed, created, last_step"

func scanTOTP(s scanner) (v TOTP, err error) {
	var created moment
	err = s.Scan(&v.User, &v.Pending, blob{&v.Sealed}, &created, &v.LastStep)
	v.Created = created.Time
	return v, err
}

// TOTP gives a user's secret.
func (t *Tx) TOTP(user UserID, pending bool) (TOTP, error) {
	return row(t, scanTOTP, "SELECT "+totpColumns+" FROM totp WHERE user_id = $1 AND pending = $2", user, pending)
}

// TOTPs gives the secrets of all users.
func (t *Tx) TOTPs() ([]TOTP, error) {
	return rows(t, scanTOTP, "SELECT "+totpColumns+" FROM totp ORDER BY user_id, pending")
}

// ResealTOTP replaces what v has sealed by the same, sealed with another key. ErrNotFound
// where the user has another secret by now, or none.
func (t *Tx) ResealTOTP(v TOTP, sealed []byte) error {
	t.erased = true
	return t.change("UPDATE totp SET secret_sealed = $4 WHERE user_id = $1 AND pending = $2 AND secret_sealed = $3", v.User, v.Pending, v.Sealed, sealed)
}

// UseTOTP notes that a code of a step was taken. ErrNotFound where there is no confirmed
// secret, or where a code of that step or a later one was taken before.
func (t *Tx) UseTOTP(user UserID, step int64) error {
	return t.change("UPDATE totp SET last_step = $2 WHERE user_id = $1 AND pending = $3 AND last_step < $2", user, step, false)
}

// DeleteTOTP removes a user's secrets; none is no error.
func (t *Tx) DeleteTOTP(user UserID) error {
	t.erased = true
	_, err := t.exec("DELETE FROM totp WHERE user_id = $1", user)
	return err
}

// SetRecoveryCodes replaces a user's codes, given by their hashes.
func (t *Tx) SetRecoveryCodes(user UserID, codes []TokenHash) error {
	t.erased = true
	if _, err := t.exec("DELETE FROM recovery_codes WHERE user_id = $1", user); err != nil {
		return err
	}
	for _, c := range codes {
		if _, err := t.exec("INSERT INTO recovery_codes (user_id, code_hash) VALUES ($1, $2)", user, c[:]); err != nil {
			return err
		}
	}
	return nil
}

// UseRecoveryCode takes a code out. ErrNotFound where the user has none of the hash.
func (t *Tx) UseRecoveryCode(user UserID, code TokenHash) error {
	return t.change("DELETE FROM recovery_codes WHERE user_id = $1 AND code_hash = $2", user, code[:])
}

// Factors are what a user can prove himself with beside the password.
type Factors struct {
	TOTP     bool // a confirmed secret
	Passkeys int
	Recovery int // codes that are left
}

// Any tells whether there is a second factor. Recovery codes alone are none.
func (f Factors) Any() bool { return f.TOTP || f.Passkeys > 0 }

// Factors counts a user's.
func (t *Tx) Factors(user UserID) (Factors, error) {
	return row(t, func(s scanner) (v Factors, err error) {
		var totp int
		err = s.Scan(&totp, &v.Passkeys, &v.Recovery)
		v.TOTP = totp > 0
		return v, err
	}, `SELECT (SELECT count(*) FROM totp WHERE user_id = $1 AND pending = $2), (SELECT count(*) FROM passkeys WHERE user_id = $1),
		(SELECT count(*) FROM recovery_codes WHERE user_id = $1)`, user, false)
}

// Passkey is the public part of a key that an authenticator keeps (WebAuthn §4).
type Passkey struct {
	ID         PasskeyID
	User       UserID
	Credential []byte // its id at the authenticator
	Name       string // that the user has given it
	Data       []byte // what is needed to check signatures, as the caller writes it
	Created    time.Time
	LastUsed   *time.Time // nil: never
}

const passkeyColumns = "id, user_id, credential, name, data, created, last_used"

func scanPasskey(s scanner) (v Passkey, err error) {
	var created, used moment
	err = s.Scan(&v.ID, &v.User, blob{&v.Credential}, &v.Name, blob{&v.Data}, &created, &used)
	v.Created, v.LastUsed = created.Time, used.pointer()
	return v, err
}

// CreatePasskey adds a key. ErrConflict where its credential is there; ErrNotFound without
// the user.
func (t *Tx) CreatePasskey(v Passkey) error {
	t.makes("", "passkey", string(v.ID), "")
	var c checks
	c.id("ID", string(v.ID))
	c.time("Created", v.Created)
	if len(v.Credential) == 0 {
		c.fail("Credential", "is missing")
	}
	if c.err != nil {
		return c.err
	}
	_, err := t.exec("INSERT INTO passkeys ("+passkeyColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7)",
		v.ID, v.User, v.Credential, v.Name, v.Data, v.Created, moments(v.LastUsed))
	return err
}

// Passkeys gives a user's keys, the oldest first.
func (t *Tx) Passkeys(user UserID) ([]Passkey, error) {
	return rows(t, scanPasskey, "SELECT "+passkeyColumns+" FROM passkeys WHERE user_id = $1 ORDER BY created, id", user)
}

// UserByCredential gives the user who has a key with a credential, disabled or not.
func (t *Tx) UserByCredential(credential []byte) (User, error) {
	return row(t, scanUser, "SELECT "+userColumns+" FROM users WHERE id = (SELECT user_id FROM passkeys WHERE credential = $1)", credential)
}

// RenamePasskey gives a user's key another name.
func (t *Tx) RenamePasskey(user UserID, id PasskeyID, name string) error {
	return t.change("UPDATE passkeys SET name = $3 WHERE user_id = $1 AND id = $2", user, id, name)
}

// UsePasskey notes a use of a user's key, and its data after it.
func (t *Tx) UsePasskey(user UserID, id PasskeyID, data []byte, at time.Time) error {
	return t.change("UPDATE passkeys SET data = $3, last_used = $4 WHERE user_id = $1 AND id = $2", user, id, data, at)
}

// DeletePasskey removes a user's key.
func (t *Tx) DeletePasskey(user UserID, id PasskeyID) error {
	return t.change("DELETE FROM passkeys WHERE user_id = $1 AND id = $2", user, id)
}

// DeleteFactors removes all that a user proves himself with beside the password.
func (t *Tx) DeleteFactors(user UserID) error {
	if err := t.DeleteTOTP(user); err != nil {
		return err
	}
	if err := t.SetRecoveryCodes(user, nil); err != nil {
		return err
	}
	return t.DeletePasskeys(user)
}

// DeletePasskeys removes all of a user's keys; none is no error.
func (t *Tx) DeletePasskeys(user UserID) error {
	_, err := t.exec("DELETE FROM passkeys WHERE user_id = $1", user)
	return err
}

// PutChallenge keeps what a passkey is to sign, for one holder, in place of what was kept
// for it before.
func (t *Tx) PutChallenge(holder TokenHash, kind string, data []byte, expires time.Time) error {
	_, err := t.exec(`INSERT INTO challenges (holder, kind, data, expires) VALUES ($1, $2, $3, $4)
		ON CONFLICT (holder) DO UPDATE SET kind = excluded.kind, data = excluded.data, expires = excluded.expires`,
		holder[:], kind, data, expires)
	return err
}

// TakeChallenge gives it, and removes it. ErrNotFound where there is none, where it is of
// another kind, or has expired.
func (t *Tx) TakeChallenge(holder TokenHash, kind string, now time.Time) ([]byte, error) {
	return row(t, func(s scanner) (v []byte, err error) {
		err = s.Scan(blob{&v})
		return v, err
	}, "DELETE FROM challenges WHERE holder = $1 AND kind = $2 AND expires > $3 RETURNING data", holder[:], kind, now)
}

// SweepChallenges removes those that have expired, and tells how many.
func (t *Tx) SweepChallenges(now time.Time) (int, error) {
	return t.sweep("DELETE FROM challenges WHERE expires <= $1", now)
}
