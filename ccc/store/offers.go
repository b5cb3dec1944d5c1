package store

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// CreateOffer adds an offer. ErrConflict "system" where the system has an open one, or
// "id"; ErrNotFound without the system, or where it is another tenant's.
func (t *Tx) CreateOffer(v Offer) error {
	var c checks
	c.id("ID", string(v.ID))
	c.serial(v.Serial)
	oneOf(&c, "State", v.State, OfferOpen)
	c.time("Created", v.Created)
	c.time("Expires", v.Expires)
	if c.err != nil {
		return c.err
	}
	return t.change(`INSERT INTO offers (id, system_id, tenant_id, serial, created_by, created, expires, state,
		token_sealed, nonce, code, received, closed, tries)
		SELECT $1, id, tenant_id, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0, 0
		FROM systems WHERE id = $2 AND tenant_id = $3`,
		v.ID, v.System, v.Tenant, v.Serial, optional(v.CreatedBy), v.Created, v.Expires, v.State,
		v.TokenSealed, v.Nonce, v.Code)
}

const offerColumns = `id, system_id, tenant_id, serial, created_by, created, expires, state, token_sealed, nonce, code,
	received, closed, sheet, tries`

func scanOffer(s scanner) (v Offer, err error) {
	var created, expires, received, closed, sheet moment
	err = s.Scan(&v.ID, &v.System, &v.Tenant, &v.Serial, &v.CreatedBy, &created, &expires, &v.State,
		blob{&v.TokenSealed}, blob{&v.Nonce}, &v.Code, &received, &closed, &sheet, &v.Tries)
	v.Created, v.Expires, v.Received, v.Closed, v.Sheet = created.Time, expires.Time, received.pointer(), closed.pointer(), sheet.pointer()
	return v, err
}

func (t *Tx) offers(condition string, args ...any) ([]Offer, error) {
	return rows(t, scanOffer, "SELECT "+offerColumns+" FROM offers WHERE "+condition, args...)
}

// Offer gives an offer of whatever tenant.
func (t *Tx) Offer(id OfferID) (Offer, error) {
	return row(t, scanOffer, "SELECT "+offerColumns+" FROM offers WHERE id = $1", id)
}

// OpenOffer gives the offer of a system that can be completed.
func (t *Tx) OpenOffer(tenant TenantID, system SystemID) (Offer, error) {
	return row(t, scanOffer, "SELECT "+offerColumns+" FROM offers WHERE tenant_id = $1 AND system_id = $2 AND state IN "+open, tenant, system)
}

// OpenOffers gives those to a PBX that can be completed, of all tenants, the oldest
// first.
func (t *Tx) OpenOffers(serial identity.Serial) ([]Offer, error) {
	return t.offers("serial = $1 AND state IN "+open+" ORDER BY created, id", serial)
}

// DueOffers gives offers that can be completed but have expired, the first of them first.
func (t *Tx) DueOffers(now time.Time, limit int) ([]Offer, error) {
	return t.offers("state IN "+open+" AND expires <= $1 ORDER BY expires, id LIMIT $2", now, limit)
}

// SetReceived notes that the PBX has an offer. ErrConflict "closed" where it can no
// longer be completed; a second time changes nothing.
func (t *Tx) SetReceived(id OfferID, at time.Time) error {
	return t.changeOpen(id, `UPDATE offers SET state = 'received', received = CASE WHEN received = 0 THEN $2 ELSE received END
		WHERE id = $1 AND state IN `+open, id, at)
}

// AddTry counts a wrong try, and gives how many there were. ErrConflict "closed".
func (t *Tx) AddTry(id OfferID) (int, error) {
	if err := t.changeOpen(id, "UPDATE offers SET tries = tries + 1 WHERE id = $1 AND state IN "+open, id); err != nil {
		return 0, err
	}
	return row(t, value[int], "SELECT tries FROM offers WHERE id = $1", id)
}

// CloseOffer gives an offer a final state and erases its token and nonce. ErrConflict
// "closed" where it has one already.
func (t *Tx) CloseOffer(id OfferID, state OfferState, at time.Time) error {
	var c checks
	if oneOf(&c, "State", state, OfferUsed, OfferVoid, OfferExpired, OfferDeclined, OfferWithdrawn); c.err != nil {
		return c.err
	}
	t.erased = true
	return t.changeOpen(id, "UPDATE offers SET state = $2, closed = $3, token_sealed = $4, nonce = $4 WHERE id = $1 AND state IN "+open,
		id, state, at, []byte{})
}

func (t *Tx) changeOpen(id OfferID, query string, args ...any) error {
	n, err := t.exec(query, args...)
	if err != nil || n > 0 {
		return err
	}
	if _, err := t.Offer(id); err != nil {
		return err
	}
	return &ConflictError{What: "closed"}
}
