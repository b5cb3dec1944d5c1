package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Passkey is a key that an authenticator of the person keeps.
type Passkey struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"`
}

// PasskeyList is all passkeys of the person, the oldest first.
type PasskeyList struct {
	Items []Passkey `json:"items" nullable:"false"`
}

// PasskeyName names one.
type PasskeyName struct {
	Name string `json:"name" minLength:"1" maxLength:"60" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
}

// NewPasskey is the answer of a browser that has made one.
type NewPasskey struct {
	Name       string         `json:"name" minLength:"1" maxLength:"60" pattern:"^[^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*$" patternDescription:"a line of text that is not blank"`
	Credential map[string]any `json:"credential" doc:"PublicKeyCredential.toJSON()"`
}

// PasskeyProof is the answer of a browser that has proven one.
type PasskeyProof struct {
	Credential map[string]any `json:"credential" doc:"PublicKeyCredential.toJSON()"`
}

// PasskeyOptions are for the browser (WebAuthn §5.4 and §5.5), in their JSON form.
type PasskeyOptions struct {
	PublicKey map[string]any `json:"publicKey" doc:"For PublicKeyCredential.parseCreationOptionsFromJSON or parseRequestOptionsFromJSON"`
}

// AddedPasskey is a new passkey.
type AddedPasskey struct {
	Passkey Passkey  `json:"passkey"`
	Codes   []string `json:"codes" nullable:"false" doc:"Recovery codes, where there were none. Secret"`
}

// registerPasskeys is the table of the operations about passkeys.
func (a *API) registerPasskeys() {
	const list, one, signIn = "/account/passkeys", "/account/passkeys/{passkey}", "/session/passkey"
	add(a, operation{
		id: "beginPasskeySignIn", method: http.MethodPost, path: signIn + "/options", tag: tagSession, rule: public,
		summary: "Begin to sign in with a passkey", description: "Sets a cookie that the second step wants back, within five minutes.",
		codes: []Code{CodeNoPasskeys},
	}, a.beginPasskeySignIn)
	add(a, operation{
		id: "signInByPasskey", method: http.MethodPost, path: signIn, tag: tagSession, rule: public,
		summary: "Sign in with a passkey", description: "It stands for password and second factor. Sets the session's cookie.",
		codes: []Code{CodeNoPasskeys, CodePasskey, CodeUnauthenticated},
	}, a.signInByPasskey)
	add(a, operation{
		id: "listPasskeys", method: http.MethodGet, path: list, tag: tagAccount, rule: signedIn,
		summary: "The person's passkeys",
	}, a.listPasskeys)
	add(a, operation{
		id: "beginPasskey", method: http.MethodPost, path: list + "/options", tag: tagAccount, rule: signedIn,
		summary: "Begin to add a passkey", codes: []Code{CodeNoPasskeys, CodeProofStale},
	}, a.beginPasskey)
	add(a, operation{
		id: "addPasskey", method: http.MethodPost, path: list, tag: tagAccount, rule: signedIn, status: http.StatusCreated,
		summary: "Add a passkey", description: "Gives recovery codes where there are none. The session's cookie has a new token.",
		codes: []Code{CodeNoPasskeys, CodePasskey, CodeProofStale},
	}, a.addPasskey)
	add(a, operation{
		id: "renamePasskey", method: http.MethodPatch, path: one, tag: tagAccount, rule: signedIn, status: http.StatusNoContent,
		summary: "Give a passkey another name",
	}, a.renamePasskey)
	add(a, operation{
		id: "removePasskey", method: http.MethodDelete, path: one, tag: tagAccount, rule: signedIn, status: http.StatusNoContent,
		summary: "Remove a passkey", codes: []Code{CodeProofStale, CodeLastFactor},
	}, a.removePasskey)
}

// passkeyOptions reads what the library made, which is more than the browser's part.
func passkeyOptions(text json.RawMessage) (o PasskeyOptions, err error) {
	return o, json.Unmarshal(text, &o)
}

func (a *API) beginPasskeySignIn(ctx context.Context, _ *nothing) (*cookieOutput[PasskeyOptions], error) {
	text, cookie, err := a.cfg.Accounts.BeginPasskeySignIn(ctx)
	if err != nil {
		return nil, factorProblem(err)
	}
	o, err := passkeyOptions(text)
	return &cookieOutput[PasskeyOptions]{Cookie: cookie.String(), Body: o}, err
}

func (a *API) signInByPasskey(ctx context.Context, in *body[PasskeyProof]) (*cookieOutput[Me], error) {
	answer, err := json.Marshal(in.Body.Credential)
	if err != nil {
		return nil, err
	}
	cookie, err := a.cfg.Accounts.SignInByPasskey(ctx, answer)
	if err != nil {
		return nil, factorProblem(err)
	}
	return a.signedInNow(ctx, cookie)
}

func passkeyOf(k store.Passkey) Passkey {
	return Passkey{ID: string(k.ID), Name: k.Name, CreatedAt: k.Created, LastUsedAt: k.LastUsed}
}

func (a *API) listPasskeys(ctx context.Context, _ *nothing) (*body[PasskeyList], error) {
	all, err := a.cfg.Accounts.Passkeys(ctx)
	if err != nil {
		return nil, factorProblem(err)
	}
	out := &body[PasskeyList]{Body: PasskeyList{Items: make([]Passkey, len(all))}}
	for i, k := range all {
		out.Body.Items[i] = passkeyOf(k)
	}
	return out, nil
}

func (a *API) beginPasskey(ctx context.Context, _ *nothing) (*body[PasskeyOptions], error) {
	text, err := a.cfg.Accounts.BeginPasskey(ctx)
	if errors.Is(err, store.ErrLimit) {
		return nil, problem(CodeInvalid, "", FieldError{"body", FieldTooMany, "there are as many passkeys as there may be"})
	}
	if err != nil {
		return nil, factorProblem(err)
	}
	o, err := passkeyOptions(text)
	return &body[PasskeyOptions]{Body: o}, err
}

func (a *API) addPasskey(ctx context.Context, in *body[NewPasskey]) (*cookieOutput[AddedPasskey], error) {
	answer, err := json.Marshal(in.Body.Credential)
	if err != nil {
		return nil, err
	}
	key, cookie, codes, err := a.cfg.Accounts.AddPasskey(ctx, in.Body.Name, answer)
	if err != nil {
		return nil, factorProblem(err)
	}
	return &cookieOutput[AddedPasskey]{
		Cookie: cookie.String(), Body: AddedPasskey{Passkey: passkeyOf(key), Codes: recoveryCodes(codes).Codes},
	}, nil
}

// PasskeyPath is the passkey in an address.
type PasskeyPath struct {
	Passkey string `path:"passkey" maxLength:"64" doc:"Id of the passkey"`
}

type renamePasskeyInput struct {
	PasskeyPath
	Body PasskeyName
}

func (a *API) renamePasskey(ctx context.Context, in *renamePasskeyInput) (*nothing, error) {
	return nil, factorProblem(a.cfg.Accounts.RenamePasskey(ctx, store.PasskeyID(in.Passkey), in.Body.Name))
}

func (a *API) removePasskey(ctx context.Context, in *PasskeyPath) (*nothing, error) {
	return nil, factorProblem(a.cfg.Accounts.RemovePasskey(ctx, store.PasskeyID(in.Passkey)))
}
