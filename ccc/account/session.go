package account

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// The names of the session's cookie. The first one a browser takes over https alone,
// and from this host alone (RFC 6265bis §4.1.3.2).
const (
	SecureCookie = "__Host-ccc"
	PlainCookie  = "ccc"
)

// The values of a session.
const (
	userValue   = "user"
	tenantValue = "tenant"
)

// touches is how often in Idle the use of a session is noted down.
const touches = 30

var noPrefix netip.Prefix

// newManager does without scs.New, which starts a goroutine that never ends for a store of
// its own.
func newManager(cfg Config) *scs.SessionManager {
	return &scs.SessionManager{Lifetime: cfg.Lifetime, IdleTimeout: cfg.Idle, Codec: codec{}, Store: &sessionStore{cfg: cfg}}
}

// request is what the middleware knows of one.
type request struct {
	secure  bool
	host    string          // that it asked for, with the port
	session store.Session   // as it was found; zero: none
	bearer  bool            // it has a token in place of a session
	token   *store.APIToken // nil: none, or not a good one
	passkey string          // the cookie of a sign-in by passkey
	oidc    string          // the same of one at an OpenID provider
}

type requestKey struct{}

func requestOf(ctx context.Context) *request {
	req, _ := ctx.Value(requestKey{}).(*request)
	return req
}

// hostname is the host in small letters, without the port.
func (r *request) hostname() string {
	host := r.host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(host)
}

// Middleware finds the session of a request by its cookie, or its API token, for the other
// methods, and notes that it was used.
func (a *Accounts) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := &request{secure: r.TLS != nil, host: r.Host, bearer: Bearer(r)}
		var token string
		if c, err := r.Cookie(req.cookieName()); err == nil && !req.bearer {
			token = c.Value
		}
		if c, err := r.Cookie(req.passkeyCookieName()); err == nil {
			req.passkey = c.Value
		}
		if c, err := r.Cookie(req.oidcCookieName()); err == nil {
			req.oidc = c.Value
		}
		ctx := context.WithValue(r.Context(), requestKey{}, req)
		ctx, err := a.sessions.Load(ctx, token)
		switch {
		case err != nil:
		case req.bearer:
			err = a.useToken(ctx, r, req)
		default:
			err = a.touch(ctx, req.session)
		}
		if err != nil {
			if r.Context().Err() == nil {
				a.cfg.Logger.Error("sessions cannot be read", "err", err)
			}
			http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
			return
		}
		w.Header().Add("Vary", "Cookie, Authorization")
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// touch notes use. It does not bring back a session that has been ended since it was
// found.
func (a *Accounts) touch(ctx context.Context, s store.Session) error {
	now := time.Now()
	if s.Created.IsZero() || now.Sub(s.LastSeen) < a.cfg.Idle/touches {
		return nil
	}
	err := a.db.Update(ctx, func(tx *store.Tx) error {
		return tx.TouchSession(s.TokenHash, now, expiry(a.cfg, s.Created, now))
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

func expiry(cfg Config, created, lastSeen time.Time) time.Time {
	end, idle := created.Add(cfg.Lifetime), lastSeen.Add(cfg.Idle)
	if idle.Before(end) {
		return idle
	}
	return end
}

// Begin makes a session for a user whom [Accounts.SignIn] gave, in place of the one that
// the request came with, and gives its cookie.
func (a *Accounts) Begin(ctx context.Context, user store.User) (*http.Cookie, error) {
	return a.enter(ctx, user, ByPassword)
}

// End ends the session and gives the cookie that removes the browser's. Without a
// session it does the same.
func (a *Accounts) End(ctx context.Context) (*http.Cookie, error) {
	if err := a.sessions.Destroy(ctx); err != nil {
		return nil, err
	}
	return cookie(ctx, ""), nil
}

func (r *request) cookieName() string {
	if r.secure {
		return SecureCookie
	}
	return PlainCookie
}

// cookie ends with the browser; how long the session lasts is the server's affair.
func cookie(ctx context.Context, token string) *http.Cookie {
	req := requestOf(ctx)
	c := &http.Cookie{
		Name: req.cookieName(), Value: token, Path: "/", HttpOnly: true, Secure: req.secure, SameSite: http.SameSiteLaxMode,
	}
	if token == "" {
		c.MaxAge = -1
	}
	return c
}

// Current gives who is signed in, or whose token came, as he is now. The error is
// [ErrNoSession] where nobody is, or where he was disabled.
func (a *Accounts) Current(ctx context.Context) (store.User, error) {
	return a.current(ctx, func(*store.Tx, store.User) error { return nil })
}

// current also reads what more is wanted about him, in the same transaction.
func (a *Accounts) current(ctx context.Context, more func(*store.Tx, store.User) error) (store.User, error) {
	id, tenant := a.sessions.GetString(ctx, userValue), a.sessions.GetString(ctx, tenantValue)
	if req := requestOf(ctx); req != nil && req.token != nil {
		id, tenant = string(req.token.User), string(req.token.Tenant)
	}
	if id == "" {
		return store.User{}, ErrNoSession
	}
	var user store.User
	err := a.db.View(ctx, func(tx *store.Tx) (err error) {
		if user, err = tx.User(store.TenantID(tenant), store.UserID(id)); err != nil {
			return err
		}
		if user.Disabled {
			return ErrNoSession
		}
		return more(tx, user)
	})
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, ErrNoSession) {
		return store.User{}, ErrNoSession
	}
	return user, err
}

// Alive looks whether the session, or the token, that a request has begun with is still
// there, and its proof still enough, for answers that take long. The error is
// [ErrNoSession] where it is not.
func (a *Accounts) Alive(ctx context.Context) error {
	if req := requestOf(ctx); req != nil && req.token != nil {
		if _, err := a.findToken(ctx, req.token.Hash); err != nil {
			return err
		}
	} else {
		_, found, err := a.sessions.Store.(*sessionStore).FindCtx(ctx, a.sessions.Token(ctx))
		if err == nil && !found {
			err = ErrNoSession
		}
		if err != nil {
			return err
		}
	}
	s, err := a.Standing(ctx)
	if err == nil && s.Need != "" {
		err = ErrNoSession
	}
	return err
}

// SessionInfo describes one of a user's sessions.
type SessionInfo struct {
	ID                         string // says nothing about the token
	Created, LastSeen, Expires time.Time
	Proof                      Proof
	Current                    bool // the one that asks
}

// sessionID names a session.
func sessionID(hash store.TokenHash) string {
	sum := sha256.Sum256(append([]byte("ccc session id "), hash[:]...))
	return hex.EncodeToString(sum[:16])
}

func infoOf(cfg Config, s store.Session) SessionInfo {
	i := SessionInfo{ID: sessionID(s.TokenHash), Created: s.Created, LastSeen: s.LastSeen, Expires: expiry(cfg, s.Created, s.LastSeen), Proof: ByPassword}
	if _, values, err := (codec{}).Decode(s.Data); err == nil && (values[proofValue] == string(BySecond) || values[proofValue] == string(byProvider)) {
		i.Proof = BySecond
	}
	return i
}

// Sessions gives those of who is signed in, the one used last first.
func (a *Accounts) Sessions(ctx context.Context) (infos []SessionInfo, err error) {
	who, err := a.session(ctx)
	if err != nil {
		return nil, err
	}
	err = a.db.View(ctx, func(tx *store.Tx) error {
		all, err := tx.UserSessions(who.User.ID)
		infos = make([]SessionInfo, 0, len(all))
		mine, now := hashToken(a.sessions.Token(ctx)), time.Now()
		for _, s := range all {
			if valid(a.cfg, s, now) {
				info := infoOf(a.cfg, s)
				info.Current = s.TokenHash == mine
				infos = append(infos, info)
			}
		}
		return err
	})
	return infos, err
}

// EndSession ends one session of who is signed in. The errors are [ErrNoSession] and
// store.ErrNotFound.
func (a *Accounts) EndSession(ctx context.Context, id string) error {
	who, err := a.session(ctx)
	if err != nil {
		return err
	}
	return a.db.Update(ctx, func(tx *store.Tx) error {
		all, err := tx.UserSessions(who.User.ID)
		if err != nil {
			return err
		}
		for _, s := range all {
			if sessionID(s.TokenHash) == id {
				return tx.DeleteSession(s.TokenHash)
			}
		}
		return store.ErrNotFound
	})
}

// EndOthers ends all sessions of who is signed in but this one, and tells how many.
func (a *Accounts) EndOthers(ctx context.Context) (n int, err error) {
	who, err := a.session(ctx)
	if err != nil {
		return 0, err
	}
	err = a.db.Update(ctx, func(tx *store.Tx) (err error) {
		n, err = tx.DeleteUserSessions(who.User.ID, hashToken(a.sessions.Token(ctx)))
		return err
	})
	return n, err
}

// ChangePassword replaces the password of who is signed in, ends all other sessions and
// gives this one a new token, in the cookie. His API tokens and passkeys stay. A wrong current password counts as one at
// the sign-in; the errors are the same, [InvalidError] for the new one, and [ErrStale] for
// who has a second factor and has not given it of late.
func (a *Accounts) ChangePassword(ctx context.Context, current, password string, prefix netip.Prefix) (*http.Cookie, error) {
	who, err := a.session(ctx)
	if err != nil {
		return nil, err
	}
	if who.Factors.Any() && !who.Fresh {
		return nil, ErrStale
	}
	user := who.User
	if _, err := checkPassword(password, user.Email); err != nil {
		return nil, err
	}
	if user, err = a.SignIn(ctx, user.Email, current, prefix); err != nil {
		return nil, err
	}
	if err := a.replacePassword(ctx, &user, password, hashToken(a.sessions.Token(ctx)), func(*store.Tx) error { return nil }); err != nil {
		return nil, err
	}
	return a.enter(ctx, user, who.Proof)
}

// hashToken: the token is random, so that a plain hash gives nothing away.
func hashToken(token string) store.TokenHash { return sha256.Sum256([]byte(token)) }

func valid(cfg Config, s store.Session, now time.Time) bool {
	return now.Before(s.Expires) && now.Before(expiry(cfg, s.Created, s.LastSeen))
}

// sessionStore keeps sessions in the store for scs.
type sessionStore struct{ cfg Config }

var _ scs.CtxStore = (*sessionStore)(nil)

// FindCtx finds a session that has not expired, and leaves it in the request.
func (s *sessionStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	var found store.Session
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		found, err = tx.Session(hashToken(token))
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && !valid(s.cfg, found, time.Now()) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if req, ok := ctx.Value(requestKey{}).(*request); ok {
		req.session = found
	}
	return found.Data, true, nil
}

// CommitCtx keeps a new session. It has to be a user's.
func (s *sessionStore) CommitCtx(ctx context.Context, token string, data []byte, expires time.Time) error {
	_, values, err := codec{}.Decode(data)
	if err != nil {
		return err
	}
	user, _ := values[userValue].(string)
	now := time.Now()
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.PutSession(store.Session{
			TokenHash: hashToken(token), User: store.UserID(user), Data: data, Created: now, LastSeen: now, Expires: expires,
		})
	})
}

// DeleteCtx ends a session.
func (s *sessionStore) DeleteCtx(ctx context.Context, token string) error {
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error { return tx.DeleteSession(hashToken(token)) })
}

// Find is FindCtx; scs calls the methods with a context.
func (s *sessionStore) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

// Commit is CommitCtx.
func (s *sessionStore) Commit(token string, data []byte, expires time.Time) error {
	return s.CommitCtx(context.Background(), token, data, expires)
}

// Delete is DeleteCtx.
func (s *sessionStore) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }

// codec keeps a session as JSON. Its values are texts.
type codec struct{}

type encoded struct {
	Deadline time.Time         `json:"deadline"`
	Values   map[string]string `json:"values"`
}

// Encode implements [scs.Codec].
func (codec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	e := encoded{deadline, make(map[string]string, len(values))}
	for key, v := range values {
		text, ok := v.(string)
		if !ok {
			return nil, errors.New("session: the value " + key + " is no text")
		}
		e.Values[key] = text
	}
	return json.Marshal(e)
}

// Decode implements [scs.Codec].
func (codec) Decode(data []byte) (time.Time, map[string]any, error) {
	var e encoded
	if err := json.Unmarshal(data, &e); err != nil {
		return time.Time{}, nil, err
	}
	values := make(map[string]any, len(e.Values))
	for key, v := range e.Values {
		values[key] = v
	}
	return e.Deadline, values, nil
}
