package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/comtrexx-cloud/comtrexx/ccc/account"
)

const tagAccount = "account"

// Proof is what a session was proven with.
type Proof struct {
	By    account.Proof `json:"by" enum:"password,second" doc:"second: a second factor after the password, or a passkey"`
	At    time.Time     `json:"at"`
	Fresh bool          `json:"fresh" doc:"Whether it is new enough to change what the person proves himself with"`
	Need  account.Need  `json:"need,omitempty" enum:"second,enrol" doc:"What has to come before anything else. second: the second factor; enrol: a second factor has to be set up"`
}

// Factors are what a person can prove himself with beside the password.
type Factors struct {
	TOTP          bool  `json:"totp" doc:"An app that makes codes"`
	Passkeys      int   `json:"passkeys" doc:"How many there are"`
	RecoveryCodes int   `json:"recovery_codes" doc:"How many are left"`
	Required      bool  `json:"required" doc:"Whether there has to be an app or a passkey"`
	PasskeysHere  bool  `json:"passkeys_here" doc:"Whether passkeys work under this name of the server"`
	Proof         Proof `json:"proof"`
}

// SecondFactor proves it: by one of the two.
type SecondFactor struct {
	TOTP     string `json:"totp,omitempty" minLength:"6" maxLength:"16" doc:"Code of the app" example:"123456"`
	Recovery string `json:"recovery,omitempty" minLength:"16" maxLength:"40" doc:"Recovery code, which is used up then" example:"ABCD-EFGH-IJKL-MNOP"`
}

// TOTPSecret is what an app makes codes with. It is shown this once.
type TOTPSecret struct {
	Secret string `json:"secret" doc:"Base32, to be typed. Secret"`
	URI    string `json:"uri" doc:"Text of a QR code. Secret"`
}

// TOTPCode is a code of an app.
type TOTPCode struct {
	Code string `json:"code" minLength:"6" maxLength:"16" example:"123456"`
}

// RecoveryCodes help where the second factor is lost. They are shown this once.
type RecoveryCodes struct {
	Codes []string `json:"codes" nullable:"false" doc:"Each is good once. Empty where those of before are still good. Secret"`
}

// registerFactors is the table of the operations about second factors.
func (a *API) registerFactors() {
	const totp = "/account/totp"
	add(a, operation{
		id: "prove", method: http.MethodPost, path: "/session/second-factor", tag: tagSession, rule: signedIn,
		summary:     "Prove the second factor",
		description: "The second step of a sign-in, or a new proof later. The session's cookie has a new token.",
		codes:       []Code{CodeWrongCode, CodeNoFactor, CodeLoginLimited},
	}, a.prove)
	add(a, operation{
		id: "getFactors", method: http.MethodGet, path: "/account/factors", tag: tagAccount, rule: signedIn,
		summary: "What the person can prove himself with",
	}, a.getFactors)
	add(a, operation{
		id: "beginTOTP", method: http.MethodPost, path: totp, tag: tagAccount, rule: signedIn,
		summary: "Get a secret for an app that makes codes", description: "It counts once a code of it was confirmed; one of before goes on until then.",
		codes: []Code{CodeProofStale},
	}, a.beginTOTP)
	add(a, operation{
		id: "confirmTOTP", method: http.MethodPut, path: totp, tag: tagAccount, rule: signedIn,
		summary: "Set the app up with a first code", description: "Gives recovery codes where there are none. The session's cookie has a new token.",
		codes: []Code{CodeProofStale, CodeWrongCode, CodeNoFactor},
	}, a.confirmTOTP)
	add(a, operation{
		id: "removeTOTP", method: http.MethodDelete, path: totp, tag: tagAccount, rule: signedIn, status: http.StatusNoContent,
		summary: "Do without the app", codes: []Code{CodeProofStale, CodeLastFactor},
	}, a.removeTOTP)
	add(a, operation{
		id: "newRecoveryCodes", method: http.MethodPost, path: "/account/recovery-codes", tag: tagAccount, rule: signedIn,
		summary: "Make new recovery codes", description: "Those of before are void.",
		codes: []Code{CodeProofStale, CodeNoFactor},
	}, a.newRecoveryCodes)
}

func proofOf(s account.Standing) Proof {
	return Proof{By: s.Proof, At: s.Proved, Fresh: s.Fresh, Need: s.Need}
}

// Host takes the host that the client asked for.
type Host struct{ host string }

// Resolve is called by huma.
func (h *Host) Resolve(ctx huma.Context) []error {
	h.host = hostOf(&http.Request{Host: ctx.Host()})
	return nil
}

func (a *API) getFactors(ctx context.Context, in *struct{ Host }) (*body[Factors], error) {
	s := mustActor(ctx).standing
	return &body[Factors]{Body: Factors{
		TOTP: s.Factors.TOTP, Passkeys: s.Factors.Passkeys, RecoveryCodes: s.Factors.Recovery,
		Required: a.cfg.Accounts.MustHaveSecond(s.User), PasskeysHere: a.cfg.Accounts.PasskeysHere(in.host), Proof: proofOf(s),
	}}, nil
}

type proveInput struct {
	Remote
	Body SecondFactor
}

func (a *API) prove(ctx context.Context, in *proveInput) (*cookieOutput[Me], error) {
	if (in.Body.TOTP == "") == (in.Body.Recovery == "") {
		return nil, problem(CodeInvalid, "", FieldError{"body.totp", FieldInvalid, "or recovery is to be there, and not both"})
	}
	cookie, err := a.cfg.Accounts.Prove(ctx, account.Evidence{TOTP: in.Body.TOTP, Recovery: in.Body.Recovery}, account.Prefix(in.addr))
	if err != nil {
		return nil, factorProblem(err)
	}
	return a.signedInNow(ctx, cookie)
}

// signedInNow is the answer with the cookie of a session that was just made.
func (a *API) signedInNow(ctx context.Context, cookie *http.Cookie) (*cookieOutput[Me], error) {
	who, err := a.whoIs(ctx)
	if err != nil {
		return nil, factorProblem(err)
	}
	return &cookieOutput[Me]{Cookie: cookie.String(), Body: me(who)}, nil
}

func (a *API) beginTOTP(ctx context.Context, in *struct{ Host }) (*body[TOTPSecret], error) {
	secret, err := a.cfg.Accounts.NewTOTP(ctx, a.brand(in.host).Name+" Control Center")
	if err != nil {
		return nil, factorProblem(err)
	}
	return &body[TOTPSecret]{Body: TOTPSecret{Secret: secret.Secret, URI: secret.URI}}, nil
}

func (a *API) confirmTOTP(ctx context.Context, in *body[TOTPCode]) (*cookieOutput[RecoveryCodes], error) {
	cookie, codes, err := a.cfg.Accounts.ConfirmTOTP(ctx, in.Body.Code)
	if err != nil {
		return nil, factorProblem(err)
	}
	return &cookieOutput[RecoveryCodes]{Cookie: cookie.String(), Body: recoveryCodes(codes)}, nil
}

func recoveryCodes(codes []string) RecoveryCodes {
	if codes == nil {
		codes = []string{}
	}
	return RecoveryCodes{Codes: codes}
}

func (a *API) removeTOTP(ctx context.Context, _ *nothing) (*nothing, error) {
	return nil, factorProblem(a.cfg.Accounts.RemoveTOTP(ctx))
}

func (a *API) newRecoveryCodes(ctx context.Context, _ *nothing) (*body[RecoveryCodes], error) {
	codes, err := a.cfg.Accounts.NewRecoveryCodes(ctx)
	if err != nil {
		return nil, factorProblem(err)
	}
	return &body[RecoveryCodes]{Body: recoveryCodes(codes)}, nil
}
