package pairing

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Actor is the user who asks, as the caller has authenticated him. Rights are the
// caller's business.
type Actor struct {
	Tenant store.TenantID
	User   store.UserID
}

// NewSystem is what a user saves.
type NewSystem struct {
	// Serial of the PBX, 10 digits; space and dashes are ignored.
	Serial string
	// Name, which may be empty where Replaces is set: the other's name then.
	Name   string
	Note   string
	Tags   []string
	Groups []store.GroupID
	// Site where it is; empty: none.
	Site store.SiteID
	// Replaces is a system of the tenant whose place this one takes: when this one is
	// paired, it gets the other's name, note, tags and groups, and the other's pairing
	// is dissolved.
	Replaces store.SystemID
}

// OfferView is an open offer as its maker sees it.
type OfferView struct {
	Offer store.OfferID
	// Token to be typed at the PBX, and QR, the text of a QR code with it. Both are
	// secret.
	Token token.Token
	QR    string
	// Code that the PBX shows, too: "123 456". Not secret.
	Code     string
	Created  time.Time
	Expires  time.Time
	Received *time.Time // nil: the PBX has not said that it has it
	Sheet    *time.Time // when a sheet with the token was made last; nil: never
	State    store.OfferState
}

// ChangeKind says what changed.
type ChangeKind string

// The kinds.
const (
	ChangeSystem  ChangeKind = "system"  // a system is new or different
	ChangeOffer   ChangeKind = "offer"   // an offer or a pairing has come further; the system has changed, too
	ChangeRemoved ChangeKind = "removed" // a system is gone
	ChangeRemote  ChangeKind = "remote"  // remote access to a system has ended with its pairing
)

// OfferStep says how far a pairing has come.
type OfferStep string

// The steps, as a user watches them.
const (
	StepSent      OfferStep = "sent"      // the offer is made, and goes to the PBX when that can be reached
	StepReceived  OfferStep = "received"  // the PBX has it
	StepDeclined  OfferStep = "declined"  // the PBX gave it back
	StepExpired   OfferStep = "expired"   // its time is over, or it was withdrawn
	StepCompleted OfferStep = "completed" // the token was typed
	StepProved    OfferStep = "proved"    // the PBX lets its new user in: paired
	StepFailed    OfferStep = "failed"    // see the system's error code
)

// Change tells the API that something is different now.
type Change struct {
	Tenant store.TenantID
	System store.SystemID
	Kind   ChangeKind
	Step   OfferStep // with ChangeOffer
	Detail string    // why an offer ended that the PBX gave back: a wire.Why; otherwise empty
}

// The kinds of events in a system's history, with their details in brackets. The list
// is append-only.
const (
	EventOffered   = "offered"   // a user made an offer
	EventReceived  = "received"  // the PBX has it
	EventWithdrawn = "withdrawn" // a user withdrew it
	EventExpired   = "expired"   // nobody typed the token in time
	EventDeclined  = "declined"  // the PBX gave it back [reason]
	EventVoid      = "void"      // too many wrong tokens, or the PBX was somebody else's [error]
	EventCompleted = "completed" // the token was typed at the PBX
	EventPaired    = "paired"    // the login was proved
	EventDissolved = "dissolved" // the pairing ended [reason, by]
	EventReplaced  = "replaced"  // another system took its place, or it took another's [by, of: system]
	EventChanged   = "changed"   // a user changed name, note, tags or groups
	EventRemoved   = "removed"   // a user removed the system
)

// The error codes of a system in store.StateError.
const (
	ErrorAuth  = "auth"  // the PBX does not let its new user in
	ErrorTaken = "taken" // the PBX is paired with another system
	ErrorProof = "proof" // the token was wrong too often
)
