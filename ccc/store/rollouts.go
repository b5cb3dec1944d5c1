package store

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// RolloutKind says what a rollout does.
type RolloutKind string

// The kinds of rollouts.
const (
	RolloutSettings RolloutKind = "settings"
	RolloutRestart  RolloutKind = "restart"
	RolloutFirmware RolloutKind = "firmware"
)

// RolloutState says how far a rollout is; ccc/rollout draws what leads from one to another.
type RolloutState string

// The states of a rollout. In the first, third and last but one somebody works on it.
const (
	RolloutChecking  RolloutState = "checking" // all systems are read, and nothing is changed
	RolloutReady     RolloutState = "ready"    // waits for its start
	RolloutRunning   RolloutState = "running"
	RolloutPaused    RolloutState = "paused"
	RolloutHalted    RolloutState = "halted" // too many have failed
	RolloutStopped   RolloutState = "stopped"
	RolloutDone      RolloutState = "done"
	RolloutReverting RolloutState = "reverting"
	RolloutReverted  RolloutState = "reverted"
)

// activeRollouts are the states in which somebody works on a rollout.
const activeRollouts = "('checking', 'running', 'reverting')"

// Ring is how many systems a ring has: a number, or a part of all of them. The last ring has
// the rest.
type Ring struct {
	Count   int `json:"count,omitempty"`
	Percent int `json:"percent,omitempty"`
}

// RolloutWindow is a time of each day, in minutes from midnight; one that ends before it begins is
// that of a night.
type RolloutWindow struct {
	From int    `json:"from"`
	To   int    `json:"to"`
	Zone string `json:"zone"` // IANA
}

// RolloutPlan is how a rollout proceeds.
type RolloutPlan struct {
	Rings    []Ring         `json:"rings"`
	Parallel int            `json:"parallel"`         // systems at once
	Pause    time.Duration  `json:"pause"`            // between rings
	Window   *RolloutWindow `json:"window,omitempty"` // nil: at any time
	// It halts where more of a ring than MaxFailures, or than MaxPercent of it, have
	// failed. MaxPercent 0 does not count.
	MaxFailures int           `json:"max_failures"`
	MaxPercent  int           `json:"max_percent,omitempty"`
	Restart     bool          `json:"restart,omitempty"`   // where a setting needs it
	Downgrade   bool          `json:"downgrade,omitempty"` // of firmware
	Wait        time.Duration `json:"wait"`                // for systems that are offline, from the start on
}

// Rollout is a change of many systems.
type Rollout struct {
	ID              RolloutID
	Tenant          TenantID
	Name            string
	Kind            RolloutKind
	Template        TemplateID // that Settings are from; may be gone. Empty: from none
	TemplateVersion int64
	Firmware        FirmwareID // empty: none; may be gone after the end
	FirmwareModel   string     // of the image
	FirmwareVersion string     // that the image has
	Settings        []byte     // a JSON object
	Plan            RolloutPlan
	State           RolloutState
	Reason          string // why it halted or stopped
	Ring            int    // that is worked on, from 0
	NotBefore       time.Time
	Forgiven        int // failures of the ring that do not count, since somebody has gone on
	Created         time.Time
	CreatedBy       UserID
	Acting          UserID // who lets it change something
	Started         *time.Time
	Deadline        *time.Time
	Ended           *time.Time
	Stood           *time.Time // since when it is paused or halted; nil: it is not
}

// RolloutDeviceState says how far a system is in a rollout.
type RolloutDeviceState string

// The states of a system in a rollout.
const (
	DevicePending    RolloutDeviceState = "pending"
	DeviceRunning    RolloutDeviceState = "running"
	DeviceOffline    RolloutDeviceState = "offline" // its turn is when it can be reached, up to the deadline
	DeviceDone       RolloutDeviceState = "done"
	DeviceUnchanged  RolloutDeviceState = "unchanged" // it was so already
	DeviceConflict   RolloutDeviceState = "conflict"  // somebody else has changed it
	DeviceRefused    RolloutDeviceState = "refused"   // by the PBX, or nobody may any more
	DeviceFailed     RolloutDeviceState = "failed"
	DeviceRolledBack RolloutDeviceState = "rolled_back"
)

// RolloutStep says what was begun at a system, so that it is not begun twice.
type RolloutStep string

// The steps, in their order.
const (
	StepNone       RolloutStep = ""
	StepReading    RolloutStep = "reading"    // its turn has come
	StepWriting    RolloutStep = "writing"    // what is sealed may have been written, over the version Base
	StepWritten    RolloutStep = "written"    // it was
	StepRestarting RolloutStep = "restarting" // the boot that is to end is Boot

	// Of a system that is set back.
	StepRestoring RolloutStep = "restoring" // the old values may have been written
	StepReturning RolloutStep = "returning" // the boot that is to end is Boot
	StepReverted  RolloutStep = "reverted"  // its turn is over, whatever has come of it
)

// RolloutDevice is a system in a rollout.
type RolloutDevice struct {
	Rollout RolloutID
	System  SystemID
	Serial  identity.Serial
	Name    string // of the system; only read
	Site    SiteID // of the system; only read
	Ring    int
	State   RolloutDeviceState
	Code    string // of a failure, a refusal or a conflict
	Step    RolloutStep
	Checked bool   // it was read before the start
	Seen    string // version that was read then; "": none
	Base    string // version that is written over
	Diff    string // the same for systems with the same changes
	Sealed  []byte // the changes, with the old values
	Boot    string
	Changed time.Time
}

const rolloutColumns = `id, tenant_id, name, kind, template_id, template_version, firmware_id, settings, plan, state, reason,
	ring, not_before, forgiven, created, created_by, acting, started, deadline, ended, firmware_model, firmware_version, stood`

func scanRollout(s scanner) (v Rollout, err error) {
	var notBefore, created, started, deadline, ended, stood moment
	var settings, plan string
	err = s.Scan(&v.ID, &v.Tenant, &v.Name, &v.Kind, &v.Template, &v.TemplateVersion, &v.Firmware, &settings, &plan, &v.State, &v.Reason,
		&v.Ring, &notBefore, &v.Forgiven, &created, &v.CreatedBy, &v.Acting, &started, &deadline, &ended,
		&v.FirmwareModel, &v.FirmwareVersion, &stood)
	if err == nil {
		err = json.Unmarshal([]byte(plan), &v.Plan)
	}
	v.Settings, v.NotBefore, v.Created = []byte(settings), notBefore.Time, created.Time
	v.Started, v.Deadline, v.Ended = started.pointer(), deadline.pointer(), ended.pointer()
	v.Stood = stood.pointer()
	return v, err
}

// CreateRollout adds a rollout with its systems: those of each ring. ErrNotFound where one of
// these is not the tenant's.
func (t *Tx) CreateRollout(v Rollout, rings [][]SystemID) error {
	t.makes(v.Tenant, "rollout", string(v.ID), "")
	var c checks
	c.id("ID", string(v.ID))
	oneOf(&c, "Kind", v.Kind, RolloutSettings, RolloutRestart, RolloutFirmware)
	if v.Name == "" {
		c.fail("Name", "is missing")
	}
	c.time("Created", v.Created)
	if c.err != nil {
		return c.err
	}
	plan, err := json.Marshal(v.Plan)
	if err != nil {
		return err
	}
	_, err = t.exec("INSERT INTO rollouts ("+rolloutColumns+`, lease_owner, lease_until)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '', 0, 0, 0, $11, $12, $12, 0, 0, 0, $13, $14, 0, '', 0)`,
		v.ID, v.Tenant, v.Name, v.Kind, optional(v.Template), v.TemplateVersion, optional(v.Firmware), string(v.Settings), string(plan),
		v.State, v.Created, optional(v.CreatedBy), v.FirmwareModel, v.FirmwareVersion)
	if err != nil {
		return err
	}
	for i, systems := range rings {
		n, err := t.exec(`INSERT INTO rollout_devices (rollout_id, system_id, serial, ring, state, code, step, checked, seen, base, diff, sealed, boot, changed)
			SELECT $1, id, serial, $3, 'pending', '', '', false, '', '', '', $5, '', $6 FROM systems WHERE tenant_id = $2 AND id IN `+t.list("$4"),
			v.ID, v.Tenant, i, listOf(wellFormedOf(systems)), []byte(nil), v.Created)
		if err == nil && int(n) != len(systems) {
			err = ErrNotFound
			t.failed = err
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rolloutWhere is the condition of a rollout of the tenant, of which all systems that there
// are lie within some parts.
func (t *Tx) rolloutWhere(tenant TenantID, within *Within) *where {
	w := &where{t: t, args: []any{tenant}}
	w.sql.WriteString("tenant_id = $1")
	if within != nil {
		w.sql.WriteString(` AND EXISTS (SELECT 1 FROM rollout_devices d WHERE d.rollout_id = rollouts.id)
			AND NOT EXISTS (SELECT 1 FROM rollout_devices d JOIN systems s ON s.id = d.system_id WHERE d.rollout_id = rollouts.id
			AND NOT (s.site_id IN ` + t.list(w.parameter(listOf(within.Sites))) + " OR s.id IN " + t.list(w.parameter(listOf(within.Systems))) + "))")
	}
	return w
}

// Rollout gives one of the tenant's. With parts of the tenant it is ErrNotFound where some
// system of it is in none of them.
func (t *Tx) Rollout(tenant TenantID, id RolloutID, within *Within) (Rollout, error) {
	w := t.rolloutWhere(tenant, within)
	w.id("id = ?", string(id))
	return row(t, scanRollout, "SELECT "+rolloutColumns+" FROM rollouts WHERE "+w.sql.String(), w.args...)
}

const rolloutCursor = "-rollout"

// Rollouts gives a page of the tenant's, the newest first, and the cursor of the next; see
// [Tx.Rollout] for the parts. ErrCursor.
func (t *Tx) Rollouts(tenant TenantID, within *Within, p Page) (items []Rollout, next string, err error) {
	w := t.rolloutWhere(tenant, within)
	if p.Cursor != "" {
		from, err := parseCursor(p.Cursor, rolloutCursor)
		if err != nil {
			return nil, "", err
		}
		w.and("id < ?", from.ID)
	}
	limit := p.limit()
	items, err = rows(t, scanRollout, "SELECT "+rolloutColumns+" FROM rollouts WHERE "+w.sql.String()+" ORDER BY id DESC LIMIT "+w.parameter(limit+1), w.args...)
	if err != nil || len(items) <= limit {
		return items, "", err
	}
	items = items[:limit]
	return items, cursor{Column: rolloutCursor, ID: string(items[limit-1].ID)}.String(), nil
}

// RingCount is how many systems of a ring are in a state.
type RingCount struct {
	Rollout RolloutID
	Ring    int
	State   RolloutDeviceState
	Tried   bool // something was begun at them after the start
	Systems int
}

// RolloutCounts counts the systems of some rollouts of the tenant.
func (t *Tx) RolloutCounts(tenant TenantID, ids []RolloutID) ([]RingCount, error) {
	return t.ringCounts("rollout_id IN (SELECT id FROM rollouts WHERE tenant_id = $1 AND id IN "+t.list("$2")+")", tenant, listOf(wellFormedOf(ids)))
}

func (t *Tx) ringCounts(condition string, args ...any) ([]RingCount, error) {
	return rows(t, func(s scanner) (v RingCount, err error) {
		err = s.Scan(&v.Rollout, &v.Ring, &v.State, &v.Tried, &v.Systems)
		return v, err
	}, ringCountsQuery(condition), args...)
}

func ringCountsQuery(condition string) string {
	return `SELECT rollout_id, ring, state, step <> '', count(*) FROM rollout_devices WHERE ` + condition +
		" GROUP BY rollout_id, ring, state, step <> '' ORDER BY rollout_id, ring, state"
}

// SetRollout takes a rollout of the tenant from one of some states to another, with what else
// v says of State, Reason, Forgiven, Acting, Started, Deadline, Ended, NotBefore and Stood.
// ErrConflict "state" where it is in another one.
func (t *Tx) SetRollout(tenant TenantID, v Rollout, from ...RolloutState) error {
	n, err := t.exec(`UPDATE rollouts SET state = $3, reason = $4, forgiven = $5, acting = $6, started = $7, deadline = $8, ended = $9, not_before = $10, stood = $11
		WHERE tenant_id = $1 AND id = $2 AND state IN `+t.list("$12"),
		tenant, v.ID, v.State, v.Reason, v.Forgiven, optional(v.Acting), moments(v.Started), moments(v.Deadline), moments(v.Ended), v.NotBefore, moments(v.Stood), listOf(from))
	if err == nil && n > 0 {
		return t.Announce(Announcement{
			Tenant: tenant, Topic: "rollout.changed", At: time.Now(), Data: map[string]string{"rollout_id": string(v.ID), "state": string(v.State)},
		})
	}
	if err != nil {
		return err
	}
	if _, err := t.Rollout(tenant, v.ID, nil); err != nil {
		return err
	}
	return &ConflictError{What: "state"}
}

// SweepRollouts removes those that ended before a time, with what was kept of the systems,
// and tells how many.
func (t *Tx) SweepRollouts(before time.Time) (int, error) {
	t.erased = true
	n, err := t.sweep("DELETE FROM rollouts WHERE ended > 0 AND ended < $1", before)
	if err != nil {
		return n, fmt.Errorf("rollouts: %w", err)
	}
	return n, nil
}
