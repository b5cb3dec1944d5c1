package api

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
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

// scene is what examples are about: an offered and a paired system, and a group.
type scene struct{ offered, paired, group string }

func offered(s scene) string { return s.offered }
func paired1(s scene) string { return s.paired }
func group1(s scene) string  { return s.group }

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

	"getAccessStatistics": {status: 403}, // who does not run the control centre; see TestAccessStatistics
}

// atGateway is a browser that began at the gateway.
const atGateway = `{"label":"abcdefghijklmnopqrstuvwx23","browser":"AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`

// scene makes what examples are about, for the client's tenant.
func (c *client) scene() scene {
	c.w.t.Helper()
	s := scene{offered: c.save("0000000001", "One").System.ID, paired: c.save("0000000002", "Two").System.ID}
	c.w.pair(c.user.Tenant, s.paired)
	s.group = read[Group](c.do(http.MethodPost, "/groups", `{"name":"First"}`).want(http.StatusCreated)).ID
	c.w.session = c.ask(s.paired).ID
	return s
}

// call sends the example of an operation.
func (c *client) call(op operationDoc, e example, id string, headers ...string) answer {
	c.w.t.Helper()
	if e.header != "" {
		headers = append(headers, e.header)
	}
	return c.do(op.method, strings.NewReplacer("{id}", id, "{session}", cmp.Or(c.w.session, "x")).Replace(op.path), e.body, headers...)
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
			if e := examples[id]; e.id != nil && id != "removeSystem" && id != "removeGroup" && id != "withdrawOffer" {
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
		if slices.Contains([]string{"getMeta", "signIn", "beginPasskeySignIn", "signInByPasskey"}, id) {
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

// TestRoles tries every operation as every role; what is not permitted is so whatever it
// is about.
func TestRoles(t *testing.T) {
	t.Parallel()
	needs := map[string]store.Role{
		"createSystem": store.RoleAdministrator, "updateSystem": store.RoleAdministrator, "replaceSystem": store.RoleAdministrator,
		"getOffer": store.RoleAdministrator, "renewOffer": store.RoleAdministrator, "withdrawOffer": store.RoleAdministrator,
		"createGroup": store.RoleAdministrator, "removeGroup": store.RoleAdministrator,
		"askRemote": store.RoleAdministrator, "grantRemote": store.RoleAdministrator, "endRemote": store.RoleAdministrator, "removeSystem": store.RoleOwner,
	}
	rank := map[store.Role]int{store.RoleMonitoring: 0, store.RoleAdministrator: 1, store.RoleOwner: 2}
	w := newWorld(t).serve()
	for role := range rank {
		c := w.signedIn(w.north, role)
		for id, op := range documented(t) {
			if id == "streamEvents" || id == "signOut" || id == "signIn" || id == "setPassword" || id == "confirmTOTP" {
				continue // public, or at the end of the session
			}
			if id == "getAccessStatistics" {
				continue // the tenant decides; see TestAccessStatistics
			}
			need := needs[id]
			if need == "" {
				need = store.RoleMonitoring
			}
			a := c.call(op, examples[id], "missing")
			if refused := a.status == http.StatusForbidden; refused != (rank[role] < rank[need]) {
				t.Errorf("%s as %s: got %d %s, it needs %s", id, role, a.status, a.body, need)
			}
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
			if a := c.call(op, examples[id], "x", site); a.status == http.StatusForbidden {
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
		path := strings.ReplaceAll(op.path, "{id}", "x")
		p := c.do(op.method, path+"?surprise=1", e.body).problem(CodeInvalid)
		if len(p.Errors) != 1 || p.Errors[0].Location != "query.surprise" || p.Errors[0].Code != FieldUnknown {
			t.Errorf("%s: %+v", id, p)
		}
		if e.body == "" {
			continue
		}
		for _, field := range []string{"id", "tenant", "state", "role", "surprise"} {
			p := c.do(op.method, path, strings.Replace(e.body, "{", `{"`+field+`":"owner",`, 1)).problem(CodeInvalid)
			if len(p.Errors) != 1 || p.Errors[0].Location != "body."+field || p.Errors[0].Code != FieldUnknown {
				t.Errorf("%s with %s: %+v", id, field, p)
			}
		}
	}
}
