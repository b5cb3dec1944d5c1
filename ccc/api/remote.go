package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/remote"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// RemoteAccess does what users ask for about remote access; a [*remote.Broker].
type RemoteAccess interface {
	Ask(ctx context.Context, who remote.Actor, system store.SystemID, wish remote.Wish) (store.Remote, error)
	List(ctx context.Context, tenant store.TenantID, system store.SystemID, page store.Page) (all []store.Remote, next string, err error)
	Show(ctx context.Context, tenant store.TenantID, system store.SystemID, id store.RemoteID) (store.Remote, error)
	Grant(ctx context.Context, who remote.Actor, system store.SystemID, id store.RemoteID, label, browser string) (remote.Ticket, error)
	End(ctx context.Context, who remote.Actor, system store.SystemID, id store.RemoteID) error
	Records(ctx context.Context, tenant store.TenantID, filter store.RemoteFilter, page store.Page) (all []store.Remote, next string, err error)
	Record(ctx context.Context, tenant store.TenantID, id store.RemoteID) (store.Remote, error)
	Start(record store.Remote) string
}

// NewRemote asks for remote access to a system.
type NewRemote struct {
	Reason  string        `json:"reason" minLength:"1" maxLength:"512" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank" doc:"Shown to the PBX's administrator; at most 512 bytes"`
	Minutes int           `json:"minutes,omitempty" minimum:"1" maximum:"1440" doc:"How long, from the consent on. Default, and at most: as the server is set"`
	Service grant.Service `json:"service" enum:"web,tcp,ssh,tls" doc:"web: the PBX's own pages; tls: these, with encryption that ends in the PBX; tcp and ssh: a target on the PBX's list"`
	Target  string        `json:"target,omitempty" maxLength:"64" pattern:"^[a-z0-9._-]+$" patternDescription:"the name of a target" doc:"With tcp and ssh, and not otherwise"`
}

// RemoteSession is the record of a remote access: who, why and when. Nothing of what was
// done is kept.
type RemoteSession struct {
	ID          string        `json:"id"`
	SystemID    string        `json:"system_id" doc:"Of a system that may be gone"`
	Serial      string        `json:"serial" example:"0123456789"`
	User        Actor         `json:"user" doc:"Who asked, with the name of then"`
	Own         bool          `json:"own" doc:"Whether that is who is signed in, who alone gets a grant"`
	Reason      string        `json:"reason"`
	Minutes     int           `json:"minutes" doc:"That were asked for; the PBX's administrator may give less"`
	Service     grant.Service `json:"service" enum:"web,tcp,ssh,tls"`
	Target      string        `json:"target,omitempty"`
	State       grant.State   `json:"state" enum:"requested,pending,active,ended,refused,expired" doc:"requested: on its way to the PBX; pending: waits for the PBX's administrator; the last three are final"`
	Consent     string        `json:"consent,omitempty" enum:"request,pin,always" doc:"How the PBX's administrator let the user in: accepted the request, told a PIN, or lets everybody in who may ask"`
	Cause       grant.Cause   `json:"cause,omitempty" doc:"Why it is over, e.g. time. Clients show causes that they do not know by this word"`
	RequestedAt time.Time     `json:"requested_at"`
	ExpiresAt   time.Time     `json:"expires_at" doc:"When nobody can consent any more"`
	StartedAt   *time.Time    `json:"started_at,omitempty"`
	Until       *time.Time    `json:"until,omitempty" doc:"When it ends, or was to end, by itself"`
	EndedAt     *time.Time    `json:"ended_at,omitempty"`
	Confirmed   bool          `json:"confirmed" doc:"Whether the PBX has said that it is over"`
	BytesIn     int64         `json:"bytes_in" doc:"That came to the PBX, as it last said"`
	BytesOut    int64         `json:"bytes_out" doc:"That came from it"`
	StartURL    string        `json:"start_url,omitempty" doc:"Where the browser of who has asked begins at the gateway, while there is something to begin. The gateway sends it back to the page /remote/<id> with the query of label and browser"`
}

// RemoteList is one page of remote accesses, the newest first.
type RemoteList struct {
	Items []RemoteSession `json:"items" nullable:"false"`
	Next  string          `json:"next,omitempty" doc:"Cursor of the next page; absent on the last one"`
}

// RemoteBrowser is the browser that began at the gateway.
type RemoteBrowser struct {
	Label   string `json:"label" pattern:"^[a-z2-7]{26}$" patternDescription:"a label of the gateway" doc:"From the address that the gateway sent the browser back to"`
	Browser string `json:"browser" pattern:"^[A-Za-z0-9_-]{43}$" patternDescription:"base64url of 32 bytes" doc:"From there, too"`
}

// RemoteTicket lets a browser in at the gateway, once and for a minute.
type RemoteTicket struct {
	Grant     string    `json:"grant" doc:"For the field grant of a form that is posted to url. Secret: never part of an address"`
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}

// RemoteChange says that remote access to a system has changed.
type RemoteChange struct {
	SystemID string `json:"system_id"`
}

// RemotePath is a remote access in an address.
type RemotePath struct {
	SystemPath
	Session string `path:"session" maxLength:"64" doc:"Of the remote access"`
}

// RemoteQuery is which remote accesses of the tenant are wanted.
type RemoteQuery struct {
	Page
	System string        `query:"system" maxLength:"64" doc:"Id of a system, which may be gone"`
	Serial string        `query:"serial" maxLength:"10" pattern:"^([0-9]{10})?$" patternDescription:"ten digits" doc:"Of a PBX"`
	State  []grant.State `query:"state,explode" nullable:"false" maxItems:"6" enum:"requested,pending,active,ended,refused,expired" doc:"Any of these"`
}

// RecordPath is a remote access in an address without its system.
type RecordPath struct {
	Session string `path:"session" maxLength:"64" doc:"Of the remote access"`
}

// registerRemote is the table of the operations about remote access.
func (a *API) registerRemote() {
	const list, one = "/systems/{id}/remote", "/systems/{id}/remote/{session}"
	add(a, operation{
		id: "listRemote", method: http.MethodGet, path: list, tag: tagRemote, rule: atSystem(access.RemoteRead),
		summary: "Who had, has or wants remote access to a system",
	}, a.listRemote)
	add(a, operation{
		id: "askRemote", method: http.MethodPost, path: list, tag: tagRemote, rule: atSystem(access.RemoteAsk), status: http.StatusCreated,
		summary:     "Ask for remote access",
		description: "The PBX has the request then, or it has failed: nothing waits. The PBX's administrator lets the user in, or not.",
		codes: []Code{
			CodeState, CodeOffline, CodeRemoteOff, CodeNoTarget, CodeQuotaRemote, CodeIdempotencyBusy, CodeIdempotencyMismatch,
		},
	}, a.askRemote)
	add(a, operation{
		id: "getRemote", method: http.MethodGet, path: one, tag: tagRemote, rule: atSystem(access.RemoteRead),
		summary: "Get a remote access",
	}, a.getRemote)
	add(a, operation{
		id: "grantRemote", method: http.MethodPost, path: one + "/grant", tag: tagRemote, rule: atSystem(access.RemoteAsk),
		summary:     "Let a browser in at the gateway",
		description: "For who has asked, in the browser that began at the gateway. A new grant does not extend anything.",
		codes:       []Code{CodeNotRequester, CodeRemoteOver},
	}, a.grantRemote)
	add(a, operation{
		id: "endRemote", method: http.MethodDelete, path: one, tag: tagRemote, rule: atSystem(access.RemoteAsk), status: http.StatusNoContent,
		summary: "End a remote access, or take back the request", description: "The PBX is told at once, or when it can be reached.",
	}, a.endRemote)
	add(a, operation{
		id: "listRemoteRecords", method: http.MethodGet, path: "/remote", tag: tagRemote, rule: inTenant(access.RemoteRead),
		summary: "Who had, has or wants remote access to any system", description: "Also to systems that are gone.",
	}, a.listRemoteRecords)
	add(a, operation{
		id: "getRemoteRecord", method: http.MethodGet, path: "/remote/{session}", tag: tagRemote, rule: inParts(access.RemoteRead),
		summary: "Get a remote access without its system", description: "For the page that the gateway sends a browser back to.",
	}, a.getRemoteRecord)
}

// remote is how ccc/remote knows the actor.
func (a actor) remote() remote.Actor {
	return remote.Actor{
		Tenant: a.tenant.ID, User: a.user.ID, Name: a.user.Name, Company: a.home.LegalName,
		Factor: a.standing.Proof == account.BySecond,
	}
}

func (a *API) remoteOf(who actor, r store.Remote) RemoteSession {
	out := RemoteSession{
		ID: string(r.ID), SystemID: string(r.System), Serial: string(r.Serial), User: Actor{ID: string(r.User), Name: r.Name}, Own: r.User == who.user.ID,
		Reason: r.Reason, Minutes: int(r.Seconds / 60), Service: r.Service, Target: r.Target, State: r.State, Consent: r.Consent, Cause: r.Cause,
		RequestedAt: r.Requested, ExpiresAt: r.Expires, StartedAt: r.Started, Until: r.Until, EndedAt: r.Ended, Confirmed: r.Confirmed,
		BytesIn: r.BytesIn, BytesOut: r.BytesOut,
	}
	if out.Own {
		out.StartURL = a.cfg.Remote.Start(r)
	}
	return out
}

// remoteList makes a page of records.
func (a *API) remoteList(who actor, found []store.Remote, next string) *body[RemoteList] {
	out := &body[RemoteList]{Body: RemoteList{Items: make([]RemoteSession, len(found)), Next: next}}
	for i, r := range found {
		out.Body.Items[i] = a.remoteOf(who, r)
	}
	return out
}

func (a *API) listRemoteRecords(ctx context.Context, in *RemoteQuery) (*body[RemoteList], error) {
	who := mustActor(ctx)
	filter := store.RemoteFilter{System: store.SystemID(in.System), Serial: identity.Serial(in.Serial), States: in.State}
	found, next, err := a.cfg.Remote.Records(ctx, who.tenant.ID, filter, store.Page{Cursor: in.Cursor, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	return a.remoteList(who, found, next), nil
}

func (a *API) getRemoteRecord(ctx context.Context, in *RecordPath) (*body[RemoteSession], error) {
	who := mustActor(ctx)
	r, err := a.cfg.Remote.Record(ctx, who.tenant.ID, store.RemoteID(in.Session))
	if err != nil {
		return nil, err
	}
	// Who looks after a part of the tenant comes back here from the gateway, too.
	if r.User != who.user.ID && a.decide(ctx, who, atSystem(access.RemoteRead), r.System) != nil {
		return nil, problem(CodeNotFound, "")
	}
	return &body[RemoteSession]{Body: a.remoteOf(who, r)}, nil
}

type listRemoteInput struct {
	SystemPath
	Page
}

func (a *API) listRemote(ctx context.Context, in *listRemoteInput) (*body[RemoteList], error) {
	who := mustActor(ctx)
	found, next, err := a.cfg.Remote.List(ctx, who.tenant.ID, store.SystemID(in.ID), store.Page{Cursor: in.Cursor, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	return a.remoteList(who, found, next), nil
}

type askRemoteInput struct {
	SystemPath
	Idempotency
	Body NewRemote
}

func (a *API) askRemote(ctx context.Context, in *askRemoteInput) (*created[RemoteSession], error) {
	who := mustActor(ctx)
	return once(ctx, a, in.IdempotencyKey, "askRemote "+in.ID, in.Body, func(ctx context.Context) (*created[RemoteSession], error) {
		r, err := a.cfg.Remote.Ask(ctx, who.remote(), store.SystemID(in.ID), remote.Wish{
			Reason: in.Body.Reason, Minutes: in.Body.Minutes, Service: in.Body.Service, Target: in.Body.Target,
		})
		if err != nil {
			return nil, err
		}
		return &created[RemoteSession]{
			Location: Prefix + "/systems/" + url.PathEscape(string(r.System)) + "/remote/" + url.PathEscape(string(r.ID)),
			Body:     a.remoteOf(who, r),
		}, nil
	})
}

func (a *API) getRemote(ctx context.Context, in *RemotePath) (*body[RemoteSession], error) {
	who := mustActor(ctx)
	r, err := a.cfg.Remote.Show(ctx, who.tenant.ID, store.SystemID(in.ID), store.RemoteID(in.Session))
	if err != nil {
		return nil, err
	}
	return &body[RemoteSession]{Body: a.remoteOf(who, r)}, nil
}

type grantRemoteInput struct {
	RemotePath
	Body RemoteBrowser
}

func (a *API) grantRemote(ctx context.Context, in *grantRemoteInput) (*body[RemoteTicket], error) {
	t, err := a.cfg.Remote.Grant(ctx, mustActor(ctx).remote(), store.SystemID(in.ID), store.RemoteID(in.Session), in.Body.Label, in.Body.Browser)
	if err != nil {
		return nil, err
	}
	return &body[RemoteTicket]{Body: RemoteTicket{Grant: t.Grant, URL: t.URL, ExpiresAt: t.Expires}}, nil
}

func (a *API) endRemote(ctx context.Context, in *RemotePath) (*nothing, error) {
	return nil, a.cfg.Remote.End(ctx, mustActor(ctx).remote(), store.SystemID(in.ID), store.RemoteID(in.Session))
}

// RemoteChanged tells readers that remote access to a system has changed. It does not
// block.
func (a *API) RemoteChanged(tenant store.TenantID, system store.SystemID) {
	a.hub.publish(tenant, notice{subject: subject{eventRemote, system}})
}

// remoteProblem makes a problem of what the broker refuses; its codes are ours.
func remoteProblem(e *remote.Error) *Problem {
	fields := make([]FieldError, len(e.Fields))
	for i, f := range e.Fields {
		fields[i] = FieldError{"body." + f.Field, FieldInvalid, f.Message}
	}
	p := problem(Code(e.Code), "", fields...)
	if e.Code == remote.CodeUnavailable {
		p.Detail = "there is no gateway for remote access"
	}
	if e.RetryAfter > 0 {
		return p.after(e.RetryAfter)
	}
	return p
}
