package store

import "github.com/google/uuid"

// Ids are UUIDs of version 7 (RFC 9562 §5.7): they sort by the time they were made.
// The store takes every id of 1 to 64 letters, digits, '-' and '_'; any other is that of
// nothing.
type (
	TenantID     string // TenantID names a tenant.
	UserID       string // UserID names a user.
	SystemID     string // SystemID names a system.
	OfferID      string // OfferID names an offer.
	PairingID    string // PairingID names a pairing.
	GroupID      string // GroupID names a group of systems.
	EventID      string // EventID names an event.
	RemoteID     string // RemoteID names a remote access, as a grant.SessionID does.
	SiteID       string // SiteID names a site.
	GrantID      string // GrantID names what one tenant grants another.
	BreakGlassID string // BreakGlassID names a break-glass access.
	HandoverID   string // HandoverID names a hand-over.

	TemplateID string // TemplateID names a template of settings.
	RolloutID  string // RolloutID names a rollout.
	FirmwareID string // FirmwareID names an image of firmware.

	FilterID string // FilterID names a saved filter.

	PasskeyID  string // PasskeyID names a passkey.
	APITokenID string // APITokenID names an API token.

	MailID         string // MailID names a mail.
	InvitationID   string // InvitationID names an invitation.
	ResetRequestID string // ResetRequestID names a request for a new password.
	HistoryID      string // HistoryID names an interval of a PBX's history.

	WebhookID  string // WebhookID names a webhook.
	DeliveryID string // DeliveryID names what a webhook is told.
)

type id interface {
	TenantID | UserID | SystemID | OfferID | PairingID | GroupID | EventID | RemoteID | SiteID | FilterID | GrantID | BreakGlassID | HandoverID | TemplateID | RolloutID | FirmwareID | PasskeyID | APITokenID | MailID | InvitationID | ResetRequestID | HistoryID | WebhookID | DeliveryID
}

// NewID makes an id: NewID[SystemID]().
func NewID[T id]() T { return T(uuid.Must(uuid.NewV7()).String()) }

// isID marks the ids for [Tx.args].
func (TenantID) isID()     {}
func (UserID) isID()       {}
func (SystemID) isID()     {}
func (OfferID) isID()      {}
func (PairingID) isID()    {}
func (GroupID) isID()      {}
func (EventID) isID()      {}
func (RemoteID) isID()     {}
func (SiteID) isID()       {}
func (GrantID) isID()      {}
func (BreakGlassID) isID() {}
func (HandoverID) isID()   {}

func (TemplateID) isID() {}
func (RolloutID) isID()  {}
func (FirmwareID) isID() {}

func (FilterID) isID() {}

func (PasskeyID) isID()  {}
func (APITokenID) isID() {}

func (MailID) isID()         {}
func (InvitationID) isID()   {}
func (ResetRequestID) isID() {}
func (HistoryID) isID()      {}

func (WebhookID) isID()  {}
func (DeliveryID) isID() {}

// wellFormed tells whether an id can be that of anything. What cannot is not put to
// the engines, which differ in what text they take.
func wellFormed(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// optional lets an id be empty.
func optional[T id](id T) any {
	if id == "" {
		return ""
	}
	return id
}
