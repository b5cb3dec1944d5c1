package store

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// HandoverState says how far a hand-over is.
type HandoverState string

// The states of a hand-over. All but the first two are final.
const (
	HandoverOffered   HandoverState = "offered"   // by the owner
	HandoverAccepted  HandoverState = "accepted"  // by the receiver; the system is on its way
	HandoverDone      HandoverState = "done"      // the system is the receiver's
	HandoverDeclined  HandoverState = "declined"  // by the receiver
	HandoverWithdrawn HandoverState = "withdrawn" // by the owner
	HandoverExpired   HandoverState = "expired"
)

// Handover of a system to another tenant.
type Handover struct {
	ID        HandoverID
	From      TenantID
	To        TenantID // need not exist
	System    SystemID // of the one who gives
	Serial    identity.Serial
	Name      string // of the system, then
	State     HandoverState
	By        UserID // who offers
	Created   time.Time
	Expires   time.Time
	DecidedBy UserID
	Decided   *time.Time
}

// CreateHandover offers a system. ErrConflict "handover" where it is offered already, or
// "id"; ErrNotFound where it is not From's.
func (t *Tx) CreateHandover(v Handover) error {
	t.makes(v.From, "handover", string(v.ID), v.Serial)
	var c checks
	c.id("ID", string(v.ID))
	c.id("To", string(v.To))
	c.id("By", string(v.By))
	if v.From == v.To {
		c.fail("To", "is who gives")
	}
	c.time("Created", v.Created)
	c.time("Expires", v.Expires)
	if c.err != nil {
		return c.err
	}
	return t.change("INSERT INTO handovers ("+handoverColumns+`)
		SELECT $1, tenant_id, $3, id, serial, name, $5, $6, $7, $8, '', 0 FROM systems WHERE tenant_id = $2 AND id = $4`,
		v.ID, v.From, v.To, v.System, HandoverOffered, v.By, v.Created, v.Expires)
}

const handoverColumns = "id, from_tenant, to_tenant, system_id, serial, name, state, offered_by, created, expires, decided_by, decided"

func scanHandover(s scanner) (v Handover, err error) {
	var created, expires, decided moment
	err = s.Scan(&v.ID, &v.From, &v.To, &v.System, &v.Serial, &v.Name, &v.State, &v.By, &created, &expires, &v.DecidedBy, &decided)
	v.Created, v.Expires, v.Decided = created.Time, expires.Time, decided.pointer()
	return v, err
}

var handovers = liveList[Handover]{
	table: "handovers", columns: handoverColumns, of: "from_tenant = $1 OR to_tenant = $1",
	live: "state = 'accepted' OR expires > ? AND (state = 'offered' OR decided > ?)",
	scan: scanHandover,
	key:  func(v Handover) (time.Time, string) { return v.Created, string(v.ID) },
}

// Handovers gives a page of those from and to a tenant: first those that are offered or on
// their way, each the newest first. It gives the cursor of the next page too. ErrCursor.
func (t *Tx) Handovers(tenant TenantID, now time.Time, p Page) (items []Handover, next string, err error) {
	return handovers.page(t, tenant, now, p)
}

// Handover gives one from or to a tenant.
func (t *Tx) Handover(tenant TenantID, id HandoverID) (Handover, error) {
	return row(t, scanHandover, "SELECT "+handoverColumns+" FROM handovers WHERE (from_tenant = $1 OR to_tenant = $1) AND id = $2", tenant, id)
}

// SetHandover takes a hand-over from one state to another, and gives it. ErrConflict
// "state" where it is in another; ErrNotFound where it is neither from nor to the tenant.
func (t *Tx) SetHandover(tenant TenantID, id HandoverID, from, to HandoverState, by UserID, at time.Time) (Handover, error) {
	v, err := t.Handover(tenant, id)
	if err != nil {
		return v, err
	}
	if v.State != from {
		return v, &ConflictError{What: "state"}
	}
	return row(t, scanHandover, "UPDATE handovers SET state = $2, decided_by = $3, decided = $4 WHERE id = $1 RETURNING "+handoverColumns,
		id, to, optional(by), at)
}

// ExpireHandovers ends those that nobody has accepted in time, and gives them.
func (t *Tx) ExpireHandovers(now time.Time) ([]Handover, error) {
	return rows(t, scanHandover, "UPDATE handovers SET state = $2, decided = $1 WHERE state = $3 AND expires <= $1 RETURNING "+handoverColumns,
		now, HandoverExpired, HandoverOffered)
}
