package wire

import (
	"crypto/sha256"
)

// OfferID names an offer. The CCC makes it.
type OfferID string

// PairingID names a pairing. The CCC makes it; it dies with the pairing.
type PairingID string

// Reason says why a pairing was dissolved.
type Reason string

// The reasons. The list is append-only.
const (
	ReasonSwitchedOff    Reason = "switched-off"    // CCC was switched off in the PBX
	ReasonRemoved        Reason = "removed"         // the system was removed in the CCC
	ReasonFactoryReset   Reason = "factory-reset"   // of the PBX
	ReasonRevoked        Reason = "revoked"         // the PBX's identity is blocked
	ReasonReplaced       Reason = "replaced"        // another PBX took its place
	ReasonUnknownPairing Reason = "unknown-pairing" // the CCC does not have the pairing
	ReasonProofFailed    Reason = "proof-failed"    // the CCC could not sign in at the PBX
	ReasonLost           Reason = "lost"            // the PBX does not have the pairing
	ReasonExpiredContact Reason = "expired-contact" // the PBX heard nothing for too long
)

// Valid reports whether the reason is one of the list.
func (r Reason) Valid() bool {
	switch r {
	case ReasonSwitchedOff, ReasonRemoved, ReasonFactoryReset, ReasonRevoked, ReasonReplaced,
		ReasonUnknownPairing, ReasonProofFailed, ReasonLost, ReasonExpiredContact:
		return true
	}
	return false
}

// Side is one of the two sides of a pairing.
type Side string

// The sides.
const (
	SideCCC Side = "ccc"
	SidePBX Side = "pbx"
)

// Complete tells the CCC that the token was typed, and whom the PBX has made for it.
// It is never signed, stored or logged; the TLS that it comes in says who sends it.
type Complete struct {
	Offer OfferID `json:"offer"`
	// NoncePBX of [NonceLen] bytes is new for each typed token, and the same when the
	// message is sent again.
	NoncePBX []byte `json:"nonce_pbx"`
	Proof    []byte `json:"proof"` // see Prove
	User     Secret `json:"user"`
	Password Secret `json:"password"`
	// Version is the PBX's counter of changes to its pairing; see Sync.
	Version int64 `json:"version"`
}

// completeJSON shows the secrets.
type completeJSON struct {
	Offer    OfferID `json:"offer"`
	NoncePBX []byte  `json:"nonce_pbx"`
	Proof    []byte  `json:"proof"`
	User     string  `json:"user"`
	Password string  `json:"password"`
	Version  int64   `json:"version"`
}

func (c Complete) check() error {
	var bad checks
	bad.id("offer", string(c.Offer))
	bad.length("nonce_pbx", c.NoncePBX, NonceLen)
	bad.length("proof", c.Proof, sha256.Size)
	bad.secret("user", c.User)
	bad.secret("password", c.Password)
	bad.version("version", c.Version)
	return bad.err()
}

// reveal is what is sent.
func (c Complete) reveal() completeJSON {
	return completeJSON{
		Offer: c.Offer, NoncePBX: c.NoncePBX, Proof: c.Proof,
		User: c.User.Reveal(), Password: c.Password.Reveal(), Version: c.Version,
	}
}

// Why says why a PBX gives an offer back.
type Why string

// What an offer is given back for. The list is append-only.
const (
	WhyRejected Why = "rejected" // the administrator does not want it
	WhyReported Why = "reported" // … and says that it is abuse
	WhyTries    Why = "tries"    // the token was typed wrong too often
	WhyExpired  Why = "expired"  // its time is over at the PBX
)

// Declined gives an offer back.
type Declined struct {
	Offer  OfferID `json:"offer"`
	Reason Why     `json:"reason"`
}

func (d Declined) check() error {
	var c checks
	c.id("offer", string(d.Offer))
	switch d.Reason {
	case WhyRejected, WhyReported, WhyTries, WhyExpired:
	default:
		c.fail("reason", "is not one of the list")
	}
	return c.err()
}

// Sync is what a PBX tells of itself when it connects and after each change.
type Sync struct {
	// Pairing that the PBX has, with its epoch; empty and 0 where it has none.
	Pairing PairingID `json:"pairing"`
	Epoch   uint64    `json:"epoch"`
	// Version counts the changes to the PBX's pairing: the greater of one more than
	// before and the Unix time in milliseconds, kept over restarts. An older one is a
	// message that was late.
	Version int64 `json:"version"`
	// Offers that the PBX holds, at most [MaxOffers].
	Offers []OfferID `json:"offers,omitempty"`
	// Tombstones that the CCC has not confirmed yet, signed; at most
	// [MaxTombstones], the others come with the next Sync.
	Tombstones []string `json:"tombstones,omitempty"`
}

func (s Sync) check() error {
	var c checks
	if s.Pairing != "" {
		c.id("pairing", string(s.Pairing))
	}
	c.version("version", s.Version)
	if len(s.Offers) > MaxOffers {
		c.fail("offers", "are %d, at most %d are allowed", len(s.Offers), MaxOffers)
	}
	for _, o := range s.Offers[:min(len(s.Offers), MaxOffers)] {
		c.id("offers", string(o))
	}
	if len(s.Tombstones) > MaxTombstones {
		c.fail("tombstones", "are %d, at most %d are allowed", len(s.Tombstones), MaxTombstones)
	}
	return c.err()
}

// SyncReply is the answer to a [Sync].
type SyncReply struct {
	// Known: the PBX's pairing, or that it has none, is what the CCC has.
	Known bool `json:"known"`
	// Tombstone is signed by the CCC: dissolve the pairing that the Sync named.
	Tombstone string `json:"tombstone,omitempty"`
	// Acks name the tombstones of the Sync that need not come again.
	Acks []TombstoneAck `json:"acks,omitempty"`
	// OffersVoid names the offers of the Sync that the PBX has to forget.
	OffersVoid []OfferID `json:"offers_void,omitempty"`
	// NextSync is when the PBX shall come again, in seconds, where nothing changes.
	NextSync int64 `json:"next_sync_seconds"`
}

// TombstoneAck confirms the tombstone of a pairing.
type TombstoneAck struct {
	Pairing PairingID `json:"pairing"`
}

func (s SyncReply) check() error {
	var c checks
	if s.NextSync < 0 {
		c.fail("next_sync_seconds", "is below 0")
	}
	return c.err()
}

// OfferBody carries a signed [Offer].
type OfferBody struct {
	Offer string `json:"offer"`
}

// ReceivedBody carries a signed [Received].
type ReceivedBody struct {
	Received string `json:"received"`
}

// Withdraw tells a PBX to forget an offer. A PBX that does not have it answers the
// same.
type Withdraw struct {
	Offer OfferID `json:"offer"`
}

// TombstoneBody carries a signed [Tombstone].
type TombstoneBody struct {
	Tombstone string `json:"tombstone"`
}

// AckBody carries a signed [Ack].
type AckBody struct {
	Ack string `json:"ack"`
}

func (b OfferBody) check() error     { return statementField("offer", b.Offer) }
func (b ReceivedBody) check() error  { return statementField("received", b.Received) }
func (b TombstoneBody) check() error { return statementField("tombstone", b.Tombstone) }
func (b AckBody) check() error       { return statementField("ack", b.Ack) }

func (w Withdraw) check() error {
	var c checks
	c.id("offer", string(w.Offer))
	return c.err()
}

// statementField looks at the size only; who verifies looks at the rest.
func statementField(field, jws string) error {
	var c checks
	if jws == "" || len(jws) > MaxStatement {
		c.fail(field, "is not a signed statement of 1 to %d bytes", MaxStatement)
	}
	return c.err()
}
