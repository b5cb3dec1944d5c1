package store

import "time"

const (
	deviceColumns = "d.rollout_id, d.system_id, d.serial, s.name, s.site_id, d.ring, d.state, d.code, d.step, d.checked, d.seen, d.base, d.diff, d.sealed, d.boot, d.changed"
	// workColumns are the same without what is sealed: who works on many systems reads it
	// when it is the turn of one.
	workColumns = "d.rollout_id, d.system_id, d.serial, s.name, s.site_id, d.ring, d.state, d.code, d.step, d.checked, d.seen, d.base, d.diff, NULL, d.boot, d.changed"
)

const fromDevices = " FROM rollout_devices d JOIN systems s ON s.id = d.system_id WHERE "

func scanDevice(s scanner) (v RolloutDevice, err error) {
	var changed moment
	err = s.Scan(&v.Rollout, &v.System, &v.Serial, &v.Name, &v.Site, &v.Ring, &v.State, &v.Code, &v.Step, &v.Checked, &v.Seen, &v.Base, &v.Diff,
		blob{&v.Sealed}, &v.Boot, &changed)
	v.Changed = changed.Time
	return v, err
}

// RolloutDeviceFilter chooses systems of a rollout: those that fit all of what is set.
type RolloutDeviceFilter struct {
	States []RolloutDeviceState // one of them; empty: any
	Diff   string               // "": any
}

const deviceCursor = "rollout device"

// RolloutDevices gives a page of the systems of one of the tenant's rollouts, ring by ring,
// and the cursor of the next. ErrCursor.
func (t *Tx) RolloutDevices(tenant TenantID, id RolloutID, f RolloutDeviceFilter, p Page) (items []RolloutDevice, next string, err error) {
	w := &where{t: t, args: []any{tenant, id}}
	w.sql.WriteString("d.rollout_id = $2 AND s.tenant_id = $1")
	if len(f.States) > 0 {
		w.and("d.state IN "+t.list("?"), listOf(f.States))
	}
	if f.Diff != "" {
		w.and("d.diff = ?", f.Diff)
	}
	if p.Cursor != "" {
		from, err := parseCursor(p.Cursor, deviceCursor)
		if err != nil {
			return nil, "", err
		}
		w.sql.WriteString(" AND (d.ring, d.system_id) > (" + w.parameter(from.Number) + ", " + w.parameter(from.ID) + ")")
	}
	limit := p.limit()
	items, err = rows(t, scanDevice, "SELECT "+deviceColumns+fromDevices+w.sql.String()+" ORDER BY d.ring, d.system_id LIMIT "+w.parameter(limit+1), w.args...)
	if err != nil || len(items) <= limit {
		return items, "", err
	}
	items = items[:limit]
	last := items[limit-1]
	return items, cursor{Column: deviceCursor, Number: int64(last.Ring), ID: string(last.System)}.String(), nil
}

// RolloutDiff is how many systems of a rollout have the same changes, and one of them.
type RolloutDiff struct {
	Diff    string
	Systems int
	System  SystemID
}

// RolloutDiffs groups the systems of one of the tenant's rollouts by what changes, the most
// frequent first. Those that were not read are in none.
func (t *Tx) RolloutDiffs(tenant TenantID, id RolloutID) ([]RolloutDiff, error) {
	return rows(t, func(s scanner) (v RolloutDiff, err error) {
		err = s.Scan(&v.Diff, &v.Systems, &v.System)
		return v, err
	}, "SELECT d.diff, count(*), min(d.system_id)"+fromDevices+"d.rollout_id = $2 AND s.tenant_id = $1 AND d.diff <> '' GROUP BY d.diff ORDER BY count(*) DESC, d.diff",
		tenant, id)
}

// RolloutDeviceOf gives one system of one of the tenant's rollouts.
func (t *Tx) RolloutDeviceOf(tenant TenantID, id RolloutID, system SystemID) (RolloutDevice, error) {
	return row(t, scanDevice, "SELECT "+deviceColumns+fromDevices+"s.tenant_id = $1 AND d.rollout_id = $2 AND d.system_id = $3", tenant, id, system)
}

// ClaimRollouts gives the rollouts that somebody has to work on, and whose lease is the
// owner's or is over: it is the owner's then, until a time. So are those that he still has.
func (t *Tx) ClaimRollouts(owner string, now, until time.Time) ([]Rollout, error) {
	if _, err := t.exec("UPDATE rollouts SET lease_until = $3 WHERE lease_owner = $1 AND lease_until > $2", owner, now, until); err != nil {
		return nil, err
	}
	return rows(t, scanRollout, `UPDATE rollouts SET lease_owner = $1, lease_until = $3
		WHERE state IN `+activeRollouts+" AND (lease_owner = $1 OR lease_until <= $2) RETURNING "+rolloutColumns, owner, now, until)
}

// ReleaseRollout ends the lease of an owner; none is no error.
func (t *Tx) ReleaseRollout(id RolloutID, owner string) error {
	_, err := t.exec("UPDATE rollouts SET lease_owner = '', lease_until = 0 WHERE id = $1 AND lease_owner = $2", id, owner)
	return err
}

// LeasedRollout gives a rollout whose lease the owner has. ErrConflict "lease" where he has it
// no more.
func (t *Tx) LeasedRollout(id RolloutID, owner string, now time.Time) (Rollout, error) {
	all, err := rows(t, scanRollout, "SELECT "+rolloutColumns+" FROM rollouts WHERE id = $1 AND lease_owner = $2 AND lease_until > $3", id, owner, now)
	if err == nil && len(all) == 0 {
		err = &ConflictError{What: "lease"}
	}
	if err != nil {
		return Rollout{}, err
	}
	return all[0], nil
}

// RingCounts counts the systems of a rollout of whatever tenant.
func (t *Tx) RingCounts(id RolloutID) ([]RingCount, error) {
	return t.ringCounts("rollout_id = $1", id)
}

// UncheckedDevices gives systems of a rollout that were not read before the start, without
// what is sealed.
func (t *Tx) UncheckedDevices(id RolloutID, limit int) ([]RolloutDevice, error) {
	return t.someDevices(unchecked, limit, id)
}

const unchecked = "d.rollout_id = $1 AND NOT d.checked ORDER BY d.ring, d.system_id"

// DueDevices gives systems of a ring that are in one of some states, without what is sealed.
func (t *Tx) DueDevices(id RolloutID, ring, limit int, states ...RolloutDeviceState) ([]RolloutDevice, error) {
	return t.someDevices("d.rollout_id = $1 AND d.ring = $2 AND d.state IN "+t.list("$3"), limit, id, ring, listOf(states))
}

// WrittenDevices gives systems of a rollout that something may have been written to, and
// that were not set back, without what is sealed.
func (t *Tx) WrittenDevices(id RolloutID, limit int) ([]RolloutDevice, error) {
	return t.someDevices(`d.rollout_id = $1 AND d.step IN ('writing', 'written', 'restarting', 'restoring', 'returning')
		AND d.state IN ('done', 'failed', 'running', 'offline', 'refused')`, limit, id)
}

func (t *Tx) someDevices(condition string, limit int, args ...any) ([]RolloutDevice, error) {
	w := &where{t: t, args: args}
	return rows(t, scanDevice, "SELECT "+workColumns+fromDevices+condition+" LIMIT "+w.parameter(limit), w.args...)
}

// SealedElsewise gives up to limit systems of rollouts, of whatever tenant, in the order of
// their ids and after one, whose sealed changes do not begin with head. Only Rollout, System
// and Sealed are set.
func (t *Tx) SealedElsewise(head []byte, after RolloutDevice, limit int) ([]RolloutDevice, error) {
	return rows(t, func(s scanner) (v RolloutDevice, err error) {
		err = s.Scan(&v.Rollout, &v.System, blob{&v.Sealed})
		return v, err
	}, `SELECT rollout_id, system_id, sealed FROM rollout_devices WHERE length(sealed) > 0 AND substr(sealed, 1, $1) <> $2
		AND (rollout_id, system_id) > ($3, $4) ORDER BY rollout_id, system_id LIMIT $5`,
		len(head), head, string(after.Rollout), string(after.System), limit)
}

// ResealRolloutDevice replaces what v has sealed by the same, sealed with another key, unless
// it is something else by now.
func (t *Tx) ResealRolloutDevice(v RolloutDevice, sealed []byte) error {
	_, err := t.exec("UPDATE rollout_devices SET sealed = $4 WHERE rollout_id = $1 AND system_id = $2 AND sealed = $3", v.Rollout, v.System, v.Sealed, sealed)
	return err
}

// SaveRolloutDevice keeps how far a system is: all but its name and site. ErrNotFound where
// the system is gone.
func (t *Tx) SaveRolloutDevice(v RolloutDevice) error {
	return t.change(`UPDATE rollout_devices SET ring = $3, state = $4, code = $5, step = $6, checked = $7, seen = $8, base = $9, diff = $10, sealed = $11,
		boot = $12, changed = $13 WHERE rollout_id = $1 AND system_id = $2`,
		v.Rollout, v.System, v.Ring, v.State, v.Code, v.Step, v.Checked, v.Seen, v.Base, v.Diff, v.Sealed, v.Boot, v.Changed)
}

// NextRing lets a rollout go on with the next ring, not before a time. Systems of the last
// one that were not reached go with it.
func (t *Tx) NextRing(id RolloutID, ring int, notBefore time.Time) error {
	if err := t.change("UPDATE rollouts SET ring = $2, not_before = $3, forgiven = 0 WHERE id = $1", id, ring, notBefore); err != nil {
		return err
	}
	_, err := t.exec("UPDATE rollout_devices SET ring = $2 WHERE rollout_id = $1 AND ring < $2 AND state IN ('pending', 'offline')", id, ring)
	return err
}

// Uncheck has all systems of a rollout be read again.
func (t *Tx) Uncheck(id RolloutID) error {
	_, err := t.exec("UPDATE rollout_devices SET checked = false, state = 'pending', code = '', seen = '', diff = '' WHERE rollout_id = $1", id)
	return err
}
