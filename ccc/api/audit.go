package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

const tagAudit = "audit"

// AuditThing is who did something, or to what it was done. Its name is what it is called
// now; it has none where it is gone.
type AuditThing struct {
	Kind string `json:"kind"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// AuditEntry is a line of the audit log.
type AuditEntry struct {
	Seq       int64       `json:"seq" doc:"Its number in the tenant's log, without gaps"`
	At        time.Time   `json:"at"`
	Actor     AuditThing  `json:"actor" doc:"kind is user, token, provider, device, ccc or nobody"`
	User      *AuditThing `json:"user,omitempty" doc:"Whose rights were used"`
	HomeID    string      `json:"home_id,omitempty" doc:"Tenant of the user"`
	Right     string      `json:"right,omitempty" enum:"home,grant,break_glass" doc:"By what right the user was in the tenant"`
	RightID   string      `json:"right_id,omitempty" doc:"Of the grant or the record of break-glass"`
	Operation string      `json:"operation" doc:"Of this document; or pbx., remote., oidc., cli. or event. and what happened"`
	Resource  *AuditThing `json:"resource,omitempty"`
	Serial    string      `json:"serial,omitempty" doc:"Of the PBX"`
	Outcome   string      `json:"outcome" enum:"done,refused,failed"`
	Code      string      `json:"code,omitempty" doc:"Why it was refused or has failed"`
	Repeats   int64       `json:"repeats,omitempty" doc:"How often the same was refused, or has failed, again since an entry that tells of it; absent: the entry is of one request"`
	Fields    []string    `json:"fields" nullable:"false" doc:"Names of what the request had, without the values; of oidc. the roles that were given and taken"`
	// AddressUntil is for the promise that addresses vanish.
	AddressUntil *time.Time `json:"address_until,omitempty" doc:"When the address that it came from is forgotten at the latest; absent: none is known, or not any more"`
	Prev         string     `json:"prev" doc:"Hash of the entry before"`
	Hash         string     `json:"hash"`
}

// AuditList is a page of the audit log, the newest first.
type AuditList struct {
	Items []AuditEntry `json:"items" nullable:"false"`
	Next  string       `json:"next,omitempty" doc:"Cursor of the next page"`
}

// AuditHead is where the audit log stands.
type AuditHead struct {
	TenantID string    `json:"tenant_id"`
	Seq      int64     `json:"seq" doc:"0: there is no entry yet"`
	Hash     string    `json:"hash"`
	At       time.Time `json:"at"`
	Head     string    `json:"head" doc:"The same, signed: a JWS. Who keeps it finds that entries up to it were changed or removed later"`
}

// AuditAddress is where a request came from.
type AuditAddress struct {
	State   string     `json:"state" enum:"known,gone,missing" doc:"gone: it was forgotten; missing: there was none, or it is not written yet"`
	Address string     `json:"address,omitempty"`
	Until   *time.Time `json:"until,omitempty" doc:"When it is forgotten at the latest"`
}

// AuditQuery is which entries are wanted.
type AuditQuery struct {
	Page
	User      string    `query:"user" maxLength:"64" doc:"Id of who did it"`
	Actor     string    `query:"actor" enum:"user,token,provider,device,ccc,nobody" doc:"What kind of actor did it"`
	Operation string    `query:"operation" maxLength:"128" pattern:"^[A-Za-z][A-Za-z0-9_.]*$" patternDescription:"an operation"`
	Resource  string    `query:"resource" maxLength:"128" pattern:"^[a-z_]+ [0-9A-Za-z_-]+$" patternDescription:"a kind and an id" doc:"As in \"site 0199…\""`
	Serial    string    `query:"serial" pattern:"^[0-9]{10}$" patternDescription:"a serial: ten digits" doc:"Of a PBX"`
	Outcome   string    `query:"outcome" enum:"done,refused,failed"`
	From      time.Time `query:"from" doc:"The earliest time"`
	To        time.Time `query:"to" doc:"The latest time"`
}

// AuditPath is the entry in an address.
type AuditPath struct {
	Seq int64 `path:"seq" minimum:"1" doc:"Number of the entry"`
}

// registerAudit is the table of the operations about the audit log.
func (a *API) registerAudit() {
	add(a, operation{
		id: "listAudit", method: http.MethodGet, path: "/audit", tag: tagAudit, rule: inTenant(access.AuditRead),
		summary: "Who did what, the newest first",
	}, a.listAudit)
	add(a, operation{
		id: "exportAudit", method: http.MethodGet, path: "/audit/export", tag: tagAudit, rule: inTenant(access.AuditRead), audit: true,
		summary: "The audit log as a file", description: "As JSON lines, for \"ccc audit verify\", or as CSV to read. It ends with a signed head.",
	}, a.exportAudit)
	text := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	a.huma.OpenAPI().Paths["/audit/export"].Get.Responses["200"] = &huma.Response{
		Description: "The file", Content: map[string]*huma.MediaType{"application/jsonl": text, "text/csv": text},
	}
	add(a, operation{
		id: "getAuditHead", method: http.MethodGet, path: "/audit/head", tag: tagAudit, rule: inTenant(access.AuditRead),
		summary: "Where the audit log stands, signed",
	}, a.getAuditHead)
	add(a, operation{
		id: "getAuditAddress", method: http.MethodGet, path: "/audit/{seq}/address", tag: tagAudit, rule: inTenant(access.AuditRead), audit: true,
		summary: "The address that an entry came from", description: "As long as the access log has it, which is 14 days at most.",
	}, a.getAuditAddress)
}

func (a *API) listAudit(ctx context.Context, in *AuditQuery) (*body[AuditList], error) {
	who := mustActor(ctx)
	f := store.AuditFilter{
		User: store.UserID(in.User), Actor: in.Actor, Operation: in.Operation, Resource: in.Resource,
		Serial: identity.Serial(in.Serial), Outcome: in.Outcome, From: in.From, To: in.To,
	}
	out := &body[AuditList]{}
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		found, next, err := tx.AuditEntries(who.tenant.ID, f, store.Page{Cursor: in.Cursor, Limit: in.Limit})
		if err != nil {
			return err
		}
		out.Body.Next = next
		out.Body.Items, err = a.auditEntries(tx, who.tenant.ID, found)
		return err
	})
	return out, err
}

// auditEntries gives entries with the names of now. Only who has done something is named
// whatever his tenant is: a refused request may have named anything.
func (a *API) auditEntries(tx *store.Tx, tenant store.TenantID, found []store.AuditEntry) ([]AuditEntry, error) {
	users, systems := []store.UserID{}, []store.SystemID{}
	for _, e := range found {
		users = append(users, store.UserID(e.User))
		if kind, id := e.Split(); kind == "system" {
			systems = append(systems, store.SystemID(id))
		}
	}
	actors, err := tx.UserNames(users)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	own, err := tx.SystemsByID(tenant, systems)
	if err != nil {
		return nil, err
	}
	for _, s := range own {
		names["system "+string(s.ID)] = s.Name
	}
	people, err := tx.Users(tenant)
	if err != nil {
		return nil, err
	}
	for _, u := range people {
		names["user "+string(u.ID)] = u.Name
	}
	sites, err := tx.Sites(tenant)
	for _, s := range sites {
		names["site "+string(s.ID)] = s.Name
	}
	out := make([]AuditEntry, len(found))
	for i, e := range found {
		out[i] = a.auditEntry(e, actors, names)
	}
	return out, err
}

func (a *API) auditEntry(e store.AuditEntry, actors map[store.UserID]string, names map[string]string) AuditEntry {
	kind, id, _ := strings.Cut(e.Actor, " ")
	outcome, _, _ := strings.Cut(e.Outcome, ":")
	out := AuditEntry{
		Seq: e.Seq, At: e.At, Actor: AuditThing{Kind: kind, ID: id}, HomeID: e.Home, Operation: e.Operation, Serial: e.Serial,
		Outcome: outcome, Code: e.Code(), Repeats: e.Repeats, Fields: e.Fields, Prev: e.Prev.String(), Hash: e.Hash.String(),
	}
	out.Right, out.RightID, _ = strings.Cut(e.Right, " ")
	if e.User != "" {
		out.User = &AuditThing{"user", e.User, actors[store.UserID(e.User)]}
	}
	switch kind {
	case "user":
		out.Actor.Name = actors[store.UserID(id)]
	case "provider":
		out.Actor.Name = a.cfg.Accounts.ProviderName(id)
	}
	if e.Resource != "" {
		kind, id := e.Split()
		out.Resource = &AuditThing{kind, id, names[e.Resource]}
	}
	if until := a.cfg.AccessLog.Until(e.Access); time.Now().Before(until) {
		out.AddressUntil = &until
	}
	return out
}

func (a *API) getAuditHead(ctx context.Context, _ *nothing) (*body[AuditHead], error) {
	who := mustActor(ctx)
	var chain store.AuditChain
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		chain, err = tx.AuditChain(who.tenant.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	h := chain.Last
	h.At = time.Now().UTC().Truncate(time.Second)
	signed, err := a.signHead(ctx, h)
	return &body[AuditHead]{Body: AuditHead{string(chain.Tenant), h.Seq, h.Hash.String(), h.At, signed}}, err
}

// signHead signs a head and keeps it, so that "ccc audit verify --store" knows it.
func (a *API) signHead(ctx context.Context, h audit.Head) (string, error) {
	if a.cfg.Credentials == nil {
		return "", problem(CodeUnavailable, "there is nothing to sign with")
	}
	signed, err := audit.SignHead(a.cfg.Credentials, h)
	if err != nil || h.Seq == 0 {
		return signed, err
	}
	return signed, a.cfg.Store.Update(store.Aside(ctx), func(tx *store.Tx) error {
		return tx.AddAuditHead(store.AuditHead{Tenant: store.TenantID(h.Tenant), Seq: h.Seq, Head: signed, At: h.At})
	})
}

func (a *API) getAuditAddress(ctx context.Context, in *AuditPath) (*body[AuditAddress], error) {
	who := mustActor(ctx)
	var e store.AuditEntry
	err := a.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		e, err = tx.AuditEntry(who.tenant.ID, in.Seq)
		return err
	})
	out := &body[AuditAddress]{Body: AuditAddress{State: "missing"}}
	if err != nil || e.Access == "" {
		return out, err
	}
	rec, found, until, err := a.cfg.AccessLog.Find(e.Access)
	switch {
	case err != nil:
		return nil, err
	case found:
		out.Body = AuditAddress{State: "known", Address: rec.Address.String(), Until: &until}
	case !until.IsZero() && !time.Now().Before(until):
		out.Body.State = "gone"
	}
	return out, nil
}
