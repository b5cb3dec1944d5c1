package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/remote"
	"github.com/comtrexx-cloud/comtrexx/ccc/rollout"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// actor is who has sent a request.
type actor struct {
	user   store.User
	tenant store.Tenant // that the request is about
	home   store.Tenant // his own
	may    access.Actor // in tenant
	// standing says what the session was proven with.
	standing account.Standing
}

// pairing is how ccc/pairing knows him.
func (a actor) pairing() pairing.Actor {
	return pairing.Actor{Tenant: a.tenant.ID, User: a.user.ID}
}

type actorKey struct{}

func withActor(ctx context.Context, who actor) context.Context {
	return context.WithValue(ctx, actorKey{}, who)
}

func actorOf(ctx context.Context) (actor, bool) {
	who, ok := ctx.Value(actorKey{}).(actor)
	return who, ok
}

// mustActor is for operations that are not public.
func mustActor(ctx context.Context) actor {
	who, ok := actorOf(ctx)
	if !ok {
		panic("api: an operation without access control asks who it is for")
	}
	return who
}

// admit lets only those run an operation who may. It comes before the request is
// looked at, so that others learn nothing by what is wrong with it.
func (a *API) admit(op operation) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		began := time.Now()
		defer func() { a.metrics.observe(op.id, ctx.Status(), time.Since(began)) }()
		ctx, end := a.audited(ctx, op)
		defer end()
		if op.rule.audience != everybody {
			who, err := a.admitted(ctx, op)
			doing(ctx, op, who)
			if err != nil {
				p, ok := asProblem(a.told(ctx.Context(), op, a.answer(op.id, err)))
				if !ok {
					p = problem(CodeInternal, "")
				}
				_, w := humago.Unwrap(ctx)
				refuse(ctx, w, p)
				return
			}
			ctx = huma.WithContext(ctx, withActor(ctx.Context(), who))
		}
		next(ctx)
	}
}

// admitted gives who runs an operation that is not public, in the tenant that the request
// is about.
func (a *API) admitted(ctx huma.Context, op operation) (actor, error) {
	who, ok := actorOf(ctx.Context())
	if !ok {
		return who, problem(CodeUnauthenticated, "")
	}
	if err := a.proven(ctx, op, who); err != nil {
		return who, err
	}
	if !op.rule.inTenant() {
		return who, nil
	}
	who, err := a.enter(ctx.Context(), who, op.rule.tenant(ctx))
	if err == nil {
		err = a.decide(ctx.Context(), who, op.rule, store.SystemID(ctx.Param("id")))
	}
	return who, err
}

// refuse answers in place of an operation.
func refuse(ctx huma.Context, w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", problemType)
	ctx.SetStatus(p.Status)
	p.encode(w)
}

// answer makes a problem of an operation's error. What is behind one that is the
// server's fault is logged and not told.
func (a *API) answer(operation string, err error) error {
	if p, ok := asProblem(err); ok {
		return p
	}
	if p := known(err); p != nil {
		return p
	}
	if errors.Is(err, context.Canceled) {
		return problem(CodeUnavailable, "") // the client is gone
	}
	a.log.Error("an operation failed", "operation", operation, "error", err)
	if errors.Is(err, context.DeadlineExceeded) {
		return problem(CodeUnavailable, "")
	}
	return problem(CodeInternal, "")
}

// known makes a problem of the errors that the store, the pairing service and the broker give.
func known(err error) *Problem {
	if e, ok := errors.AsType[*pairing.Error](err); ok {
		return pairingProblem(e)
	}
	if e, ok := errors.AsType[*remote.Error](err); ok {
		return remoteProblem(e)
	}
	if e, ok := errors.AsType[*rollout.Error](err); ok {
		return rolloutProblem(e)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return problem(CodeNotFound, "")
	case errors.Is(err, store.ErrVersion):
		return problem(CodeVersion, "")
	case errors.Is(err, store.ErrConflict):
		return problem(CodeConflict, "")
	case errors.Is(err, store.ErrCursor):
		return problem(CodeInvalid, "", FieldError{"query.cursor", FieldInvalid, "is not one that a page gave, or of a list in another order"})
	case errors.Is(err, store.ErrInvalid):
		return problem(CodeInvalid, "a text is not UTF-8 without NUL, or another value is none that can be kept")
	}
	return nil
}

// pairingProblem makes a problem of what the pairing service refuses. Most of its codes
// are ours.
func pairingProblem(e *pairing.Error) *Problem {
	if e.Code != pairing.CodeInvalid {
		code := Code(e.Code)
		if _, ours := codes[code]; !ours {
			code = CodeState
		}
		if e.RetryAfter > 0 {
			return problem(code, "").after(e.RetryAfter)
		}
		return problem(code, "")
	}
	fields := make([]FieldError, len(e.Fields))
	for i, f := range e.Fields {
		if f.Field == "replaces" {
			return problem(CodeNotFound, "") // it is in the address
		}
		fields[i] = FieldError{"body." + f.Field, FieldCode(f.Code), f.Message}
	}
	return problem(CodeInvalid, "", fields...)
}
