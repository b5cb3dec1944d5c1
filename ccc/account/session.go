package account

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
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
	session store.Session // as it was found; zero: none
}

type requestKey struct{}

// Middleware finds the session of a request by its cookie, for the other methods, and
// notes that it was used.
func (a *Accounts) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := &request{secure: r.TLS != nil}
		var token string
		if c, err := r.Cookie(req.cookieName()); err == nil {
			token = c.Value
		}
		ctx := context.WithValue(r.Context(), requestKey{}, req)
		ctx, err := a.sessions.Load(ctx, token)
		if err == nil {
			err = a.touch(ctx, req.session)
		}
		if err != nil {
			if r.Context().Err() == nil {
				a.cfg.Logger.Error("sessions cannot be read", "err", err)
			}
			http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
			return
		}
		w.Header().Add("Vary", "Cookie")
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
	if err := errors.Join(a.sessions.Clear(ctx), a.sessions.RenewToken(ctx)); err != nil {
		return nil, err
	}
	a.sessions.Put(ctx, userValue, string(user.ID))
	a.sessions.Put(ctx, tenantValue, string(user.Tenant))
	token, _, err := a.sessions.Commit(ctx)
	if err != nil {
		return nil, err
	}
	// A change of the password that came between SignIn and here did not see the session.
	now, err := a.Current(ctx)
	if err == nil && now.PasswordHash != user.PasswordHash {
		err = ErrNoSession
	}
	if err != nil {
		return nil, errors.Join(err, a.sessions.Destroy(ctx))
	}
	return cookie(ctx, token), nil
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
	req, _ := ctx.Value(requestKey{}).(*request)
	c := &http.Cookie{
		Name: req.cookieName(), Value: token, Path: "/", HttpOnly: true, Secure: req.secure, SameSite: http.SameSiteLaxMode,
	}
	if token == "" {
		c.MaxAge = -1
	}
	return c
}

// Current gives who is signed in, as he is now. The error is [ErrNoSession] where nobody
// is, or where he was disabled.
func (a *Accounts) Current(ctx context.Context) (store.User, error) {
	id, tenant := a.sessions.GetString(ctx, userValue), a.sessions.GetString(ctx, tenantValue)
	if id == "" {
		return store.User{}, ErrNoSession
	}
	var user store.User
	err := a.db.View(ctx, func(tx *store.Tx) (err error) {
		user, err = tx.User(store.TenantID(tenant), store.UserID(id))
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && user.Disabled {
		return store.User{}, ErrNoSession
	}
	return user, err
}

// Alive looks whether the session that a request has begun with is still there, for
// answers that take long. The error is [ErrNoSession] where it has ended.
func (a *Accounts) Alive(ctx context.Context) error {
	_, found, err := a.sessions.Store.(*sessionStore).FindCtx(ctx, a.sessions.Token(ctx))
	if err == nil && !found {
		return ErrNoSession
	}
	if err != nil {
		return err
	}
	_, err = a.Current(ctx)
	return err
}

// SessionInfo describes one of a user's sessions.
type SessionInfo struct {
	Created, LastSeen, Expires time.Time
	Current                    bool // the one that asks
}

// Sessions gives those of who is signed in, the one used last first.
func (a *Accounts) Sessions(ctx context.Context) ([]SessionInfo, error) {
	user, err := a.Current(ctx)
	if err != nil {
		return nil, err
	}
	var infos []SessionInfo
	err = a.db.View(ctx, func(tx *store.Tx) error {
		all, err := tx.UserSessions(user.ID)
		infos = make([]SessionInfo, 0, len(all))
		mine, now := hashToken(a.sessions.Token(ctx)), time.Now()
		for _, s := range all {
			if valid(a.cfg, s, now) {
				infos = append(infos, SessionInfo{s.Created, s.LastSeen, expiry(a.cfg, s.Created, s.LastSeen), s.TokenHash == mine})
			}
		}
		return err
	})
	return infos, err
}

// EndOthers ends all sessions of who is signed in but this one, and tells how many.
func (a *Accounts) EndOthers(ctx context.Context) (n int, err error) {
	user, err := a.Current(ctx)
	if err != nil {
		return 0, err
	}
	err = a.db.Update(ctx, func(tx *store.Tx) (err error) {
		n, err = tx.DeleteUserSessions(user.ID, hashToken(a.sessions.Token(ctx)))
		return err
	})
	return n, err
}

// ChangePassword replaces the password of who is signed in, ends all other sessions and
// gives this one a new token, in the cookie. A wrong current password counts as one at
// the sign-in; the errors are the same, and [InvalidError] for the new one.
func (a *Accounts) ChangePassword(ctx context.Context, current, password string, prefix netip.Prefix) (*http.Cookie, error) {
	user, err := a.Current(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := checkPassword(password, user.Email); err != nil {
		return nil, err
	}
	if user, err = a.SignIn(ctx, user.Email, current, prefix); err != nil {
		return nil, err
	}
	if err := a.replacePassword(ctx, &user, password, hashToken(a.sessions.Token(ctx))); err != nil {
		return nil, err
	}
	return a.Begin(ctx, user)
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
