package api

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Meta is what a client needs before anybody has signed in.
type Meta struct {
	Brand     Brand            `json:"brand" doc:"Whose name the pages bear; decided by the host name of the request"`
	Version   string           `json:"version" doc:"Of the server program"`
	Languages []string         `json:"languages" nullable:"false" doc:"That the pages exist in, the default first"`
	Passkeys  bool             `json:"passkeys" doc:"Whether passkeys work under this name of the server"`
	Providers []SignInProvider `json:"providers" nullable:"false" doc:"OpenID providers where people may sign in"`
	Mail      bool             `json:"mail" doc:"Whether there is mail, and with it links for new passwords"`
	Now       time.Time        `json:"now" doc:"The server's clock, to count down without trusting the browser's"`
}

// Brand is a name under which the control centre is offered.
type Brand struct {
	ID    string `json:"id" example:"auerswald"`
	Name  string `json:"name" example:"Auerswald"`
	Legal string `json:"legal" doc:"Who is responsible, for the foot of a page"`
}

// Me is the signed-in person.
type Me struct {
	User      User          `json:"user"`
	Tenant    Tenant        `json:"tenant" doc:"That the request is about"`
	Verbs     []access.Verb `json:"verbs" nullable:"false" doc:"What the person may do in all of the tenant"`
	SomeVerbs []access.Verb `json:"some_verbs" nullable:"false" doc:"What the person may do to a part of it at least, and not to all"`
	Proof     Proof         `json:"proof"`
}

// User is a person's account.
type User struct {
	ID       string         `json:"id"`
	Name     string         `json:"name"`
	Email    string         `json:"email"`
	Roles    []store.Role   `json:"roles" nullable:"false" enum:"owner,administrator,monitoring,backup,calldata,remote,licences,auditor" doc:"In the own tenant, or a part of it"`
	Language store.Language `json:"language" enum:"de,en,fr"`
}

// Tenant is who the systems belong to.
type Tenant struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	LegalName string     `json:"legal_name" doc:"What the administrator of a PBX sees before the token is typed"`
	Kind      store.Kind `json:"kind" enum:"operator,reseller,customer" doc:"operator: runs the control centre"`
}

// System is a PBX, or one that is to become one of the tenant's.
type System struct {
	ID         string      `json:"id"`
	Serial     string      `json:"serial" example:"0123456789"`
	Name       string      `json:"name"`
	Note       string      `json:"note"`
	State      store.State `json:"state" enum:"offered,received,proving,paired,left,expired,declined,error" doc:"offered: saved, the PBX has not seen it; received: the PBX shows the offer; proving: the PBX has completed, its user is being tried; paired; left: not paired any more; expired: nobody typed the token in time; declined: refused at the PBX; error: see error_code"`
	ErrorCode  string      `json:"error_code,omitempty" enum:"auth,taken,proof" doc:"Only in state error. auth: the PBX does not let its new user in; taken: the PBX is paired with another tenant; proof: too many wrong tokens"`
	StateSince time.Time   `json:"state_since"`
	Version    int64       `json:"version" doc:"Rises with every change of name, note, tags or groups; the ETag, for If-Match"`
	CreatedAt  time.Time   `json:"created_at"`
	PairedAt   *time.Time  `json:"paired_at,omitempty"`
	Epoch      string      `json:"epoch" doc:"Counts the owners that the PBX has had; 0 before the first"`
	Online     bool        `json:"online" doc:"Whether the PBX is connected. Always false where it is not paired with the tenant"`
	Unclear    bool        `json:"unclear,omitempty" doc:"true: whether it is online is not known at the moment, since nothing is heard of the relay that it was at"`
	// The rest of presence is there only while it is online.
	OnlineSince *time.Time `json:"online_since,omitempty"`
	Transport   string     `json:"transport,omitempty" enum:"quic,tcp"`
	RTT         *float64   `json:"rtt_ms,omitempty" doc:"Round trip between PBX and relay, in milliseconds"`
	LastSeenAt  *time.Time `json:"last_seen_at,omitempty" doc:"When it was last online, where it is not"`
	// The texts of enum are those of history.Reasons; a test compares.
	OfflineReason    string     `json:"offline_reason,omitempty" enum:"relay_drain,relay_lost,lost,network,power,restart,shutdown,certificate_expired,certificate_blocked,replaced,clone,idle_timeout,protocol,operator,unknown" doc:"Why it is offline; lost: network or power, which is settled when it is back"`
	OfflineSince     *time.Time `json:"offline_since,omitempty"`
	Quarantined      bool       `json:"quarantined,omitempty" doc:"true: two holders of its certificate were connected at once, and it is not used until one of them is gone"`
	Tags             []string   `json:"tags" nullable:"false"`
	Groups           []Group    `json:"groups" nullable:"false"`
	SiteID           string     `json:"site_id,omitempty" doc:"The site that it is at"`
	MaintenanceUntil *time.Time `json:"maintenance_until,omitempty" doc:"Until when its maintenance is paid; absent: it is not. The control centre may bring firmware only to systems where it is"`
	Replaces         string     `json:"replaces,omitempty" doc:"Id of the system whose place it takes once it is paired"`
}

// Group is a set of systems that people made.
type Group struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Tag is a word that systems bear.
type Tag struct {
	Name    string `json:"name"`
	Systems int    `json:"systems" doc:"How many bear it"`
}

// Offer is a token on its way to a PBX.
type Offer struct {
	ID         string     `json:"id"`
	Token      string     `json:"token" example:"7HQ2-M9KD-4TXW" doc:"What the administrator types at the PBX. Secret"`
	QR         string     `json:"qr" doc:"Text of a QR code with offer and token. Secret"`
	Code       string     `json:"code" example:"123 456" doc:"Shown by the PBX too; not secret: that both are the same says that the right PBX has it"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  time.Time  `json:"expires_at"`
	ReceivedAt *time.Time `json:"received_at,omitempty" doc:"When the PBX said that it has the offer"`
	State      string     `json:"state" enum:"open,received"`
	SheetAt    *time.Time `json:"sheet_at,omitempty" doc:"When a sheet with its token was made last"`
}

// SystemOffer is a system and the offer just made for it.
type SystemOffer struct {
	System System `json:"system"`
	Offer  Offer  `json:"offer"`
}

// SystemList is one page of systems.
type SystemList struct {
	Items []System `json:"items" nullable:"false"`
	Next  string   `json:"next,omitempty" doc:"Cursor of the next page; absent on the last one"`
	Total int      `json:"total" doc:"How many fit the filter, on all pages, when the first page was read"`
}

// Event is something that happened to a system. It holds no address, token or password.
type Event struct {
	ID     string            `json:"id"`
	At     time.Time         `json:"at"`
	Kind   string            `json:"kind" doc:"What happened, e.g. paired. Clients show kinds that they do not know by this word"`
	Actor  *Actor            `json:"actor,omitempty" doc:"Who did it; absent where the PBX or the control centre did"`
	Detail map[string]string `json:"detail" nullable:"false" doc:"By kind"`
}

// Actor is who did something.
type Actor struct {
	ID   string `json:"id"`
	Name string `json:"name" doc:"Empty where the account is gone"`
}

// EventList is one page of events, the newest first.
type EventList struct {
	Items []Event `json:"items" nullable:"false"`
	Next  string  `json:"next,omitempty" doc:"Cursor of the next page; absent on the last one"`
}

// GroupList is all groups.
type GroupList struct {
	Items []Group `json:"items" nullable:"false"`
}

// TagList is all tags.
type TagList struct {
	Items []Tag `json:"items" nullable:"false"`
}
