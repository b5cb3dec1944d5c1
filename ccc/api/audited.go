package api

import (
	"context"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
)

// unaudited are operations that change nothing for anybody, though they are no GET.
var unaudited = []string{"beginPasskeySignIn", "beginOIDCSignIn", "beginProviderLink", "showInvitation", "requestPasswordReset"}

// audited tells whether the audit log tells of an operation.
func (op operation) audited() bool {
	return op.audit || op.method != http.MethodGet && !slices.Contains(unaudited, op.id)
}

// telling is how far an operation's entry in the audit log has come.
type telling struct {
	act  *store.Act
	done bool // nothing more is to be told
}

type tellingKey struct{}

// audited begins the entry of an operation, and gives what is to be called at its end: for
// what huma refused before the handler, and for a panic.
func (a *API) audited(ctx huma.Context, op operation) (huma.Context, func()) {
	if !op.audited() {
		return ctx, func() {}
	}
	inner := ctx.Context()
	t := &telling{act: &store.Act{Operation: op.id, Access: func() string { return accesslog.Reference(inner) }}}
	t.act.Resource, t.act.System = resourceOf(ctx, op)
	ctx = huma.WithContext(ctx, context.WithValue(store.WithAct(inner, t.act), tellingKey{}, t))
	return ctx, func() {
		if t.done {
			return
		}
		code, ok := codeOf[ctx.Status()]
		if !ok {
			code = CodeInternal
		}
		_ = a.told(ctx.Context(), op, problem(code, "")) // logged; the answer is on its way
	}
}

// codeOf has the codes of what huma refuses, by the status.
var codeOf = map[int]Code{
	http.StatusBadRequest:            CodeMalformed,
	http.StatusRequestTimeout:        CodeTimeout,
	http.StatusRequestEntityTooLarge: CodeTooLarge,
	http.StatusUnsupportedMediaType:  CodeMediaType,
	http.StatusUnprocessableEntity:   CodeInvalid,
}

// pathThing finds what a path is about.
var pathThing = regexp.MustCompile(`/([a-z-]+)/\{([a-z]+)\}`)

// resourceOf gives what the path of a request names.
func resourceOf(ctx huma.Context, op operation) (resource string, system store.SystemID) {
	for _, m := range pathThing.FindAllStringSubmatch(op.path, -1) {
		id := ctx.Param(m[2])
		resource = oneOf(m[1])
		if audit.IsID(id) {
			resource += " " + id
		}
		if m[1] == "systems" {
			system = store.SystemID(id)
		}
	}
	return resource, system
}

// oneOf gives what one of the things is called that a part of a path is about.
func oneOf(part string) string {
	one := strings.ReplaceAll(part, "-", "_")
	if many, ok := strings.CutSuffix(one, "ies"); ok {
		return many + "y"
	}
	if strings.HasSuffix(one, "ss") {
		return one
	}
	return strings.TrimSuffix(one, "s")
}

// doing says who does it, in which tenant and by what right.
func doing(ctx huma.Context, op operation, who actor) {
	act := store.ActOf(ctx.Context())
	if act == nil || who.user.ID == "" {
		return
	}
	act.Actor, act.User, act.Home, act.Tenant = "user "+string(who.user.ID), who.user.ID, who.user.Tenant, who.tenant.ID
	if act.Tenant == "" {
		act.Tenant = who.user.Tenant
	}
	if token := who.standing.Token; token != nil {
		act.Actor = "token " + string(token.ID)
	}
	act.Right = who.right(op.rule)
}

// right tells by what right somebody is in a tenant.
func (a actor) right(r rule) string {
	if a.tenant.ID == a.user.Tenant {
		return "home"
	}
	may := a.may
	for _, g := range a.may.Given {
		may.Given, may.Glass = []store.TenantGrant{g}, nil
		if r.verb == "" || may.Anywhere(r.verb, a.tenant.ID) {
			return "grant " + string(g.ID)
		}
	}
	for _, g := range a.may.Glass {
		may.Given, may.Glass = nil, []store.BreakGlass{g}
		if r.verb == "" || may.Anywhere(r.verb, a.tenant.ID) {
			return "break_glass " + string(g.ID)
		}
	}
	return ""
}

// looked says that a request asks what would be, and changes nothing: the audit log has no
// entry of it unless it is refused.
func looked(ctx context.Context) {
	if act := store.ActOf(ctx); act != nil {
		act.Settled()
	}
}

// given notes which fields the body of a request has, by their names.
func given(ctx context.Context, in any) {
	act := store.ActOf(ctx)
	if act == nil {
		return
	}
	body := reflect.Indirect(reflect.ValueOf(in)).FieldByName("Body")
	if body.Kind() != reflect.Struct {
		return
	}
	fields := []string{}
	for _, f := range reflect.VisibleFields(body.Type()) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		v, err := body.FieldByIndexErr(f.Index)
		if err == nil && (!v.IsZero() || !strings.Contains(options, "omitempty")) {
			fields = append(fields, name)
		}
	}
	slices.Sort(fields)
	act.Fields = slices.Compact(fields)
}

// told puts into the audit log how an operation has ended, where what it changed has not
// done so, and gives the error that is answered: one of its own where that did not work.
func (a *API) told(ctx context.Context, op operation, err error) error {
	t, ok := ctx.Value(tellingKey{}).(*telling)
	if !ok {
		return err
	}
	t.done = true
	outcome := audit.Done
	if err != nil {
		p, ok := asProblem(err)
		if !ok {
			p = problem(CodeInternal, "")
		}
		if a.untold(t.act, p.Code) {
			return err
		}
		outcome = audit.Refused(string(p.Code))
		if p.Status >= http.StatusInternalServerError {
			outcome = audit.Failed(string(p.Code))
		}
		if !slices.Contains(guesses, p.Code) && a.repeats.counted(t.act, outcome, time.Now()) {
			return err
		}
	}
	if lost := a.cfg.Store.Settle(ctx, t.act, outcome); lost != nil {
		a.repeats.lost(t.act, outcome)
		a.log.Error("an entry of the audit log could not be written", "operation", op.id, "outcome", outcome, "error", lost)
		if err == nil {
			err = problem(CodeUnavailable, "the audit log cannot be written")
		}
	}
	return err
}

// guesses are refusals that have an entry each: there are not many, as the account is
// locked then.
var guesses = []Code{CodeBadCredentials, CodeWrongPassword, CodeWrongCode}

// untold are refusals that leave no entry, or anybody could fill the log: what comes too
// often, and what nobody who is known has done. Attempts to sign in are told of, as far as
// their number is bounded.
func (a *API) untold(act *store.Act, code Code) bool {
	switch code {
	case CodeUnauthenticated, CodeLoginLimited, CodeRateLimited, CodeSentLately, CodeCrossOrigin:
		return true
	case CodeBadCredentials:
		return false
	}
	return act.Actor == "" && act.Tenant == ""
}
