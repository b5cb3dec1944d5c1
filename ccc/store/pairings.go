package store

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// CreatePairing adds a pairing. ErrConflict "serial" where the PBX has a living one,
// "system" where the system has, "offer" or "id"; ErrNotFound without the system, or
// where it is another tenant's.
func (t *Tx) CreatePairing(v Pairing) error {
	var c checks
	c.id("ID", string(v.ID))
	c.id("Offer", string(v.Offer))
	c.serial(v.Serial)
	c.time("Paired", v.Paired)
	if v.Epoch == 0 {
		c.fail("Epoch", "is missing")
	}
	if c.err != nil {
		return c.err
	}
	return t.change(`INSERT INTO pairings (id, system_id, tenant_id, serial, epoch, user_sealed, password_sealed,
		completion, offer_id, pbx_version, paired, proved)
		SELECT $1, id, tenant_id, $4, $5, $6, $7, $8, $9, $10, $11, $12 FROM systems WHERE id = $2 AND tenant_id = $3`,
		v.ID, v.System, v.Tenant, v.Serial, v.Epoch, v.UserSealed, v.PasswordSealed,
		v.Completion[:], v.Offer, v.PBXVersion, v.Paired, moments(v.Proved))
}

const pairingColumns = `id, system_id, tenant_id, serial, epoch, user_sealed, password_sealed, completion, offer_id,
	pbx_version, paired, proved`

func scanPairing(s scanner) (v Pairing, err error) {
	var paired, proved moment
	var completion []byte
	err = s.Scan(&v.ID, &v.System, &v.Tenant, &v.Serial, &v.Epoch, blob{&v.UserSealed}, blob{&v.PasswordSealed},
		&completion, &v.Offer, &v.PBXVersion, &paired, &proved)
	copy(v.Completion[:], completion)
	v.Paired, v.Proved = paired.Time, proved.pointer()
	return v, err
}

func (t *Tx) pairing(condition string, args ...any) (Pairing, error) {
	return row(t, scanPairing, "SELECT "+pairingColumns+" FROM pairings WHERE "+condition, args...)
}

// Pairing gives a living pairing of whatever tenant.
func (t *Tx) Pairing(id PairingID) (Pairing, error) { return t.pairing("id = $1", id) }

// ActivePairing gives the living pairing of a PBX, with whatever tenant.
func (t *Tx) ActivePairing(serial identity.Serial) (Pairing, error) {
	return t.pairing("serial = $1", serial)
}

// SystemPairing gives the living pairing of a system.
func (t *Tx) SystemPairing(tenant TenantID, system SystemID) (Pairing, error) {
	return t.pairing("tenant_id = $1 AND system_id = $2", tenant, system)
}

// ActivePairings gives the living pairings of all tenants whose serial is after one,
// in the order of serials.
func (t *Tx) ActivePairings(after identity.Serial, limit int) ([]Pairing, error) {
	return rows(t, scanPairing, "SELECT "+pairingColumns+" FROM pairings WHERE serial > $1 ORDER BY serial LIMIT $2", after, limit)
}

// Paired tells which systems are paired, of all tenants, whose serial is after one, in the
// order of serials. Unlike [Tx.ActivePairings] it reads no secrets.
func (t *Tx) Paired(after identity.Serial, limit int) ([]Paired, error) {
	return rows(t, func(s scanner) (v Paired, err error) {
		err = s.Scan(&v.Serial, &v.Tenant, &v.System, &v.Epoch)
		return v, err
	}, "SELECT serial, tenant_id, system_id, epoch FROM pairings WHERE serial > $1 ORDER BY serial LIMIT $2", after, limit)
}

// SetProved notes that the login at the PBX was proved.
func (t *Tx) SetProved(id PairingID, at time.Time) error {
	return t.change("UPDATE pairings SET proved = $2 WHERE id = $1", id, at)
}

// ResealPairing replaces what a pairing has sealed by the same, sealed with another
// key.
func (t *Tx) ResealPairing(id PairingID, user, password []byte) error {
	t.erased = true
	return t.change("UPDATE pairings SET user_sealed = $2, password_sealed = $3 WHERE id = $1", id, user, password)
}

// DeletePairing ends a pairing and erases its secrets.
func (t *Tx) DeletePairing(id PairingID) error {
	t.erased = true
	return t.change("DELETE FROM pairings WHERE id = $1", id)
}

// NextEpoch begins a new ownership of a PBX and gives its number, which is above all
// before it, also above those that were given after a backup which was restored since.
func (t *Tx) NextEpoch(serial identity.Serial) (uint64, error) {
	var c checks
	if c.serial(serial); c.err != nil {
		return 0, c.err
	}
	return row(t, value[uint64], `INSERT INTO ownership (serial, epoch)
		SELECT $1, coalesce(max(epoch), 0) + 1 FROM ownership WHERE serial IN ($1, '')
		ON CONFLICT (serial) DO UPDATE SET epoch = excluded.epoch RETURNING epoch`, serial)
}

// AddTombstone notes that a pairing has ended. One that is there already stays as it is.
func (t *Tx) AddTombstone(v Tombstone) error {
	var c checks
	c.serial(v.Serial)
	c.time("At", v.At)
	if c.err != nil {
		return c.err
	}
	_, err := t.exec(`INSERT INTO tombstones (pairing_id, serial, epoch, reason, at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (pairing_id) DO NOTHING`, v.Pairing, v.Serial, v.Epoch, v.Reason, v.At)
	return err
}

const tombstoneColumns = "pairing_id, serial, epoch, reason, at"

func scanTombstone(s scanner) (v Tombstone, err error) {
	var at moment
	err = s.Scan(&v.Pairing, &v.Serial, &v.Epoch, &v.Reason, &at)
	v.At = at.Time
	return v, err
}

// Tombstones gives those that a PBX has not confirmed, the oldest first.
func (t *Tx) Tombstones(serial identity.Serial) ([]Tombstone, error) {
	return rows(t, scanTombstone, "SELECT "+tombstoneColumns+" FROM tombstones WHERE serial = $1 ORDER BY epoch, pairing_id", serial)
}

// PendingTombstones gives those of all PBXs whose id is after one, in the order of ids.
func (t *Tx) PendingTombstones(after PairingID, limit int) ([]Tombstone, error) {
	return rows(t, scanTombstone, "SELECT "+tombstoneColumns+" FROM tombstones WHERE pairing_id > $1 ORDER BY pairing_id LIMIT $2",
		optional(after), limit)
}

// DeleteTombstone removes one that the PBX has confirmed; none is no error.
func (t *Tx) DeleteTombstone(pairing PairingID) error {
	_, err := t.exec("DELETE FROM tombstones WHERE pairing_id = $1", pairing)
	return err
}

// SweepTombstones removes those made before a time, and tells how many.
func (t *Tx) SweepTombstones(before time.Time) (int, error) {
	return t.sweep("DELETE FROM tombstones WHERE at < $1", before)
}
