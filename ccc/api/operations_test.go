package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// operationDoc is an operation as the document has it.
type operationDoc struct {
	method, path string
	OperationID  string `json:"operationId"`
	Security     []any  `json:"security"`
	Access       struct {
		Of   string `json:"of"`
		Verb string `json:"verb"`
	} `json:"x-access"`
	RequestBody *struct {
		Required bool `json:"required"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Description string `json:"description"`
	} `json:"responses"`
}

// documented gives the operations of the committed document, by id.
func documented(t *testing.T) map[string]operationDoc {
	t.Helper()
	text, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]operationDoc
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Fatalf("OpenAPI %s, want 3.1", doc.OpenAPI)
	}
	all := map[string]operationDoc{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			op.method, op.path = strings.ToUpper(method), path
			if all[op.OperationID].path != "" {
				t.Errorf("there are two operations %s", op.OperationID)
			}
			all[op.OperationID] = op
		}
	}
	return all
}

// example is a request that an operation takes.
type example struct {
	id     func(scene) string // what {id} stands for; nil: the path has none
	body   string
	header string
	status int
}

// scene is what examples are about: an offered and a paired system, and a group; a site, a
// colleague, a grant, one of the operator's staff who is in, and a system that another
// tenant offers.
type scene struct{ webhook, template, rollout, offered, paired, group, site, colleague, grant, glass, handover, filter, invitation string }

func webhook1(s scene) string    { return s.webhook }
func offered(s scene) string     { return s.offered }
func paired1(s scene) string     { return s.paired }
func group1(s scene) string      { return s.group }
func site1(s scene) string       { return s.site }
func colleague(s scene) string   { return s.colleague }
func grant1(s scene) string      { return s.grant }
func glass1(s scene) string      { return s.glass }
func handover1(s scene) string   { return s.handover }
func invitation1(s scene) string { return s.invitation }
func template1(s scene) string   { return s.template }
func rollout1(s scene) string    { return s.rollout }
func filter1(s scene) string     { return s.filter }

// noFirmware: an image is no tenant's.
func noFirmware(scene) string { return "none" }

// examples has one for each operation.
var examples = map[string]example{
	"getMeta":     {status: 200},
	"signIn":      {body: `{"email":"nobody@example.com","password":"` + testPassword + `"}`, status: 401},
	"getSession":  {status: 200},
	"signOut":     {status: 204},
	"setLanguage": {body: `{"language":"fr"}`, status: 204},
	"setPassword": {body: `{"current":"` + testPassword + `","new":"another long password"}`, status: 204},
	// Of second factors, passkeys and tokens; see factors_test.go for what they do.
	"prove":              {body: `{"totp":"123456"}`, status: 409},
	"getFactors":         {status: 200},
	"beginTOTP":          {status: 200},
	"confirmTOTP":        {body: `{"code":"123456"}`, status: 409},
	"removeTOTP":         {status: 204},
	"newRecoveryCodes":   {status: 409},
	"beginPasskeySignIn": {status: 409},
	"signInByPasskey":    {body: `{"credential":{}}`, status: 409},
	"listPasskeys":       {status: 200},
	"beginPasskey":       {status: 409},
	"addPasskey":         {body: `{"name":"Key","credential":{}}`, status: 409},
	"renamePasskey":      {body: `{"name":"Key"}`, status: 404},
	"removePasskey":      {status: 404},
	"listSessions":       {status: 200},
	"endSession":         {status: 404},
	"endOtherSessions":   {status: 204},
	"listTokens":         {status: 200},
	"createToken":        {body: `{"name":"Backup","verbs":["system.read"],"days":30}`, status: 200},
	"revokeToken":        {status: 404},

	// Without mail, and without providers; see invitations_test.go and oidc_test.go.
	"listInvitations":    {status: 200},
	"createInvitation":   {body: `{"email":"invited@example.com","name":"Invited","language":"de","roles":[{"role":"monitoring"}]}`, status: 201},
	"resendInvitation":   {id: invitation1, status: 200},
	"withdrawInvitation": {id: invitation1, status: 204},
	// Of a tenant below, which a customer has none of.
	"resendOwnerInvitation": {id: invitation1, status: 404},
	// Without providers; see oidclinks_test.go.
	"listProviderLinks":    {status: 200},
	"beginProviderLink":    {body: `{"provider":"x"}`, status: 404},
	"addProviderLink":      {body: `{"flow_state":"x"}`, status: 401},
	"removeProviderLink":   {status: 404},
	"createInvitedTenant":  {body: `{"kind":"customer","name":"West","owner":{"email":"west@example.com","name":"West","language":"de"}}`, status: 422}, // by a customer
	"showInvitation":       {body: `{"secret":"x"}`, status: 410},
	"acceptInvitation":     {body: `{"secret":"x","name":"Jo","language":"de","password":"` + testPassword + `"}`, status: 410},
	"requestPasswordReset": {body: `{"email":"nobody@example.com"}`, status: 202},
	"resetPassword":        {body: `{"secret":"x","password":"` + testPassword + `"}`, status: 410},
	"beginOIDCSignIn":      {body: `{"provider":"x"}`, status: 404},
	"signInByOIDC":         {body: `{"flow_state":"x"}`, status: 401},

	"listSystems":      {status: 200},
	"createSystem":     {body: `{"serial":"0000000009","name":"Nine"}`, status: 201},
	"getSystem":        {id: offered, status: 200},
	"updateSystem":     {id: offered, body: `{"name":"Other"}`, header: `If-Match: "1"`, status: 200},
	"removeSystem":     {id: offered, status: 204},
	"replaceSystem":    {id: paired1, body: `{"serial":"0000000008"}`, status: 201},
	"listSystemEvents": {id: offered, status: 200},
	"getOffer":         {id: offered, status: 200},
	"renewOffer":       {id: offered, status: 201},
	"withdrawOffer":    {id: offered, status: 204},
	"listGroups":       {status: 200},
	"createGroup":      {body: `{"name":"Second"}`, status: 201},
	"removeGroup":      {id: group1, status: 204},
	"listTags":         {status: 200},
	"streamEvents":     {status: 200},
	"listRemote":       {id: paired1, status: 200},
	"askRemote":        {id: paired1, body: `{"reason":"a phone is silent","service":"web"}`, status: 201},
	"getRemote":        {id: paired1, status: 200},
	"grantRemote":      {id: paired1, body: atGateway, status: 200},
	"endRemote":        {id: paired1, status: 204},

	"listRemoteRecords": {status: 200},
	"getRemoteRecord":   {status: 404}, // of nobody; see TestRemoteRecords

	"listTenants":       {status: 200},
	"createTenant":      {body: `{"kind":"customer","name":"West","owner":` + newPerson + `}`, status: 422}, // by a customer; see TestTenants
	"getTenant":         {status: 200},
	"listBelow":         {status: 200},
	"listAbove":         {status: 200},
	"listRoles":         {status: 200},
	"updateTenant":      {body: `{"name":"North and more"}`, status: 200},
	"listSites":         {status: 200},
	"createSite":        {body: `{"name":"Hamburg"}`, status: 201},
	"renameSite":        {id: site1, body: `{"name":"Bremen"}`, status: 200},
	"removeSite":        {id: site1, status: 204},
	"listUsers":         {status: 200},
	"createUser":        {body: `{"roles":[],` + newPerson[1:], status: 201},
	"setUserRoles":      {id: colleague, body: `{"roles":[{"role":"remote"}]}`, status: 200},
	"setUserDisabled":   {id: colleague, body: `{"disabled":true}`, status: 204},
	"listTenantGrants":  {status: 200},
	"createTenantGrant": {body: `{"tenant_id":"someone","roles":["monitoring"]}`, status: 201},
	"removeTenantGrant": {id: grant1, status: 204},
	"listBreakGlass":    {status: 200},
	"beginBreakGlass":   {body: `{"tenant_id":"someone","reason":"ticket 17","minutes":60}`, status: 403}, // by a customer; see TestBreakGlass
	"endBreakGlass":     {id: glass1, status: 204},
	"offerHandover":     {id: offered, body: `{"tenant_id":"someone"}`, status: 201},
	"listHandovers":     {status: 200},
	"acceptHandover":    {id: handover1, status: 201},
	"endHandover":       {id: handover1, status: 204},

	"getSystemHistory":  {id: paired1, status: 200},
	"getHistorySummary": {status: 200},
	"placeSite":         {id: site1, body: `{"address":"Rathausmarkt 1","latitude":53.55,"longitude":9.99}`, status: 200},

	"importSystems":    {body: "serial,name\n0000000009,Nine\n", header: "Content-Type: text/csv", status: 200},
	"makeSheet":        {body: `{"system_ids":["x"]}`, status: 200},
	"makeSheetPDF":     {body: `{"system_ids":["x"]}`, status: 422}, // of nothing; see TestSheet
	"listFilters":      {status: 200},
	"createFilter":     {body: `{"name":"Second","filter":{"q":"x"}}`, status: 201},
	"updateFilter":     {id: filter1, body: `{"name":"Other","filter":{}}`, status: 200},
	"removeFilter":     {id: filter1, status: 204},
	"setDefaultFilter": {body: `{"filter_id":""}`, status: 204},

	"getConfiguration":    {id: paired1, status: 409}, // it is offline; see TestConfiguration
	"changeConfiguration": {id: paired1, body: `{"settings":{"ntp_server":"x"}}`, header: `If-Match: "1"`, status: 409},
	"restartSystem":       {id: paired1, status: 409},
	"listTemplates":       {status: 200},
	"createTemplate":      {body: `{"name":"Second","settings":{"ntp_server":"b"}}`, status: 201},
	"getTemplate":         {id: template1, status: 200},
	"updateTemplate":      {id: template1, body: `{"name":"Other","settings":{"ntp_server":"b"}}`, header: `If-Match: "1"`, status: 200},
	"removeTemplate":      {id: template1, status: 204},
	"listRollouts":        {status: 200},
	"createRollout":       {body: `{"name":"All","kind":"restart","system_ids":["x"]}`, status: 422}, // see TestRollout
	"getRollout":          {id: rollout1, status: 200},
	"listRolloutDevices":  {id: rollout1, status: 200},
	"listRolloutDiffs":    {id: rollout1, status: 200},
	"listFirmware":        {status: 200},
	"uploadFirmware":      {body: "x", header: "Content-Type: application/octet-stream", status: 403}, // by a customer; see TestFirmware
	"getFirmware":         {id: noFirmware, status: 404},
	"removeFirmware":      {id: noFirmware, status: 404},
	"setMaintenance":      {id: offered, body: `{"until":"2027-01-01T00:00:00Z"}`, status: 200},
	"controlRollout":      {id: rollout1, body: `{"action":"stop"}`, status: 200},

	"listAudit":       {status: 200},
	"exportAudit":     {status: 200},
	"getAuditHead":    {status: 200},
	"getAuditAddress": {status: 200},

	"listWebhooks":          {status: 200},
	"createWebhook":         {body: newHook, status: 201},
	"getWebhook":            {id: webhook1, status: 200},
	"updateWebhook":         {id: webhook1, body: `{"enabled":false}`, status: 200},
	"removeWebhook":         {id: webhook1, status: 204},
	"rotateWebhookSecret":   {id: webhook1, status: 201},
	"testWebhook":           {id: webhook1, status: 201},
	"listWebhookDeliveries": {id: webhook1, status: 200},
	"getWebhookDelivery":    {id: webhook1, status: 404}, // see TestWebhooks
	"replayWebhookDelivery": {id: webhook1, status: 404},
	"replayWebhookFailures": {id: webhook1, body: `{"since":"2026-11-26T00:00:00Z"}`, status: 200},

	"getAccessStatistics": {status: 403}, // who does not run the control centre; see TestAccessStatistics
}

// newPerson is somebody who gets an account.
const newPerson = `{"email":"new@example.com","name":"New","language":"de","password":"` + testPassword + `"}`

// atGateway is a browser that began at the gateway.
const atGateway = `{"label":"abcdefghijklmnopqrstuvwx23","browser":"AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`

// scene makes what examples are about, for the client's tenant.
func (c *client) scene() scene { return c.sceneOf("000000000") }

// sceneOf is for a second tenant, with serials that begin in another way.
func (c *client) sceneOf(serials string) scene {
	c.w.t.Helper()
	s := scene{offered: c.save(serials+"1", "One").System.ID, paired: c.save(serials+"2", "Two").System.ID}
	c.w.pair(c.user.Tenant, s.paired)
	s.group = read[Group](c.do(http.MethodPost, "/groups", `{"name":"First"}`).want(http.StatusCreated)).ID
	c.w.session = c.ask(s.paired).ID
	s.site = read[Site](c.do(http.MethodPost, "/sites", `{"name":"Berlin"}`).want(http.StatusCreated)).ID
	s.filter = read[Filter](c.do(http.MethodPost, "/filters", `{"name":"First","filter":{}}`).want(http.StatusCreated)).ID
	s.colleague = string(c.w.user(c.user.Tenant, strings.ToLower(s.site)+"@example.com", store.RoleMonitoring).ID)
	s.grant = string(c.w.grant(c.user.Tenant, "nobody", nil, store.RoleMonitoring))
	s.webhook = read[MadeWebhook](c.do(http.MethodPost, "/webhooks", newHook).want(http.StatusCreated)).Webhook.ID
	s.glass = string(c.w.breakGlass(c.user.Tenant, store.NewID[store.TenantID](), store.NewID[store.UserID](), time.Hour))
	s.template = read[Template](c.do(http.MethodPost, "/templates", `{"name":"Time","settings":{"ntp_server":"a"}}`).want(http.StatusCreated)).ID
	s.rollout = read[Rollout](c.do(http.MethodPost, "/rollouts", `{"name":"Time","kind":"settings","template_id":"`+s.template+`","system_ids":["`+s.paired+`"]}`).want(http.StatusCreated)).ID
	giver := c.w.tenant("Giver AG")
	owner := c.w.user(giver, "giver-"+strings.ToLower(s.site)+"@example.com", store.RoleOwner)
	s.invitation = read[Invitation](c.do(http.MethodPost, "/invitations", `{"email":"invited-`+strings.ToLower(s.site)+`@example.com","name":"Invited","language":"de","roles":[]}`).want(http.StatusCreated)).ID
	s.handover = string(c.w.handover(owner, c.user.Tenant, "0000000042"))
	return s
}

// grant has a tenant let in another.
func (w *world) grant(tenant, to store.TenantID, until *time.Time, roles ...store.Role) store.GrantID {
	g := store.TenantGrant{ID: store.NewID[store.GrantID](), Tenant: tenant, Grantee: to, Roles: roles, Until: until, Created: time.Now()}
	w.update(func(tx *store.Tx) error { return tx.CreateTenantGrant(g) })
	return g.ID
}

// breakGlass has one of the operator's staff be in a tenant.
func (w *world) breakGlass(tenant, home store.TenantID, user store.UserID, life time.Duration) store.BreakGlassID {
	g := store.BreakGlass{
		ID: store.NewID[store.BreakGlassID](), Tenant: tenant, Home: home, User: user, Name: "Op", Reason: "ticket 17",
		Created: time.Now(), Expires: time.Now().Add(life),
	}
	w.update(func(tx *store.Tx) error { return tx.CreateBreakGlass(g) })
	return g.ID
}

// handover has an owner offer a system to a tenant.
func (w *world) handover(owner store.User, to store.TenantID, serial identity.Serial) store.HandoverID {
	s := store.System{
		ID: store.NewID[store.SystemID](), Tenant: owner.Tenant, Serial: serial, Name: "Of the giver", State: store.StateLeft,
		Created: time.Now(), StateSince: time.Now(),
	}
	h := store.Handover{
		ID: store.NewID[store.HandoverID](), From: owner.Tenant, To: to, System: s.ID, By: owner.ID, Created: time.Now(), Expires: time.Now().Add(handoverLife),
	}
	w.update(func(tx *store.Tx) error { return errors.Join(tx.CreateSystem(s), tx.CreateHandover(h)) })
	return h.ID
}

// call sends the example of an operation.
func (c *client) call(op operationDoc, e example, id string, headers ...string) answer {
	c.w.t.Helper()
	if e.header != "" {
		headers = append(headers, e.header)
	}
	return c.do(op.method, c.path(op, id), e.body, headers...)
}

// path fills the path of an operation.
func (c *client) path(op operationDoc, id string) string {
	return strings.NewReplacer("{id}", id, "{session}", cmp.Or(c.w.session, "x"), "{tenant}", string(c.user.Tenant), "{seq}", "1").Replace(op.path)
}

func TestEveryOperationHasAnExample(t *testing.T) {
	t.Parallel()
	ops := documented(t)
	if got, want := slices.Sorted(maps.Keys(examples)), slices.Sorted(maps.Keys(ops)); !slices.Equal(got, want) {
		t.Errorf("examples of\n%v, operations are\n%v", got, want)
	}
	for id, op := range ops {
		if (examples[id].id != nil) != strings.Contains(op.path, "{id}") {
			t.Errorf("%s: the path is %s, and the example says otherwise", id, op.path)
		}
	}
}

// TestEveryOperation runs each example as the owner, to whom all is permitted.
func TestEveryOperation(t *testing.T) {
	t.Parallel()
	for id, op := range documented(t) {
		if id == "streamEvents" { // it does not end; see TestStream
			continue
		}
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).serve()
			c := w.signedIn(w.north, store.RoleOwner)
			e := examples[id]
			target := ""
			if e.id != nil {
				target = e.id(c.scene())
			}
			a := c.call(op, e, target).want(e.status)
			if h := a.header; h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" ||
				h.Get("Content-Security-Policy") != "default-src 'none'; frame-ancestors 'none'" || h.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("headers %v", h)
			}
			if _, told := op.Responses[strconv.Itoa(e.status)]; !told {
				t.Errorf("status %d is not documented", e.status)
			}
		})
	}
}

// TestForeignIsMissing asks each operation with an id for what is another tenant's and
// for what does not exist, and wants the same answer, byte for byte. The owner of it gets
// another one.
func TestForeignIsMissing(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		north, south := w.signedIn(w.north, store.RoleOwner), w.signedIn(w.south, store.RoleOwner)
		own := north.scene()
		seen := 0
		for id, op := range documented(t) {
			e := examples[id]
			if e.id == nil {
				continue
			}
			seen++
			foreign := south.call(op, e, e.id(own))
			foreign.problem(CodeNotFound)
			for _, missing := range []string{
				string(store.NewID[store.SystemID]()), "x", "%00", "..%2f..%2fmeta", strings.Repeat("a", 64), "%27%20OR%201=1",
			} {
				a := south.call(op, e, missing)
				if a.status != foreign.status || string(a.body) != string(foreign.body) {
					t.Errorf("%s: %q gives %d %s, what is another's %d %s", id, missing, a.status, a.body, foreign.status, foreign.body)
				}
				for _, h := range []string{"Content-Type", "Content-Length", "ETag", "Location"} {
					if a.header.Get(h) != foreign.header.Get(h) {
						t.Errorf("%s: %q differs in %s", id, missing, h)
					}
				}
			}
		}
		if seen < 9 {
			t.Errorf("only %d operations have an id", seen)
		}
		// All of it is still there, for its own tenant.
		if a := north.do(http.MethodGet, "/systems", ""); read[SystemList](a).Total != 2 {
			t.Errorf("the owner's systems: %s", a.body)
		}
		for id, op := range documented(t) {
			if e := examples[id]; e.id != nil && !slices.Contains([]string{"removeSystem", "removeGroup", "withdrawOffer", "withdrawInvitation", "removeSite", "removeTenantGrant", "removeTemplate", "removeFilter", "removeWebhook", "getWebhookDelivery", "replayWebhookDelivery", "getFirmware", "removeFirmware", "resendOwnerInvitation"}, id) {
				if a := north.call(op, e, e.id(own)); a.status == http.StatusNotFound {
					t.Errorf("%s: the owner does not find it: %s", id, a.body)
				}
			}
		}
	})
}

func TestNobodySignedIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.client()
	for id, op := range documented(t) {
		if slices.Contains([]string{"getMeta", "signIn", "beginPasskeySignIn", "signInByPasskey", "showInvitation", "acceptInvitation", "requestPasswordReset", "resetPassword", "beginOIDCSignIn", "signInByOIDC"}, id) {
			if len(op.Security) > 0 {
				t.Errorf("%s wants a session", id)
			}
			continue
		}
		if len(op.Security) == 0 {
			t.Errorf("%s is documented as public", id)
		}
		// Also where the request is wrong: others learn nothing about it.
		for _, body := range []string{examples[id].body, `{"x":`} {
			c.do(op.method, strings.ReplaceAll(op.path, "{id}", "x"), body).problem(CodeUnauthenticated)
		}
	}
}

// TestCrossOrigin sends each change as a browser would for a page of another site, and,
// as a control, for our own.
func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	for id, op := range documented(t) {
		if op.method == http.MethodGet {
			continue
		}
		for _, site := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example"} {
			c.call(op, examples[id], "x", site).problem(CodeCrossOrigin)
		}
		if id == "signOut" || id == "setPassword" || id == "confirmTOTP" {
			continue
		}
		for _, site := range []string{"Sec-Fetch-Site: same-origin", "Origin: " + w.url} {
			if a := c.call(op, examples[id], "x", site); strings.Contains(string(a.body), string(CodeCrossOrigin)) {
				t.Errorf("%s is refused with %s: %s", id, site, a.body)
			}
		}
	}
	// Nothing has come of it, and the session is alive.
	c.do(http.MethodGet, "/session", "").want(http.StatusOK)
	c.do(http.MethodPost, "/groups", `{"name":"Own"}`, "Sec-Fetch-Site: same-origin").want(http.StatusCreated)
}

// TestUnknownIsRefused: fields and parameters that an operation does not have are errors,
// so that none is set by accident or by an attacker.
func TestUnknownIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	for id, op := range documented(t) {
		e := examples[id]
		path := c.path(op, "x")
		p := c.do(op.method, path+"?surprise=1", e.body).problem(CodeInvalid)
		if len(p.Errors) != 1 || p.Errors[0].Location != "query.surprise" || p.Errors[0].Code != FieldUnknown {
			t.Errorf("%s: %+v", id, p)
		}
		if !strings.HasPrefix(e.body, "{") {
			continue // it has none, or is no JSON
		}
		for _, field := range []string{"id", "tenant", "state", "role", "surprise"} {
			p := c.do(op.method, path, strings.Replace(e.body, "{", `{"`+field+`":"owner",`, 1)).problem(CodeInvalid)
			if len(p.Errors) != 1 || p.Errors[0].Location != "body."+field || p.Errors[0].Code != FieldUnknown {
				t.Errorf("%s with %s: %+v", id, field, p)
			}
		}
	}
}
