package wire

import (
	"encoding/json"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Offer tells a PBX that somebody wants to pair it. It is signed by service/ccc.
type Offer struct {
	ID     OfferID
	Serial identity.Serial
	// Tenant is the legal name of who offers, for the PBX's administrator to see.
	Tenant   string
	TenantID string // optional
	Token    token.Token
	// Nonce of [NonceLen] bytes salts the proof and the short code.
	Nonce    []byte
	IssuedAt time.Time
	// ExpiresAt is by the CCC's clock. A PBX, whose clock may be wrong, counts
	// ExpiresIn, whole seconds, from the arrival.
	ExpiresAt time.Time
	ExpiresIn time.Duration
	// Brand under which the tenant uses the CCC: auerswald or fontevo. Empty: either.
	Brand string
}

// offerJSON is the payload; it alone shows the token.
type offerJSON struct {
	Offer     OfferID         `json:"offer"`
	Serial    identity.Serial `json:"serial"`
	Tenant    string          `json:"tenant"`
	TenantID  string          `json:"tenant_id,omitempty"`
	Token     string          `json:"token"`
	Nonce     []byte          `json:"nonce"`
	IssuedAt  time.Time       `json:"issued_at"`
	ExpiresAt time.Time       `json:"expires_at"`
	ExpiresIn int64           `json:"expires_in_seconds"`
	Brand     string          `json:"brand"`
}

func (Offer) kind() kind { return kindOffer }

// Validate names every field that is missing or out of range.
func (o Offer) Validate() error { return o.check() }

func (o Offer) check() error {
	var c checks
	c.id("offer", string(o.ID))
	c.serial(o.Serial)
	c.tenant(o.Tenant, o.Brand)
	if o.TenantID != "" {
		c.id("tenant_id", o.TenantID)
	}
	if o.Token.IsZero() {
		c.fail("token", "is missing")
	}
	c.length("nonce", o.Nonce, NonceLen)
	c.time("issued_at", o.IssuedAt)
	c.time("expires_at", o.ExpiresAt)
	c.seconds("expires_in_seconds", o.ExpiresIn, MaxLife)
	return c.err()
}

func (o Offer) encode() ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	return json.Marshal(offerJSON{
		Offer: o.ID, Serial: o.Serial, Tenant: o.Tenant, TenantID: o.TenantID, Token: o.Token.Reveal(), Nonce: o.Nonce,
		IssuedAt: o.IssuedAt.UTC(), ExpiresAt: o.ExpiresAt.UTC(), ExpiresIn: int64(o.ExpiresIn / time.Second), Brand: o.Brand,
	})
}

func (o *Offer) decode(payload []byte) error {
	var j offerJSON
	if err := decode(payload, &j); err != nil {
		return err
	}
	var c checks
	tok, err := token.Parse(j.Token)
	if err != nil {
		c.fail("token", "%w", err)
		return c.err()
	}
	read := Offer{
		ID: j.Offer, Serial: j.Serial, Tenant: j.Tenant, TenantID: j.TenantID, Token: tok, Nonce: j.Nonce,
		IssuedAt: j.IssuedAt, ExpiresAt: j.ExpiresAt, ExpiresIn: seconds(j.ExpiresIn, MaxLife), Brand: j.Brand,
	}
	if err := read.check(); err != nil {
		return err
	}
	*o = read
	return nil
}

// Received tells the CCC that a PBX holds an offer. It is signed by the device.
type Received struct {
	Offer  OfferID         `json:"offer"`
	Serial identity.Serial `json:"serial"`
	At     time.Time       `json:"at"` // by the PBX's clock
}

func (Received) kind() kind { return kindReceived }

func (r Received) check() error {
	var c checks
	c.id("offer", string(r.Offer))
	c.serial(r.Serial)
	c.time("at", r.At)
	return c.err()
}

func (r Received) encode() ([]byte, error) {
	r.At = r.At.UTC()
	return encode(r)
}
func (r *Received) decode(payload []byte) error { return read(payload, r) }

// Ack tells a PBX that it is paired. It is signed by service/ccc.
type Ack struct {
	Pairing PairingID       `json:"pairing"`
	Offer   OfferID         `json:"offer"`
	Serial  identity.Serial `json:"serial"`
	// Epoch counts the owners of the serial.
	Epoch uint64    `json:"epoch"`
	At    time.Time `json:"at"`
}

func (Ack) kind() kind { return kindAck }

func (a Ack) check() error {
	var c checks
	c.id("pairing", string(a.Pairing))
	c.id("offer", string(a.Offer))
	c.serial(a.Serial)
	if a.Epoch == 0 {
		c.fail("epoch", "is 0, they start with 1")
	}
	c.time("at", a.At)
	return c.err()
}

func (a Ack) encode() ([]byte, error) {
	a.At = a.At.UTC()
	return encode(a)
}
func (a *Ack) decode(payload []byte) error { return read(payload, a) }

// Tombstone tells the other side that a pairing is dissolved. Each side signs its own.
type Tombstone struct {
	Pairing PairingID       `json:"pairing"`
	Serial  identity.Serial `json:"serial"`
	Epoch   uint64          `json:"epoch"` // 0 where the side does not know it
	Reason  Reason          `json:"reason"`
	By      Side            `json:"by"`
	At      time.Time       `json:"at"`
}

func (Tombstone) kind() kind { return kindTombstone }

func (t Tombstone) check() error {
	var c checks
	c.id("pairing", string(t.Pairing))
	c.serial(t.Serial)
	if !t.Reason.Valid() {
		c.fail("reason", "is not one of the list")
	}
	if t.By != SideCCC && t.By != SidePBX {
		c.fail("by", "is not %s or %s", SideCCC, SidePBX)
	}
	c.time("at", t.At)
	return c.err()
}

func (t Tombstone) encode() ([]byte, error) {
	t.At = t.At.UTC()
	return encode(t)
}
func (t *Tombstone) decode(payload []byte) error { return read(payload, t) }
