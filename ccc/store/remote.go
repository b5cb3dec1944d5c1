package store

import (
	"errors"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Remote is the record of a remote access: who, to which PBX, why and when. It has
// nothing of what was done there, and no address. It stays when the system or the user
// goes.
type Remote struct {
	ID     RemoteID
	Tenant TenantID
	System SystemID
	Serial identity.Serial
	Epoch  uint64 // of the pairing
	// User is who asked; Name is what he was called then.
	User    UserID
	Name    string
	Reason  string
	Service grant.Service
	Target  string
	Seconds int64 // that were asked for
	State   grant.State
	// Consent says how the PBX's administrator let him in; see wire.Consent.
	Consent   string
	Cause     grant.Cause // of a final state
	Requested time.Time
	Expires   time.Time  // when nobody can consent any more
	Started   *time.Time // nil: never
	Until     *time.Time // when it ends by itself; nil: it never started
	Ended     *time.Time // nil: the state is not final
	Reported  *time.Time // the last report's, by the PBX's clock; nil: none has come
	// Confirmed: the PBX has said that it has ended.
	Confirmed bool
	// Ending is why the PBX is to end it, until it knows; empty: nothing is to be told.
	Ending   grant.Cause
	BytesIn  int64 // that came to the PBX
	BytesOut int64 // that came from it
}

func (v Remote) check() error {
	var c checks
	c.id("ID", string(v.ID))
	c.id("User", string(v.User))
	c.serial(v.Serial)
	c.time("Requested", v.Requested)
	c.time("Expires", v.Expires)
	if v.Epoch == 0 {
		c.fail("Epoch", "is missing")
	}
	if !v.Service.Valid() {
		c.fail("Service", "is none of the known values")
	}
	if v.Seconds <= 0 {
		c.fail("Seconds", "is not above 0")
	}
	v.checkState(&c)
	return c.err
}

// checkState checks what [Tx.SetRemote] changes.
func (v Remote) checkState(c *checks) {
	if !v.State.Valid() {
		c.fail("State", "is none of the known values")
	}
	if v.State.Final() != (v.Ended != nil) || v.State.Final() != v.Cause.Valid() {
		c.fail("Ended", "and Cause belong to a final state, and to no other")
	}
	if v.Ending != "" && (!v.State.Final() || !v.Ending.Valid()) {
		c.fail("Ending", "is no cause, or not in a final state")
	}
	if v.BytesIn < 0 || v.BytesOut < 0 {
		c.fail("BytesIn", "or BytesOut is below 0")
	}
}

const remoteColumns = `id, tenant_id, system_id, serial, epoch, user_id, user_name, reason, service, target, seconds,
	state, consent, cause, requested, expires, started, until, ended, reported, confirmed, ending, bytes_in, bytes_out`

func scanRemote(s scanner) (v Remote, err error) {
	var requested, expires, started, until, ended, reported moment
	err = s.Scan(&v.ID, &v.Tenant, &v.System, &v.Serial, &v.Epoch, &v.User, &v.Name, &v.Reason, &v.Service, &v.Target, &v.Seconds,
		&v.State, &v.Consent, &v.Cause, &requested, &expires, &started, &until, &ended, &reported, &v.Confirmed, &v.Ending,
		&v.BytesIn, &v.BytesOut)
	v.Requested, v.Expires = requested.Time, expires.Time
	v.Started, v.Until, v.Ended, v.Reported = started.pointer(), until.pointer(), ended.pointer(), reported.pointer()
	return v, err
}

// CreateRemote adds a record. ErrConflict "id"; ErrNotFound without the system, or where
// it is another tenant's.
func (t *Tx) CreateRemote(v Remote) error {
	t.makes(v.Tenant, "remote", string(v.ID), v.Serial)
	if err := v.check(); err != nil {
		return err
	}
	err := t.change(`INSERT INTO remote_sessions (`+remoteColumns+`)
		SELECT $1, tenant_id, id, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24
		FROM systems WHERE tenant_id = $2 AND id = $3`,
		v.ID, v.Tenant, v.System, v.Serial, v.Epoch, v.User, v.Name, v.Reason, v.Service, v.Target, v.Seconds,
		v.State, v.Consent, v.Cause, v.Requested, v.Expires, moments(v.Started), moments(v.Until), moments(v.Ended), moments(v.Reported),
		v.Confirmed, v.Ending, v.BytesIn, v.BytesOut)
	if err != nil {
		return err
	}
	return t.announceRemote("remote.requested", v, v.Requested)
}

// announceRemote tells of a remote access.
func (t *Tx) announceRemote(topic Topic, v Remote, at time.Time) error {
	data := map[string]string{"remote_id": string(v.ID), "service": string(v.Service)}
	if topic == "remote.ended" { // one may begin at the PBX after it has ended here
		data["cause"] = string(v.Cause)
	}
	return t.Announce(Announcement{Tenant: v.Tenant, Topic: topic, At: at, System: v.System, Serial: v.Serial, Data: data})
}

// Remote gives a record of a system, which need not be there any more.
func (t *Tx) Remote(tenant TenantID, system SystemID, id RemoteID) (Remote, error) {
	return row(t, scanRemote, "SELECT "+remoteColumns+" FROM remote_sessions WHERE tenant_id = $1 AND system_id = $2 AND id = $3",
		tenant, system, id)
}

// SerialRemote gives a record of a PBX, of whatever tenant.
func (t *Tx) SerialRemote(serial identity.Serial, id RemoteID) (Remote, error) {
	return row(t, scanRemote, "SELECT "+remoteColumns+" FROM remote_sessions WHERE serial = $1 AND id = $2", serial, id)
}

// Remotes gives a page of a system's records, the newest first, and the cursor of the
// next page.
func (t *Tx) Remotes(tenant TenantID, system SystemID, p Page) (items []Remote, next string, err error) {
	return t.TenantRemotes(tenant, RemoteFilter{System: system}, p)
}

// CountRemotes tells how many of a tenant's remote accesses have not ended: of the
// system, and of the user; and how many to the system were asked for since a time.
func (t *Tx) CountRemotes(tenant TenantID, system SystemID, user UserID, since time.Time) (ofSystem, ofUser, asked int, err error) {
	count := func(into *int, condition string, args ...any) {
		var failed error
		*into, failed = row(t, value[int], "SELECT count(*) FROM remote_sessions WHERE "+condition, args...)
		err = errors.Join(err, failed)
	}
	count(&ofSystem, "tenant_id = $1 AND system_id = $2 AND ended = 0", tenant, system)
	count(&ofUser, "tenant_id = $1 AND user_id = $2 AND ended = 0", tenant, user)
	count(&asked, "tenant_id = $1 AND system_id = $2 AND requested > $3", tenant, system, since)
	return ofSystem, ofUser, asked, err
}

// SetRemote replaces what changes of a record: State, Consent, Cause, the times from
// Started on, Confirmed, Ending and the bytes. ErrNotFound.
func (t *Tx) SetRemote(v Remote) error {
	var c checks
	if v.checkState(&c); c.err != nil {
		return c.err
	}
	was, err := t.TenantRemote(v.Tenant, v.ID)
	if err != nil {
		return err
	}
	if was.Started == nil && v.Started != nil {
		t.noteRemote("begun", was)
		if err := t.announceRemote("remote.started", was, *v.Started); err != nil {
			return err
		}
	}
	if was.Ended == nil && v.Ended != nil {
		t.noteRemote("ended", was)
		if err := t.announceRemote("remote.ended", v, *v.Ended); err != nil {
			return err
		}
	}
	return t.change(`UPDATE remote_sessions SET state = $3, consent = $4, cause = $5, started = $6, until = $7, ended = $8,
		reported = $9, confirmed = $10, ending = $11, bytes_in = $12, bytes_out = $13 WHERE tenant_id = $1 AND id = $2`,
		v.Tenant, v.ID, v.State, v.Consent, v.Cause, moments(v.Started), moments(v.Until), moments(v.Ended),
		moments(v.Reported), v.Confirmed, v.Ending, v.BytesIn, v.BytesOut)
}

// EndRemotes ends what has not ended of a pairing that is over, and gives it. Nothing is
// to be told: the PBX ends it with the pairing.
func (t *Tx) EndRemotes(serial identity.Serial, epoch uint64, cause grant.Cause, at time.Time) ([]Remote, error) {
	if _, err := t.exec("UPDATE remote_sessions SET ending = '' WHERE serial = $1 AND epoch = $2 AND ending <> ''", serial, epoch); err != nil {
		return nil, err
	}
	ended, err := rows(t, scanRemote, `UPDATE remote_sessions SET state = $3, cause = $4, ended = $5
		WHERE serial = $1 AND epoch = $2 AND ended = 0 RETURNING `+remoteColumns, serial, epoch, grant.Ended, cause, at)
	for _, v := range ended {
		t.noteRemote("ended", v)
		if err := t.announceRemote("remote.ended", v, at); err != nil {
			return nil, err
		}
	}
	return ended, err
}

// OpenRemotes gives those of all tenants that have not ended, whose id is after one, in
// the order of ids.
func (t *Tx) OpenRemotes(after RemoteID, limit int) ([]Remote, error) {
	return rows(t, scanRemote, "SELECT "+remoteColumns+" FROM remote_sessions WHERE ended = 0 AND id > $1 ORDER BY id LIMIT $2",
		optional(after), limit)
}

// EndingRemotes gives those of all tenants that the PBX is to end, as OpenRemotes does.
func (t *Tx) EndingRemotes(after RemoteID, limit int) ([]Remote, error) {
	return rows(t, scanRemote, "SELECT "+remoteColumns+" FROM remote_sessions WHERE ending <> '' AND id > $1 ORDER BY id LIMIT $2",
		optional(after), limit)
}

// SweepRemotes removes records of what was asked for before a time and has ended, and
// tells how many.
func (t *Tx) SweepRemotes(before time.Time) (int, error) {
	return t.sweep("DELETE FROM remote_sessions WHERE requested < $1 AND ended <> 0", before)
}
