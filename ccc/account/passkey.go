package account

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

var (
	// ErrNoPasskeys: there is no external URL, or the request came under another name.
	ErrNoPasskeys = errors.New("there are no passkeys here")
	// ErrPasskey: the answer of the authenticator is not right, or too late, or came
	// before.
	ErrPasskey = errors.New("the passkey was not accepted")
)

// MaxPasskeys is how many a user may have.
const MaxPasskeys = 20

// challengeLife is how long an authenticator may take.
const challengeLife = 5 * time.Minute

// The kinds of challenges.
const (
	addKind    = "add"
	signInKind = "sign-in"
)

// The cookie that holds a sign-in by passkey together, as [SecureCookie] does a session.
const (
	securePasskeyCookie = "__Host-ccc-passkey"
	plainPasskeyCookie  = "ccc-passkey"
)

// relyingParty is who passkeys are for (WebAuthn §4).
type relyingParty struct {
	host   string // the RP ID
	origin string
	local  bool // on this machine: with any port
}

// newRelyingParty reads the external URL; none is nil.
func newRelyingParty(external string) (*relyingParty, error) {
	if external == "" {
		return nil, nil //nolint:nilnil // there are no passkeys then
	}
	u, err := url.Parse(external)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil ||
		u.Hostname() != strings.ToLower(u.Hostname()) {
		return nil, errors.New("is not an address in small letters without a path, as in https://ccc.example.com")
	}
	host := u.Hostname()
	local := configs.IsLoopback(host) || strings.HasSuffix(host, ".localhost")
	switch {
	case net.ParseIP(host) != nil:
		return nil, errors.New("has an IP address, which no passkey can be bound to; use a name")
	case u.Scheme != "https" && (u.Scheme != "http" || !local):
		return nil, errors.New("is not https")
	}
	return &relyingParty{host: host, origin: u.Scheme + "://" + u.Host, local: local}, nil
}

// here gives what checks passkeys for a request, and fails with [ErrNoPasskeys] where
// there are none.
func (p *relyingParty) here(req *request) (*webauthn.WebAuthn, error) {
	if p == nil || req == nil || req.hostname() != p.host {
		return nil, ErrNoPasskeys
	}
	origin := p.origin
	if p.local {
		origin = "http://" + req.host
		if req.secure {
			origin = "https://" + req.host
		}
	}
	return webauthn.New(&webauthn.Config{
		RPID: p.host, RPDisplayName: "COMtrexx Control Center", RPOrigins: []string{origin},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification: protocol.VerificationRequired,
		},
	})
}

// PasskeysHere tells whether passkeys work at the name that a request came under.
func (a *Accounts) PasskeysHere(host string) bool { return a.party != nil && a.party.host == host }

// keyOwner is a user as the library wants him.
type keyOwner struct {
	user store.User
	keys []webauthn.Credential
}

// WebAuthnID is the user handle.
func (o keyOwner) WebAuthnID() []byte { return []byte(o.user.ID) }

// WebAuthnName tells accounts apart.
func (o keyOwner) WebAuthnName() string { return o.user.Email }

// WebAuthnDisplayName is for people.
func (o keyOwner) WebAuthnDisplayName() string {
	if o.user.Name == "" {
		return o.user.Email
	}
	return o.user.Name
}

// WebAuthnCredentials are his keys.
func (o keyOwner) WebAuthnCredentials() []webauthn.Credential { return o.keys }

func ownerOf(tx *store.Tx, user store.User) (keyOwner, []store.Passkey, error) {
	all, err := tx.Passkeys(user.ID)
	o := keyOwner{user: user, keys: make([]webauthn.Credential, len(all))}
	for i, k := range all {
		err = errors.Join(err, json.Unmarshal(k.Data, &o.keys[i]))
	}
	return o, all, err
}

// BeginPasskey gives what the browser of who is signed in is to make a passkey with: the
// argument of navigator.credentials.create, as JSON. The errors are [ErrNoSession],
// [ErrStale], [ErrNoPasskeys], and store.ErrLimit.
func (a *Accounts) BeginPasskey(ctx context.Context) (json.RawMessage, error) {
	s, err := a.fresh(ctx)
	if err != nil {
		return nil, err
	}
	party, err := a.party.here(requestOf(ctx))
	if err != nil {
		return nil, err
	}
	var owner keyOwner
	if err := a.db.View(ctx, func(tx *store.Tx) (err error) {
		owner, _, err = ownerOf(tx, s.User)
		return err
	}); err != nil {
		return nil, err
	}
	if len(owner.keys) >= MaxPasskeys {
		return nil, store.ErrLimit
	}
	var has []protocol.CredentialDescriptor
	for _, k := range owner.keys {
		has = append(has, k.Descriptor())
	}
	options, data, err := party.BeginRegistration(owner, webauthn.WithExclusions(has))
	if err != nil {
		return nil, err
	}
	return a.challenge(ctx, hashToken(a.sessions.Token(ctx)), addKind, data, options)
}

// challenge keeps what the answer is checked with.
func (a *Accounts) challenge(ctx context.Context, holder store.TokenHash, kind string, data *webauthn.SessionData, options any) (json.RawMessage, error) {
	kept, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	if err := a.db.Update(store.Aside(ctx), func(tx *store.Tx) error {
		return tx.PutChallenge(holder, kind, kept, time.Now().Add(challengeLife))
	}); err != nil {
		return nil, err
	}
	return json.Marshal(options)
}

// answered gives what an answer is checked with, once.
func (a *Accounts) answered(ctx context.Context, holder store.TokenHash, kind string) (data webauthn.SessionData, err error) {
	var kept []byte
	err = a.db.Update(store.Aside(ctx), func(tx *store.Tx) (err error) {
		kept, err = tx.TakeChallenge(holder, kind, time.Now())
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return data, ErrPasskey
	}
	if err != nil {
		return data, err
	}
	return data, json.Unmarshal(kept, &data)
}

// AddPasskey takes the browser's answer to [Accounts.BeginPasskey]. It gives the key, the
// cookie of the session, which is proven with it, and recovery codes where the user has
// none. The errors are those of BeginPasskey, and [ErrPasskey].
func (a *Accounts) AddPasskey(ctx context.Context, name string, answer json.RawMessage) (key store.Passkey, cookie *http.Cookie, codes []string, err error) {
	s, err := a.fresh(ctx)
	if err != nil {
		return key, nil, nil, err
	}
	party, err := a.party.here(requestOf(ctx))
	if err != nil {
		return key, nil, nil, err
	}
	data, err := a.answered(ctx, hashToken(a.sessions.Token(ctx)), addKind)
	if err != nil {
		return key, nil, nil, err
	}
	made, err := a.madeKey(party, s.User, data, answer)
	if err != nil {
		return key, nil, nil, err
	}
	kept, err := json.Marshal(made)
	if err != nil {
		return key, nil, nil, err
	}
	key = store.Passkey{
		ID: store.NewID[store.PasskeyID](), User: s.User.ID, Credential: made.ID, Name: name, Data: kept,
		Created: time.Now().UTC().Truncate(time.Millisecond),
	}
	err = a.db.Update(ctx, func(tx *store.Tx) error {
		if err := tx.CreatePasskey(key); err != nil {
			return err
		}
		codes, err = firstCodes(tx, s.User.ID)
		return err
	})
	if errors.Is(err, store.ErrConflict) {
		err = ErrPasskey
	}
	if err != nil {
		return key, nil, nil, err
	}
	a.cfg.Logger.Info("an account has a new passkey", "user", s.User.ID, "passkey", key.ID)
	cookie, err = a.enter(ctx, s.User, BySecond)
	return key, cookie, codes, err
}

// madeKey checks an authenticator's answer and gives the new key.
func (a *Accounts) madeKey(party *webauthn.WebAuthn, user store.User, data webauthn.SessionData, answer json.RawMessage) (*webauthn.Credential, error) {
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return nil, a.refused(err)
	}
	made, err := party.CreateCredential(keyOwner{user: user}, data, parsed)
	if err != nil {
		return nil, a.refused(err)
	}
	made.Attestation = webauthn.CredentialAttestation{} // nothing was asked for, and nothing is kept
	return made, nil
}

// refused hides why, which is for the log alone.
func (a *Accounts) refused(err error) error {
	detail := err.Error()
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		detail += ": " + e.DevInfo
	}
	a.cfg.Logger.Debug("a passkey was not accepted", "error", detail)
	return ErrPasskey
}

// BeginPasskeySignIn gives what the browser is to prove a passkey with: the argument of
// navigator.credentials.get, as JSON, and the cookie that [Accounts.SignInByPasskey]
// wants back. The error is [ErrNoPasskeys].
func (a *Accounts) BeginPasskeySignIn(ctx context.Context) (json.RawMessage, *http.Cookie, error) {
	req := requestOf(ctx)
	party, err := a.party.here(req)
	if err != nil {
		return nil, nil, err
	}
	options, data, err := party.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, nil, err
	}
	token := rand.Text()
	text, err := a.challenge(ctx, hashToken(token), signInKind, data, options)
	return text, req.passkeyCookie(token), err
}

// passkeyCookie is not sent with what another site asks for.
func (r *request) passkeyCookie(token string) *http.Cookie {
	return &http.Cookie{
		Name: r.passkeyCookieName(), Value: token, Path: "/", HttpOnly: true, Secure: r.secure,
		SameSite: http.SameSiteStrictMode, MaxAge: int(challengeLife / time.Second),
	}
}

func (r *request) passkeyCookieName() string {
	if r.secure {
		return securePasskeyCookie
	}
	return plainPasskeyCookie
}

// SignInByPasskey takes the browser's answer to [Accounts.BeginPasskeySignIn], and gives
// the cookie of the new session. The errors are [ErrNoPasskeys] and [ErrPasskey]: also where
// the key's counter went back, which says that there are two of it.
func (a *Accounts) SignInByPasskey(ctx context.Context, answer json.RawMessage) (*http.Cookie, error) {
	req := requestOf(ctx)
	party, err := a.party.here(req)
	if err != nil {
		return nil, err
	}
	data, err := a.answered(ctx, hashToken(req.passkey), signInKind)
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return nil, a.refused(err)
	}
	var user store.User
	err = a.db.Update(store.Aside(ctx), func(tx *store.Tx) (err error) {
		user, err = a.checkKey(tx, party, data, parsed)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a.enter(ctx, user, BySecond)
}

// checkKey checks the signature, and notes the use.
func (a *Accounts) checkKey(tx *store.Tx, party *webauthn.WebAuthn, data webauthn.SessionData, parsed *protocol.ParsedCredentialAssertionData) (store.User, error) {
	user, err := tx.UserByCredential(parsed.RawID)
	if errors.Is(err, store.ErrNotFound) || err == nil && user.Disabled {
		return user, ErrPasskey
	}
	if err != nil {
		return user, err
	}
	owner, keys, err := ownerOf(tx, user)
	if err != nil {
		return user, err
	}
	_, now, err := party.ValidatePasskeyLogin(func(_, handle []byte) (webauthn.User, error) {
		if string(handle) != string(user.ID) {
			return nil, ErrPasskey
		}
		return owner, nil
	}, data, parsed)
	if err != nil {
		return user, a.refused(err)
	}
	for _, k := range keys {
		if string(k.Credential) != string(now.ID) {
			continue
		}
		if now.Authenticator.CloneWarning {
			a.cfg.Logger.Error("the counter of a passkey went back: there may be a copy of it; remove it", "user", user.ID, "passkey", k.ID)
			return user, ErrPasskey
		}
		kept, err := json.Marshal(now)
		if err != nil {
			return user, err
		}
		return user, tx.UsePasskey(user.ID, k.ID, kept, time.Now())
	}
	return user, ErrPasskey
}

// Passkeys gives those of who is signed in, the oldest first.
func (a *Accounts) Passkeys(ctx context.Context) (all []store.Passkey, err error) {
	s, err := a.session(ctx)
	if err != nil {
		return nil, err
	}
	err = a.db.View(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.Passkeys(s.User.ID)
		return err
	})
	return all, err
}

// RenamePasskey gives one another name. The errors are [ErrNoSession] and
// store.ErrNotFound.
func (a *Accounts) RenamePasskey(ctx context.Context, id store.PasskeyID, name string) error {
	s, err := a.session(ctx)
	if err != nil {
		return err
	}
	return a.db.Update(ctx, func(tx *store.Tx) error { return tx.RenamePasskey(s.User.ID, id, name) })
}

// RemovePasskey removes one. The errors are [ErrNoSession], [ErrStale], [ErrLastFactor] and
// store.ErrNotFound.
func (a *Accounts) RemovePasskey(ctx context.Context, id store.PasskeyID) error {
	s, err := a.fresh(ctx)
	if err != nil {
		return err
	}
	return a.db.Update(ctx, func(tx *store.Tx) error {
		if err := tx.DeletePasskey(s.User.ID, id); err != nil {
			return err
		}
		return a.keepsFactor(tx, s.User)
	})
}
