package api

import (
	"errors"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// enrolling are the operations that a session is good for whose user has to set up a
// second factor first.
var enrolling = []string{"signOut", "getFactors", "beginTOTP", "confirmTOTP", "beginPasskey", "addPasskey"}

// halfway are those for a session that was proven with the password, and whose user has a
// second factor.
var halfway = []string{"signOut", "getFactors", "prove"}

// proven refuses what the proof of a session, or the scopes of a token, do not permit.
func (a *API) proven(ctx huma.Context, op operation, who actor) error {
	switch s := who.standing; {
	case s.Token != nil:
		return a.scoped(ctx, op, s.Token)
	case s.Need == account.NeedSecond && !slices.Contains(halfway, op.id):
		return problem(CodeSecondFactorNeeded, "")
	case s.Need == account.NeedEnrol && !slices.Contains(enrolling, op.id):
		return problem(CodeSecondFactorEnrol, "")
	}
	return nil
}

// scoped refuses what a token is not for: all about who has made it, other tenants, and
// verbs that are not among its scopes. Operations without a verb it has only to read.
func (a *API) scoped(ctx huma.Context, op operation, token *store.APIToken) error {
	tenant := op.rule.tenant(ctx)
	if tenant == "" {
		tenant = token.Tenant
	}
	switch {
	case !op.takesToken():
		return problem(CodeTokenScope, "it cannot be done with a token")
	case tenant != token.For:
		return problem(CodeTokenScope, "the token is for another tenant")
	case op.rule.verb != "" && !slices.Contains(token.Scopes, string(op.rule.verb)):
		return problem(CodeTokenScope, "the token does not have "+string(op.rule.verb))
	}
	return nil
}

// takesToken tells whether it can be done with a token that has its verb.
func (op operation) takesToken() bool {
	return op.rule.verb != "" && !access.LetsIn(op.rule.verb) || op.rule.verb == "" && op.rule.audience == members && op.method == http.MethodGet
}

// security is what the document says about it.
func (op operation) security() []map[string][]string {
	all := []map[string][]string{{"session": {}}}
	if op.takesToken() {
		all = append(all, map[string][]string{"token": {}})
	}
	return all
}

// proofCodes are those that come with the rule of an operation.
func (op operation) proofCodes() []Code {
	if op.rule.audience == everybody {
		return nil
	}
	all := []Code{CodeTokenScope}
	if !slices.Contains(halfway, op.id) {
		all = append(all, CodeSecondFactorNeeded)
	}
	if !slices.Contains(enrolling, op.id) {
		all = append(all, CodeSecondFactorEnrol)
	}
	return all
}

// factorProblem makes problems of what ccc/account refuses about second factors, passkeys
// and tokens.
func factorProblem(err error) error {
	for _, known := range []struct {
		err  error
		code Code
	}{
		{account.ErrStale, CodeProofStale},
		{account.ErrCode, CodeWrongCode},
		{account.ErrNoFactor, CodeNoFactor},
		{account.ErrLastFactor, CodeLastFactor},
		{account.ErrPasskey, CodePasskey},
		{account.ErrNoPasskeys, CodeNoPasskeys},
		{account.ErrNoSession, CodeUnauthenticated},
	} {
		if errors.Is(err, known.err) {
			return problem(known.code, "")
		}
	}
	if limited, ok := errors.AsType[*account.LimitedError](err); ok {
		return problem(CodeLoginLimited, "").after(limited.RetryAfter)
	}
	return err
}

// registerAccount is the table of the operations about who is signed in.
func (a *API) registerAccount() {
	a.registerFactors()
	a.registerPasskeys()
	a.registerSessions()
	a.registerTokens()
	a.registerOIDCLinks()
}
