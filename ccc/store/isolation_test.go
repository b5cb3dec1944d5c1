package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// things are the ids of what a tenant has.
type things struct {
	user           store.UserID
	system, second store.SystemID // the first is paired
	group          store.GroupID
	offer          store.OfferID
	remote         store.RemoteID // to the first system
	access
}

// missing are ids of nothing.
func missing() things {
	return things{
		store.NewID[store.UserID](), store.NewID[store.SystemID](), store.NewID[store.SystemID](),
		store.NewID[store.GroupID](), store.NewID[store.OfferID](), store.NewID[store.RemoteID](), newAccess(),
	}
}

// access is what says who may do what.
type access struct {
	site     store.SiteID // the first system is there
	grant    store.GrantID
	glass    store.BreakGlassID
	handover store.HandoverID // of the second system

	invitation store.InvitationID
	filter     store.FilterID // which the user begins with

	template store.TemplateID
	rollout  store.RolloutID // of the first system

	webhook  store.WebhookID
	delivery store.DeliveryID
}

func newAccess() access {
	return access{store.NewID[store.SiteID](), store.NewID[store.GrantID](), store.NewID[store.BreakGlassID](), store.NewID[store.HandoverID](), store.NewID[store.InvitationID](), store.NewID[store.FilterID](), store.NewID[store.TemplateID](), store.NewID[store.RolloutID](), store.NewID[store.WebhookID](), store.NewID[store.DeliveryID]()}
}

// byTenant calls each method of Tx whose first argument is a tenant.
var byTenant = map[string]func(tx *store.Tx, tenant store.TenantID, of things) (any, error){
	"DeleteWebhook": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.DeleteWebhook(tenant, of.webhook)
	},
	"Deliveries": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		v, next, err := tx.Deliveries(tenant, of.webhook, "", store.Page{})
		return fmt.Sprint(v, next), err
	},
	"Delivery": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		v, tries, err := tx.Delivery(tenant, of.webhook, of.delivery)
		return fmt.Sprint(v, tries), err
	},
	"ReplayDelivery": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.ReplayDelivery(tenant, of.webhook, of.delivery, now)
	},
	"ReplayFailures": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.ReplayFailures(tenant, of.webhook, now, now)
	},
	"SetWebhook": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.SetWebhook(tenant, newWebhook(of.webhook, tenant, "user.created"))
	},
	"TestWebhook": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		_, err := tx.TestWebhook(tenant, of.webhook, now)
		return nil, err
	},
	"Webhook": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.Webhook(tenant, of.webhook)
	},
	"Webhooks": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.Webhooks(tenant) },
	"DeleteTemplate": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.DeleteTemplate(tenant, of.template)
	},
	"Template": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.Template(tenant, of.template)
	},
	"Templates": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.Templates(tenant) },
	"UpdateTemplate": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		v, err := tx.UpdateTemplate(tenant, store.Template{ID: of.template, Name: "Other", Settings: []byte("{}"), Changed: now})
		return v.Name == "Other", err
	},
	"Rollout": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		v, err := tx.Rollout(tenant, of.rollout, nil)
		return v.Name, err
	},
	"Rollouts": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) {
		v, next, err := tx.Rollouts(tenant, nil, store.Page{})
		return fmt.Sprint(v, next), err
	},
	"RolloutCounts": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.RolloutCounts(tenant, []store.RolloutID{of.rollout})
	},
	"RolloutDevices": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		v, next, err := tx.RolloutDevices(tenant, of.rollout, store.RolloutDeviceFilter{}, store.Page{})
		return fmt.Sprint(v, next), err
	},
	"RolloutDeviceOf": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		v, err := tx.RolloutDeviceOf(tenant, of.rollout, of.system)
		return v.Name, err
	},
	"RolloutDiffs": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.RolloutDiffs(tenant, of.rollout)
	},
	"SetMaintenance": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.SetMaintenance(tenant, of.system, &now)
	},
	"SetRollout": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.SetRollout(tenant, store.Rollout{ID: of.rollout, State: store.RolloutStopped}, store.RolloutChecking)
	},
	"AuditAfter": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.AuditAfter(tenant, 0, 10) },
	"AuditBefore": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) {
		return tx.AuditBefore(tenant, time.Now().Add(time.Hour))
	},
	"AuditChain": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) {
		c, err := tx.AuditChain(tenant)
		return c.Last.Seq, err
	},
	"AuditEntries": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) {
		v, next, err := tx.AuditEntries(tenant, store.AuditFilter{}, store.Page{})
		return fmt.Sprint(v, next), err
	},
	"AuditEntry": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.AuditEntry(tenant, 1) },
	"AuditHeads": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.AuditHeads(tenant) },
	"ThinAuditHeads": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) {
		return tx.ThinAuditHeads(tenant, now.Add(time.Hour))
	},
	"SweepAudit":       func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.SweepAudit(tenant, 1) },
	"CountInvitations": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.CountInvitations(tenant) },
	"DeleteInvitation": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.DeleteInvitation(tenant, of.invitation)
	},
	"Invitation": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.Invitation(tenant, of.invitation)
	},
	"FoundingInvitation": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.FoundingInvitation(tenant) },
	"Invitations":        func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.Invitations(tenant) },
	"RenewInvitation": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.RenewInvitation(tenant, of.invitation, store.TokenHash{7}, "", now.Add(time.Hour))
	},
	"Availability": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.Availability(tenant, of.system, now.Add(-time.Hour), now.Add(time.Hour))
	},
	"BreakGlasses": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) {
		v, next, err := tx.BreakGlasses(tenant, now, store.Page{})
		return fmt.Sprint(v, next), err
	},
	"CountOwners": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.CountOwners(tenant) },
	"DeleteSite": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.DeleteSite(tenant, of.site)
	},
	"FindUsers": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) {
		v, next, _, err := tx.FindUsers(tenant, "", store.Page{})
		return fmt.Sprint(v, next), err
	},
	"TenantsBelow": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) {
		v, next, _, err := tx.TenantsBelow(tenant, "", store.Page{})
		return fmt.Sprint(v, next), err
	},
	"CountTenants": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.CountTenants(tenant) },
	"CountUsers":   func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.CountUsers(tenant) },
	"ChangeFilter": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.ChangeFilter(tenant, of.filter, "Other", "{}")
	},
	"DefaultFilter": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.DefaultFilter(tenant, of.user)
	},
	"DeleteFilter": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.DeleteFilter(tenant, of.filter)
	},
	"Filter": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.Filter(tenant, of.user, of.filter)
	},
	"Filters": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) { return tx.Filters(tenant, of.user) },
	"SetDefaultFilter": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.SetDefaultFilter(tenant, of.user, of.filter)
	},
	"OpenOffersOf": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.OpenOffersOf(tenant, []store.SystemID{of.system, of.second})
	},
	"SetSheet": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.SetSheet(tenant, []store.OfferID{of.offer}, now)
	},
	"SystemsBySerial": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) {
		return tx.SystemsBySerial(tenant, []identity.Serial{serial})
	},
	"GroupsWithin": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.GroupsWithin(tenant, store.Within{Systems: []store.SystemID{of.system, of.second}})
	},
	"DeleteTenantGrant": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.DeleteTenantGrant(tenant, of.grant)
	},
	"EndBreakGlass": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.EndBreakGlass(tenant, of.glass, of.user, now)
	},
	"Handover": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.Handover(tenant, of.handover)
	},
	"Handovers": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) {
		v, next, err := tx.Handovers(tenant, now, store.Page{})
		return fmt.Sprint(v, next), err
	},
	"History": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		v, next, err := tx.History(tenant, of.system, store.HistoryFilter{From: now.Add(-time.Hour), To: now.Add(time.Hour)}, store.Page{})
		return fmt.Sprint(v, next), err
	},
	"PlaceSite": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.PlaceSite(tenant, of.site, "Ringstraße 1", nil)
	},
	"Reasons": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) {
		return tx.Reasons(tenant, nil, now.Add(-time.Hour))
	},
	"RenameSite": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.RenameSite(tenant, of.site, "Elsewhere")
	},
	"RenameTenant": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) {
		return nil, tx.RenameTenant(tenant, "Other", "Other GmbH")
	},
	"SetHandover": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.SetHandover(tenant, of.handover, store.HandoverOffered, store.HandoverWithdrawn, of.user, now)
	},
	"SetUserGrants": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.SetUserGrants(tenant, of.user, nil)
	},
	"Site":  func(tx *store.Tx, tenant store.TenantID, of things) (any, error) { return tx.Site(tenant, of.site) },
	"Sites": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.Sites(tenant) },
	"SystemSite": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.SystemSite(tenant, of.system)
	},
	"TenantGrants": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.TenantGrants(tenant) },
	"TenantGrantsTo": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) {
		return tx.TenantGrantsTo(tenant, now)
	},
	"UserGrants": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.UserGrants(tenant, of.user)
	},
	"CountSystems": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.CountSystems(tenant) },
	"CountRemotes": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		system, user, asked, err := tx.CountRemotes(tenant, of.system, of.user, now.Add(-time.Hour))
		return fmt.Sprint(system, user, asked), err
	},
	"DeleteGroup": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.DeleteGroup(tenant, of.group)
	},
	"DeleteSystem": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.DeleteSystem(tenant, of.second)
	},
	"DeleteUser": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.DeleteUser(tenant, of.user)
	},
	"Events": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		v, next, err := tx.Events(tenant, store.EventFilter{System: of.system}, store.Page{})
		return fmt.Sprint(v, next), err
	},
	"Groups": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.Groups(tenant) },
	"MoveMeta": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.MoveMeta(tenant, of.system, of.second)
	},
	"OpenOffer": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.OpenOffer(tenant, of.second)
	},
	"Remote": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.Remote(tenant, of.system, of.remote)
	},
	"Remotes": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		v, next, err := tx.Remotes(tenant, of.system, store.Page{})
		return fmt.Sprint(v, next), err
	},
	"TenantRemote": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.TenantRemote(tenant, of.remote)
	},
	"TenantRemotes": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		v, next, err := tx.TenantRemotes(tenant, store.RemoteFilter{System: of.system}, store.Page{})
		return fmt.Sprint(v, next), err
	},
	"SetLastSeen": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.SetLastSeen(tenant, of.system, now.Add(time.Hour))
	},
	"SetPaired": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.SetPaired(tenant, of.system, 7, now.Add(time.Hour))
	},
	"SetPassword": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.SetPassword(tenant, of.user, "another")
	},
	"SetState": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.SetState(tenant, of.system, []store.State{store.StateOffered}, store.StateLeft, "", now)
	},
	"SetUserDisabled": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.SetUserDisabled(tenant, of.user, true)
	},
	"SetUserLanguage": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return nil, tx.SetUserLanguage(tenant, of.user, store.French)
	},
	"System": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) { return tx.System(tenant, of.system) },
	"SystemsByID": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.SystemsByID(tenant, []store.SystemID{of.system, of.second})
	},
	"SystemBySerial": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) {
		return tx.SystemBySerial(tenant, serial)
	},
	"SystemPairing": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		return tx.SystemPairing(tenant, of.system)
	},
	"Systems": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		v, next, total, err := tx.Systems(tenant, store.Filter{Query: "pbx", Tags: []string{"vip"}, Group: of.group}, store.Page{})
		return fmt.Sprint(v, next, total), err
	},
	"Tags": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.Tags(tenant, nil) },
	"Tenant": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		v, err := tx.Tenant(tenant)
		v.ID = ""
		return v, err
	},
	"UpdateSystem": func(tx *store.Tx, tenant store.TenantID, of things) (any, error) {
		name := "taken over"
		return tx.UpdateSystem(tenant, of.system, 0, store.Fields{Name: &name})
	},
	"User":  func(tx *store.Tx, tenant store.TenantID, of things) (any, error) { return tx.User(tenant, of.user) },
	"Users": func(tx *store.Tx, tenant store.TenantID, _ things) (any, error) { return tx.Users(tenant) },
}

// forService are the methods that know no tenant, because who calls them is not one: the
// service itself for a PBX, or for a user who has not signed in yet.
var forService = []string{
	"AllWebhooks", "Announce", "ClaimDeliveries", "CreateWebhook", "DueWebhooks", "EndTry", "GiveUpDeliveries", "NextDelivery", "PairedWithWebhooks", "ResealWebhook", "SetWebhookHealth", "SweepDeliveries", "WebhookByID",
	"ClaimRollouts", "CreateFirmware", "CreateRollout", "CreateTemplate", "DeleteFirmware", "DueDevices", "Firmware", "Firmwares", "LeasedRollout", "NextRing",
	"ReleaseRollout", "ResealRolloutDevice", "RingCounts", "SaveRolloutDevice", "SealedElsewise", "SweepRollouts", "Uncheck", "UncheckedDevices", "WrittenDevices",
	"AddAuditHead", "AuditChains", "UnsignedAuditChains",
	"AbandonIdempotent", "CreateBreakGlass", "CreateHandover", "CreateSite", "CreateTenantGrant", "ExpireHandovers", "Rights", "RightsAway", "RightsQuery", "SomeTenants", "UserBreakGlasses", "UserByID", "UserNames", "ActivePairing", "ActivePairings", "AddAttempt", "AddEvent", "AddTombstone", "AddTry",
	"BeginIdempotent", "ClearAttempts", "CloseOffer", "CountAttempts", "CreateFilter", "CreateGroup", "CreateOffer",
	"CreatePairing", "CreateRemote", "CreateSystem", "CreateTenant", "CreateUser", "DeleteAttempt", "DeletePairing", "DeleteSession",
	"DeleteTombstone", "DeleteUserSessions", "DueOffers", "EndRemotes", "EndingRemotes", "Epoch", "Erased", "FinishIdempotent", "LoseGroup", "Nested", "NextEpoch", "Offer",
	"OpenOffers", "OpenRemotes", "Paired", "Pairing", "PendingTombstones", "Plan", "PutSession", "ResealPairing", "SerialRemote", "Session", "SetProved", "SetReceived", "SetRemote",
	"SweepAttempts", "SweepEvents", "SweepIdempotent", "SweepRemotes", "SweepSessions", "SweepTombstones", "SystemsByPairedSerial",
	"APITokenByHash", "APITokens", "CreateAPIToken", "CreatePasskey", "DeleteAPIToken", "DeleteAPITokens", "DeleteFactors", "DeleteIntervals", "DeletePasskey", "DeletePasskeys", "DeleteTOTP", "Factors", "Passkeys", "PutChallenge", "PutIntervals", "RecorderSeen", "SetRecorderSeen", "HistoryLengths", "SweepHistory", "TrimHistory", "PutTOTP", "ResealTOTP", "TOTPs",
	"RenamePasskey", "SetRecoveryCodes", "SweepAPITokens", "SweepChallenges", "TOTP", "TakeChallenge", "UseAPIToken", "UsePasskey", "UseRecoveryCode", "UseTOTP", "UserByCredential",
	"CountMails", "CreateInvitation", "CreateMail", "CreateOIDCLink", "CreateResetRequest", "DeletePasswordReset", "EndMail", "InvitationBySecret", "Mails", "OIDCLink", "OIDCLinks", "OpenIntervals",
	"PasswordReset", "PostponeMail", "PutPasswordReset", "QueuedMails", "ResealMail", "SweepInvitations", "SweepMails", "SweepPasswordResets", "TakeMail", "TakeResetRequest", "UseOIDCLink", "WithdrawMail", "DeleteOIDCLink", "DeleteOIDCLinks", "Figures", "FoundingInvitations", "NoteProvider",
	"Tenants", "Tombstones", "TouchSession", "UserByEmail", "UserSessions",
}

// A new method of Tx has to be in one of the two lists.
func TestEveryMethodIsListed(t *testing.T) {
	t.Parallel()
	for m := range reflect.TypeFor[*store.Tx]().Methods() {
		tenant := m.Type.NumIn() > 1 && m.Type.In(1) == reflect.TypeFor[store.TenantID]()
		if _, listed := byTenant[m.Name]; listed != tenant {
			t.Errorf("%s: takes a tenant first: %v, is called by the test of tenants: %v", m.Name, tenant, listed)
		}
		if listed := slices.Contains(forService, m.Name); listed == tenant {
			t.Errorf("%s: takes a tenant first: %v, is listed as for the service: %v", m.Name, tenant, listed)
		}
	}
}

// To one tenant, the things of another are as if they were not there: the same answer
// as for an id of nothing, and no change. To their owner they are there.
func TestTenantsSeeTheirOwn(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, cfg store.Config) {
		db := open(t, cfg)
		owner, own := populate(t, db, "owner@example.com")
		other := newTenant()
		update(t, db, func(tx *store.Tx) error { return tx.CreateTenant(other) })
		before := dump(t, cfg)
		for name, call := range byTenant {
			t.Run(name, func(t *testing.T) {
				if name == "Tenant" || name == "RenameTenant" { // the one thing that an id is enough for
					return
				}
				foreign, errForeign := do(t, db, true, call, other.ID, own)
				if got, err := do(t, db, true, call, other.ID, missing()); fmt.Sprint(got, err) != fmt.Sprint(foreign, errForeign) {
					t.Errorf("of another tenant: %v, %v\nof nothing: %v, %v", foreign, errForeign, got, err)
				}
				if errForeign != nil && errForeign != store.ErrNotFound { //nolint:errorlint // no other error may be in it
					t.Errorf("of another tenant: %v", errForeign)
				}
				got, err := do(t, db, false, call, owner, own)
				if err != nil {
					t.Errorf("one's own: %v", err)
				}
				if errForeign == nil && fmt.Sprint(got) == fmt.Sprint(foreign) {
					t.Errorf("one's own and that of another tenant are both %v", got)
				}
			})
		}
		if after := dump(t, cfg); !reflect.DeepEqual(after, before) {
			t.Errorf("another tenant has changed something:\n%v\n%v", before, after)
		}
	})
}

var errUndo = errors.New("undo")

// do calls a method in a transaction of its own, that is committed or undone.
func do(t *testing.T, db *store.DB, commit bool, call func(*store.Tx, store.TenantID, things) (any, error), tenant store.TenantID, of things) (got any, err error) {
	t.Helper()
	failed := db.Update(t.Context(), func(tx *store.Tx) error {
		got, err = call(tx, tenant, of)
		if !commit {
			return errUndo
		}
		return nil
	})
	if failed != nil && !errors.Is(failed, errUndo) {
		t.Errorf("the transaction: %v", failed)
	}
	return got, err
}

// populate makes a tenant that has one or two of everything.
func populate(t *testing.T, db *store.DB, email string) (store.TenantID, things) {
	t.Helper()
	tenant := newTenant()
	user := newUser(tenant.ID, email)
	group := store.Group{ID: store.NewID[store.GroupID](), Tenant: tenant.ID, Name: "North", Created: now}
	a, b := newSystem(tenant.ID, serial), newSystem(tenant.ID, "0000000002")
	a.Tags, a.Groups, a.Epoch = []string{"vip"}, []store.Group{group}, 1
	offer, remote := newOffer(b), newRemote(a, user)
	given := newAccess()
	a.Site = given.site
	other := newTenant()
	other.Parent = tenant.ID
	founding := newInvitation(given.invitation, tenant.ID, email)
	founding.Founding = true
	update(t, db, func(tx *store.Tx) error {
		return errors.Join(
			tx.CreateTenant(tenant), tx.CreateUser(user), tx.CreateGroup(group),
			tx.CreateSite(store.Site{ID: given.site, Tenant: tenant.ID, Name: "Hamburg", Created: now}), tx.CreateSystem(a), tx.CreateSystem(b),
			tx.CreateOffer(offer), tx.CreatePairing(newPairing(a)), tx.CreateRemote(remote),
			tx.AddEvent(store.Event{Tenant: tenant.ID, System: a.ID, Kind: "paired", Actor: user.ID, At: now}),
			tx.AddAuditHead(store.AuditHead{Tenant: tenant.ID, Seq: 1, Head: "signed", At: now}),
			tx.AddAuditHead(store.AuditHead{Tenant: tenant.ID, Seq: 2, Head: "signed", At: now}),
			tx.CreateTenantGrant(newTenantGrant(given.grant, tenant.ID, other.ID)),
			tx.CreateBreakGlass(newBreakGlass(given.glass, tenant.ID)),
			tx.CreateHandover(newHandover(given.handover, b, other.ID)),
			tx.CreateInvitation(founding),
			tx.CreateTenant(other), tx.CreateTenantGrant(newTenantGrant(store.NewID[store.GrantID](), other.ID, tenant.ID)),
			tx.CreateFilter(store.SavedFilter{ID: given.filter, Tenant: tenant.ID, User: user.ID, Name: "Mine", Filter: "{}", Created: now}),
			tx.SetDefaultFilter(tenant.ID, user.ID, given.filter),
			prove(tx, user), tx.PutIntervals(newHistory(a.Serial)), tx.SetRecorderSeen(now),
			tx.CreateTemplate(newTemplate(given.template, tenant.ID)), tx.CreateFirmware(newFirmware(email)), roll(tx, given.rollout, a),
			tx.AddTombstone(store.Tombstone{Pairing: store.NewID[store.PairingID](), Serial: "0000000004", Epoch: 1, Reason: "removed", At: now}),
			tx.AddAttempt("kind of "+email, "subject", now),
		)
	})
	given.delivery = tell(t, db, tenant.ID, given.webhook)
	return tenant.ID, things{user.ID, a.ID, b.ID, group.ID, offer.ID, remote.ID, given}
}

// prove gives a user one of everything that he proves himself with.
func prove(tx *store.Tx, user store.User) error {
	hash := store.TokenHash([]byte(user.ID)[:32])
	_, err1 := tx.NextEpoch("0000000004")
	_, err2 := tx.BeginIdempotent(user.ID, "key", []byte("request"), now)
	return errors.Join(
		err1, err2,
		tx.PutSession(store.Session{TokenHash: hash, User: user.ID, Data: []byte("{}"), Created: now, LastSeen: now, Expires: now.Add(time.Hour)}),
		tx.PutTOTP(store.TOTP{User: user.ID, Sealed: []byte("sealed"), Created: now}),
		tx.SetRecoveryCodes(user.ID, []store.TokenHash{hash}),
		tx.CreatePasskey(store.Passkey{ID: store.NewID[store.PasskeyID](), User: user.ID, Credential: []byte(user.ID), Data: []byte("{}"), Created: now}),
		tx.PutChallenge(hash, "kind", []byte("{}"), now.Add(time.Hour)),
		tx.CreateMail(newMail()), tx.CreateResetRequest(store.ResetRequest{ID: store.NewID[store.ResetRequestID](), Sealed: []byte("sealed"), Created: now}),
		tx.PutPasswordReset(user.ID, hash, now.Add(time.Hour)),
		tx.CreateOIDCLink(store.OIDCLink{Issuer: "https://id.example.net", Subject: string(user.ID), User: user.ID, Created: now}),
		tx.CreateAPIToken(store.APIToken{
			ID: store.NewID[store.APITokenID](), Tenant: user.Tenant, User: user.ID, For: user.Tenant, Hash: hash, Scopes: []string{"x"}, Created: now, Expires: now.Add(time.Hour),
		}),
	)
}

// The tests that compare all rows see none of a table that is empty.
func TestEveryTableHasRows(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, cfg store.Config) {
		populate(t, open(t, cfg), "jo@example.com")
		for table, rows := range dump(t, cfg) {
			if len(rows) == 0 {
				t.Errorf("populate makes nothing in %s", table)
			}
		}
	})
}

// What a tenant makes cannot hang on what is another's.
func TestNothingIsMadeForAnother(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, cfg store.Config) {
		db := open(t, cfg)
		owner, own := populate(t, db, "owner@example.com")
		other, mine := populate2(t, db)
		refused := func(name string, f func(tx *store.Tx) error) {
			t.Helper()
			before := dump(t, cfg)
			if err := db.Update(t.Context(), f); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
			if !reflect.DeepEqual(dump(t, cfg), before) {
				t.Errorf("%s has changed something", name)
			}
		}
		groups := []store.GroupID{own.group}
		refused("a system in another's group", func(tx *store.Tx) error {
			s := newSystem(other, "0000000009")
			s.Groups = []store.Group{{ID: own.group}}
			return tx.CreateSystem(s)
		})
		refused("a system moved to another's group", func(tx *store.Tx) error {
			_, err := tx.UpdateSystem(other, mine, 0, store.Fields{Groups: &groups})
			return err
		})
		refused("an offer for another's system", func(tx *store.Tx) error {
			return tx.CreateOffer(newOffer(store.System{ID: own.system, Tenant: other, Serial: serial}))
		})
		refused("a pairing of another's system", func(tx *store.Tx) error {
			return tx.CreatePairing(newPairing(store.System{ID: own.second, Tenant: other, Serial: "0000000002"}))
		})
		refused("remote access to another's system", func(tx *store.Tx) error {
			return tx.CreateRemote(newRemote(store.System{ID: own.system, Tenant: other, Serial: serial}, store.User{ID: own.user, Tenant: other}))
		})
		refused("another's remote access", func(tx *store.Tx) error {
			return tx.SetRemote(store.Remote{ID: own.remote, Tenant: other, State: grant.Pending})
		})
		refused("what another's system is called", func(tx *store.Tx) error { return tx.MoveMeta(other, own.system, mine) })
		refused("another's system called differently", func(tx *store.Tx) error { return tx.MoveMeta(other, mine, own.system) })
		for id := range strings.SplitSeq("|x y|x\x00|\xff|'; --|"+strings.Repeat("x", 65), "|") {
			if err := db.View(t.Context(), func(tx *store.Tx) error {
				_, err := tx.System(owner, store.SystemID(id))
				return err
			}); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("the id %q: %v", id, err)
			}
		}
		update(t, db, func(tx *store.Tx) error {
			_, err := tx.UpdateSystem(owner, own.second, 0, store.Fields{Groups: &groups})
			return err
		})
	})
}

func populate2(t *testing.T, db *store.DB) (store.TenantID, store.SystemID) {
	t.Helper()
	tenant := newTenant()
	s := newSystem(tenant.ID, "0000000003")
	update(t, db, func(tx *store.Tx) error { return errors.Join(tx.CreateTenant(tenant), tx.CreateSystem(s)) })
	return tenant.ID, s.ID
}

// raw opens the database without the package.
func raw(t testing.TB, cfg store.Config) *sql.DB {
	t.Helper()
	driver, name := "sqlite", "file:"+(&url.URL{Path: cfg.Path}).EscapedPath()
	if cfg.Engine == store.Postgres {
		text, err := os.ReadFile(string(cfg.URLFile))
		if err != nil {
			t.Fatal(err)
		}
		driver, name = "pgx", strings.TrimSpace(string(text))
	}
	pool, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close() })
	return pool
}

// tables gives the names of all, but that of the migrations.
func tables(t testing.TB, pool *sql.DB, engine store.Engine) (names []string) {
	t.Helper()
	query := "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
	if engine == store.Postgres {
		query = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'"
	}
	rows, err := pool.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		if name != "goose_db_version" {
			names = append(names, name)
		}
	}
	if err := rows.Err(); err != nil || len(names) == 0 {
		t.Fatalf("the tables %q, %v", names, err)
	}
	return names
}

// dump gives all rows of all tables, sorted. A table without rows is there too.
func dump(t testing.TB, cfg store.Config) map[string][]string {
	t.Helper()
	pool := raw(t, cfg)
	defer pool.Close()
	all := map[string][]string{}
	for _, table := range tables(t, pool, cfg.Engine) {
		all[table] = []string{}
		rows, err := pool.QueryContext(t.Context(), "SELECT * FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values := make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				t.Fatal(err)
			}
			all[table] = append(all[table], fmt.Sprintf("%q", values))
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		slices.Sort(all[table])
	}
	return all
}
