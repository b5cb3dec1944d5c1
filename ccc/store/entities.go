package store

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Kind says what a tenant is to the operator.
type Kind string

// The kinds of tenants.
const (
	KindOperator Kind = "operator" // who runs the control centre
	KindReseller Kind = "reseller" // looks after customers
	KindCustomer Kind = "customer" // has systems
)

// Tenant is an organisation with users and systems of its own.
type Tenant struct {
	ID        TenantID
	Kind      Kind
	Parent    TenantID // empty: none
	Name      string
	LegalName string // as a PBX shows it before it is paired
	Brand     string
	Created   time.Time
}

// Language of a user: "de", "en" or "fr".
type Language string

// The languages.
const (
	German  Language = "de"
	English Language = "en"
	French  Language = "fr"
)

// User is a person who signs in.
type User struct {
	ID     UserID
	Tenant TenantID
	Email  string // normalised by the caller; unique over all tenants
	Name   string
	// Roles are all that he has, sorted, for the whole tenant or a part of it; see
	// [Tx.UserGrants] for which. A user is made with them for the whole tenant.
	Roles        []Role
	Language     Language
	PasswordHash string // in the PHC string format
	Created      time.Time
	Disabled     bool
}

// TokenHash is the SHA-256 of a session's token.
type TokenHash [32]byte

// Session is a user's session. Data is opaque to the store.
type Session struct {
	TokenHash TokenHash
	User      UserID
	Data      []byte
	Created   time.Time
	LastSeen  time.Time
	Expires   time.Time
}

// State of a system; ccc/pairing draws what leads from one to another.
type State string

// The states of a system.
const (
	StateOffered  State = "offered"  // an offer waits for the PBX
	StateReceived State = "received" // the PBX has the offer
	StateProving  State = "proving"  // paired; the login at the PBX has not been tried yet
	StatePaired   State = "paired"
	StateLeft     State = "left" // was paired
	StateExpired  State = "expired"
	StateDeclined State = "declined"
	StateError    State = "error" // ErrorCode says which
)

// System is a PBX that a tenant has added.
type System struct {
	ID         SystemID
	Tenant     TenantID
	Serial     identity.Serial // unique in the tenant
	Name       string
	Note       string
	State      State
	ErrorCode  string // "" without an error
	Version    int64  // counts the changes of name, note, tags and groups, from 1
	Created    time.Time
	CreatedBy  UserID
	StateSince time.Time
	Paired     *time.Time // nil: not paired
	Epoch      uint64     // of the ownership, see Tx.NextEpoch; 0: never paired
	LastSeen   *time.Time // nil: never seen
	Site       SiteID     // where it is; empty: at none
	Replaces   SystemID   // the system that this one takes the place of; empty: none
	// Maintenance is until when its maintenance is paid; nil: it is not. See Tx.SetMaintenance.
	Maintenance *time.Time
	Tags        []string // sorted, without duplicates
	Groups      []Group  // sorted by name; to create a system, their ids are enough
}

// Fields of a system that a user changes; nil leaves one as it is.
type Fields struct {
	Name   *string
	Note   *string
	Tags   *[]string
	Groups *[]GroupID
	Site   *SiteID // empty: none
}

// Group of systems.
type Group struct {
	ID      GroupID
	Tenant  TenantID
	Name    string // unique in the tenant
	Created time.Time
}

// TagCount is a tag and how many systems have it.
type TagCount struct {
	Tag     string
	Systems int
}

// OfferState says how far an offer is.
type OfferState string

// The states of an offer. All but the first two are final.
const (
	OfferOpen      OfferState = "open"     // waits for the PBX
	OfferReceived  OfferState = "received" // the PBX has it
	OfferUsed      OfferState = "used"     // led to a pairing
	OfferVoid      OfferState = "void"     // too many tries, or another took its place
	OfferExpired   OfferState = "expired"
	OfferDeclined  OfferState = "declined"  // by the PBX's administrator
	OfferWithdrawn OfferState = "withdrawn" // by the tenant
)

// open lists the states of an offer that can be completed.
const open = "('open', 'received')"

// Offer of a tenant to a PBX. TokenSealed and Nonce are empty in a closed one.
type Offer struct {
	ID          OfferID
	System      SystemID
	Tenant      TenantID
	Serial      identity.Serial
	CreatedBy   UserID
	Created     time.Time
	Expires     time.Time
	State       OfferState
	TokenSealed []byte
	Nonce       []byte
	Code        string // the short code that both sides show
	Received    *time.Time
	Closed      *time.Time
	Sheet       *time.Time // when a sheet with its token was made last; nil: never
	Tries       int        // wrong ones
}

// Pairing is alive as long as it is in the store.
type Pairing struct {
	ID             PairingID
	System         SystemID
	Tenant         TenantID
	Serial         identity.Serial // unique: a PBX has one pairing
	Epoch          uint64
	UserSealed     []byte
	PasswordSealed []byte
	Completion     [32]byte // hash of the message that completed it
	Offer          OfferID
	PBXVersion     uint64 // the PBX's counter at the completion
	Paired         time.Time
	Proved         *time.Time // nil: the login was not tried yet
}

// Paired says which system a PBX is paired as.
type Paired struct {
	Serial identity.Serial
	Tenant TenantID
	System SystemID
	Epoch  uint64 // of the ownership
}

// Tombstone is what remains of a pairing until the PBX knows that it has ended.
type Tombstone struct {
	Pairing PairingID
	Serial  identity.Serial
	Epoch   uint64
	Reason  string
	At      time.Time
}

// Event is a line of a tenant's history. It never holds an address, a token or a
// password.
type Event struct {
	ID     EventID // Tx.AddEvent makes one where it is empty
	Tenant TenantID
	System SystemID // empty: not of a system
	Epoch  uint64
	Kind   string
	Actor  UserID // empty: nobody who signed in
	Detail map[string]string
	At     time.Time
}

// Response of a request with an idempotency key.
type Response struct {
	Status int
	Body   []byte
}
