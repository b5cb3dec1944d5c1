package api

import (
	"net/http"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
)

// The groups of operations in the document.
const (
	tagSession = "session"
	tagSystems = "systems"
	tagOffers  = "offers"
	tagLabels  = "labels"
	tagRemote  = "remote access"
	tagLive    = "live"
	tagAccess  = "tenants and access"

	tagStatistics = "statistics"
	tagWebhooks   = "webhooks"
	tagOnboarding = "onboarding"
)

// register is the table of operations.
func (a *API) register() {
	add(a, operation{
		id: "getMeta", method: http.MethodGet, path: "/meta", tag: tagSession, rule: public,
		summary: "Brand, version and languages",
	}, a.getMeta)

	add(a, operation{
		id: "signIn", method: http.MethodPost, path: "/session", tag: tagSession, rule: public,
		summary: "Sign in", description: "Sets the session's cookie.",
		codes: []Code{CodeBadCredentials, CodeLoginLimited},
	}, a.signIn)
	add(a, operation{
		id: "getSession", method: http.MethodGet, path: "/session", tag: tagSession, rule: member,
		summary: "Who is signed in",
	}, a.getSession)
	add(a, operation{
		id: "signOut", method: http.MethodDelete, path: "/session", tag: tagSession, rule: signedIn, status: http.StatusNoContent,
		summary: "Sign out",
	}, a.signOut)
	add(a, operation{
		id: "setLanguage", method: http.MethodPut, path: "/session/language", tag: tagSession, rule: signedIn, status: http.StatusNoContent,
		summary: "Choose the language of the pages",
	}, a.setLanguage)
	add(a, operation{
		id: "setPassword", method: http.MethodPut, path: "/session/password", tag: tagSession, rule: signedIn, status: http.StatusNoContent,
		summary: "Change the own password", description: "Ends all other sessions of the person.",
		codes: []Code{CodeWrongPassword, CodeLoginLimited},
	}, a.setPassword)

	add(a, operation{
		id: "listSystems", method: http.MethodGet, path: "/systems", tag: tagSystems, rule: inParts(access.SystemRead),
		summary: "Find systems",
	}, a.listSystems)
	add(a, operation{
		id: "createSystem", method: http.MethodPost, path: "/systems", tag: tagSystems, rule: inTenant(access.SystemPair), status: http.StatusCreated,
		summary:     "Save a serial and make an offer",
		description: "The answer is the same whether the serial is free, taken by another tenant, offline or unknown.",
		codes:       []Code{CodeSerialTaken, CodeQuotaOffers, CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.createSystem)
	add(a, operation{
		id: "getSystem", method: http.MethodGet, path: "/systems/{id}", tag: tagSystems, rule: atSystem(access.SystemRead),
		summary: "Get a system",
	}, a.getSystem)
	add(a, operation{
		id: "updateSystem", method: http.MethodPatch, path: "/systems/{id}", tag: tagSystems, rule: atSystem(access.SystemWrite),
		summary: "Change name, note, tags, groups or site", description: "What the body leaves out stays.",
		codes: []Code{CodeVersion, CodeVersionRequired},
	}, a.updateSystem)
	add(a, operation{
		id: "removeSystem", method: http.MethodDelete, path: "/systems/{id}", tag: tagSystems, rule: atSystem(access.SystemDelete), status: http.StatusNoContent,
		summary: "Remove a system", description: "Dissolves the pairing on both sides, and deletes all about it.",
	}, a.removeSystem)
	add(a, operation{
		id: "replaceSystem", method: http.MethodPost, path: "/systems/{id}/replacement", tag: tagSystems, rule: inTenant(access.SystemPair), status: http.StatusCreated,
		summary:     "Have another PBX take a system's place",
		description: "Makes a system and an offer. Once that is paired it has name, note, groups and tags of the old one, whose pairing is dissolved.",
		codes:       []Code{CodeSerialTaken, CodeState, CodeQuotaOffers, CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.replaceSystem)
	add(a, operation{
		id: "listSystemEvents", method: http.MethodGet, path: "/systems/{id}/events", tag: tagSystems, rule: atSystem(access.SystemRead),
		summary: "What happened to a system",
	}, a.listSystemEvents)

	add(a, operation{
		id: "getOffer", method: http.MethodGet, path: "/systems/{id}/offer", tag: tagOffers, rule: atSystem(access.SystemPair),
		summary: "See the open offer with its token", description: "Only for who made it.",
		codes: []Code{CodeNotCreator},
	}, a.getOffer)
	add(a, operation{
		id: "renewOffer", method: http.MethodPost, path: "/systems/{id}/offer", tag: tagOffers, rule: atSystem(access.SystemPair), status: http.StatusCreated,
		summary: "Make a new offer", description: "An open one is void.",
		codes: []Code{CodeState, CodeQuotaOffers, CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.renewOffer)
	add(a, operation{
		id: "withdrawOffer", method: http.MethodDelete, path: "/systems/{id}/offer", tag: tagOffers, rule: atSystem(access.SystemPair), status: http.StatusNoContent,
		summary: "Withdraw the open offer",
	}, a.withdrawOffer)

	add(a, operation{
		id: "listGroups", method: http.MethodGet, path: "/groups", tag: tagLabels, rule: inParts(access.TenantRead),
		summary: "All groups, by name",
	}, a.listGroups)
	add(a, operation{
		id: "createGroup", method: http.MethodPost, path: "/groups", tag: tagLabels, rule: inTenant(access.TenantWrite), status: http.StatusCreated,
		summary: "Make a group",
		codes:   []Code{CodeConflict, CodeIdempotencyBusy, CodeIdempotencyMismatch},
	}, a.createGroup)
	add(a, operation{
		id: "removeGroup", method: http.MethodDelete, path: "/groups/{id}", tag: tagLabels, rule: inTenant(access.TenantWrite), status: http.StatusNoContent,
		summary: "Remove a group", description: "The systems in it stay.",
	}, a.removeGroup)
	add(a, operation{
		id: "listTags", method: http.MethodGet, path: "/tags", tag: tagLabels, rule: inParts(access.TenantRead),
		summary: "All tags in use, by name",
	}, a.listTags)

	a.registerAccount()
	a.registerInvitations()
	a.registerResets()
	a.registerOIDC()
	a.registerRemote()
	a.registerTenants()
	a.registerPeople()
	a.registerGrants()
	a.registerBreakGlass()
	a.registerHandovers()
	a.registerHistory()
	a.registerPlaces()
	a.registerConfiguration()
	a.registerTemplates()
	a.registerRollouts()
	a.registerFirmware()
	a.registerMaintenance()
	a.registerStatistics()
	a.registerWebhooks()
	a.registerOnboarding()
	a.registerFilters()
	a.registerAudit()
	a.registerEvents()
}
