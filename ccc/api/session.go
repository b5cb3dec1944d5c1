package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// sessions finds out who has sent a request.
func (a *API) sessions(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		passed := false
		found := a.cfg.Accounts.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			who, err := a.whoIs(r.Context())
			switch {
			case err == nil:
				r = r.WithContext(withActor(r.Context(), who))
			case !errors.Is(err, account.ErrNoSession):
				a.log.Error("a session was not looked up", "error", err)
				problem(CodeUnavailable, "").write(w)
				return
			}
			next.ServeHTTP(w, r)
		}))
		// It answers by itself where the store fails, though not with a problem.
		found.ServeHTTP(&probe{header: w.Header()}, r)
		if !passed {
			problem(CodeUnavailable, "").write(w)
		}
	})
}

func (a *API) whoIs(ctx context.Context) (who actor, err error) {
	if who.standing, err = a.cfg.Accounts.Standing(ctx); err != nil {
		return who, err
	}
	who.user = who.standing.User
	err = a.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if who.home, err = tx.Tenant(who.user.Tenant); err != nil {
			return err
		}
		who.tenant = who.home
		who.may, err = access.LoadUser(tx, who.user, who.tenant.ID, time.Now())
		return err
	})
	return who, err
}

// cookieOutput is an answer that sets the session's cookie.
type cookieOutput[T any] struct {
	Cookie string `header:"Set-Cookie"`
	Body   T
}

// Remote takes the address of the client, for the limits of sign-ins.
type Remote struct{ addr string }

// Resolve is called by huma.
func (r *Remote) Resolve(ctx huma.Context) []error {
	r.addr = ctx.RemoteAddr()
	return nil
}

type signInInput struct {
	Remote
	Body Credentials
}

func (a *API) signIn(ctx context.Context, in *signInInput) (*cookieOutput[Me], error) {
	user, err := a.cfg.Accounts.SignIn(ctx, in.Body.Email, in.Body.Password, account.Prefix(in.addr))
	if err != nil {
		return nil, signInProblem(err, CodeBadCredentials)
	}
	cookie, err := a.cfg.Accounts.Begin(ctx, user)
	if err != nil {
		return nil, signInProblem(err, CodeBadCredentials)
	}
	who, err := a.whoIs(ctx)
	if err != nil {
		return nil, err
	}
	return &cookieOutput[Me]{Cookie: cookie.String(), Body: me(who)}, nil
}

// signInProblem makes problems of the errors of a sign-in, wrong being the one for a
// wrong password.
func signInProblem(err error, wrong Code) error {
	if limited, ok := errors.AsType[*account.LimitedError](err); ok {
		return problem(CodeLoginLimited, "").after(limited.RetryAfter)
	}
	switch {
	case errors.Is(err, account.ErrCredentials):
		return problem(wrong, "")
	}
	return factorProblem(err)
}

func me(who actor) Me {
	verbs, some := who.may.Verbs(who.tenant.ID)
	return Me{
		User: User{
			ID: string(who.user.ID), Name: who.user.Name, Email: who.user.Email, Roles: who.user.Roles, Language: who.user.Language,
		},
		Tenant: Tenant{ID: string(who.tenant.ID), Name: who.tenant.Name, LegalName: who.tenant.LegalName, Kind: who.tenant.Kind},
		Verbs:  verbs, SomeVerbs: some, Proof: proofOf(who.standing),
	}
}

func (a *API) getSession(ctx context.Context, _ *nothing) (*body[Me], error) {
	return &body[Me]{Body: me(mustActor(ctx))}, nil
}

type cookieOnly struct {
	Cookie string `header:"Set-Cookie"`
}

func (a *API) signOut(ctx context.Context, _ *nothing) (*cookieOnly, error) {
	cookie, err := a.cfg.Accounts.End(ctx)
	if err != nil {
		return nil, err
	}
	return &cookieOnly{Cookie: cookie.String()}, nil
}

func (a *API) setLanguage(ctx context.Context, in *body[LanguageChange]) (*nothing, error) {
	who := mustActor(ctx)
	return nil, a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.SetUserLanguage(who.user.Tenant, who.user.ID, in.Body.Language)
	})
}

type passwordInput struct {
	Remote
	Body PasswordChange
}

func (a *API) setPassword(ctx context.Context, in *passwordInput) (*cookieOnly, error) {
	cookie, err := a.cfg.Accounts.ChangePassword(ctx, in.Body.Current, in.Body.New, account.Prefix(in.addr))
	if invalid, ok := errors.AsType[*account.InvalidError](err); ok {
		return nil, problem(CodeInvalid, "", passwordFault(invalid))
	}
	if err != nil {
		return nil, signInProblem(err, CodeWrongPassword)
	}
	return &cookieOnly{Cookie: cookie.String()}, nil
}

func passwordFault(e *account.InvalidError) FieldError {
	code, known := map[string]FieldCode{
		"password_short": FieldTooShort, "password_long": FieldTooLong, "password_email": FieldWeak,
	}[e.Code]
	if !known {
		code = FieldInvalid
	}
	return FieldError{Location: "body.new", Code: code, Message: e.Problem}
}
