package pbx

import (
	"errors"
	"net/http"
	"regexp"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx/password"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// sessionCookie is the API's cookie. The pages have one of their own, with the serial
// in its name: browsers do not keep cookies of two ports apart.
const sessionCookie = "ctx_sessionid"

func (p *PBX) pageCookie() string   { return "ctx_session_" + string(p.Serial()) }
func (p *PBX) deviceCookie() string { return "ctx_device_" + string(p.Serial()) }

// deviceLife is how long a browser keeps its own count of wrong passwords.
const deviceLife = 365 * 24 * time.Hour

// login is who sends a request.
type login struct {
	state.User
	cookie string
}

func (l login) administrator() bool { return l.Role == state.RoleAdministrator }

// autoQuery marks requests that a browser makes by itself: they do not keep a session
// from becoming idle.
const autoQuery = "auto"

// signedIn gives who sends a request.
func (p *PBX) signedIn(r *http.Request) (login, bool) {
	for _, name := range []string{p.pageCookie(), sessionCookie} {
		for _, c := range r.CookiesNamed(name) {
			user, hash, ok := p.sessions.use(c.Value, !r.URL.Query().Has(autoQuery))
			if !ok {
				continue
			}
			if u, ok := p.store.View().User(user); ok && !u.Disabled && u.Hash == hash {
				return login{u, c.Value}, true
			}
		}
	}
	return login{}, false
}

// Answers to wrong credentials.
var errCredentials = problem(http.StatusUnauthorized, "credentials", "User name or password is wrong.")

// errOwn: the password that somebody who has signed in was asked for again is wrong.
var errOwn = problem(http.StatusForbidden, "password", "The password is wrong.")

func errWait(wait time.Duration) *Problem {
	pr := problem(http.StatusTooManyRequests, "locked", "Too many wrong passwords from here. Wait a while.")
	pr.retry = wait
	return pr
}

// check compares a password, within the bounds of the guard. The error is a *Problem,
// the same for a wrong name and a wrong password.
func (p *PBX) check(r *http.Request, name, typed string) (state.User, error) {
	u, known := p.store.View().User(state.UserName(name))
	if !known || u.Disabled {
		u = state.User{} // whose hash is that of nothing
	}
	from := p.sourceOf(r, u.Name)
	if wait := p.guard.try(from); wait > 0 {
		return u, errWait(wait)
	}
	if len(typed) > password.MaxLen {
		return u, errCredentials
	}
	ok, err := p.cfg.Hasher.Compare(r.Context(), typed, u.Hash)
	if err != nil {
		return u, err
	}
	// The user may have gone while the password was looked at.
	if now, still := p.store.View().User(u.Name); !ok || !still || now.Hash != u.Hash || now.Disabled {
		return u, errCredentials
	}
	p.guard.right(from)
	return u, nil
}

// confirm checks the password that l was asked for again.
func (p *PBX) confirm(r *http.Request, l login, typed string) (state.User, error) {
	u, err := p.check(r, string(l.Name), typed)
	if errors.Is(err, errCredentials) {
		err = errOwn
	}
	return u, err
}

// signIn starts a session and sets its cookie and that of the browser.
func (p *PBX) signIn(w http.ResponseWriter, r *http.Request, cookie string, u state.User) {
	p.setCookie(w, r, cookie, p.sessions.start(u), 0)
	if u.Role != state.RoleCloud {
		p.setCookie(w, r, p.deviceCookie(), p.newDevice(u.Name), deviceLife)
	}
}

func (p *PBX) setCookie(w http.ResponseWriter, r *http.Request, name, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: r.TLS != nil, MaxAge: int(life / time.Second),
	})
}

// signOut ends the session and removes its cookies.
func (p *PBX) signOut(w http.ResponseWriter, r *http.Request, l login) {
	p.sessions.end(l.cookie)
	for _, name := range []string{p.pageCookie(), sessionCookie} {
		http.SetCookie(w, &http.Cookie{Name: name, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil, MaxAge: -1})
	}
}

// Users who can be made.
const maxUsers = 64

var userForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,31}$`)

// cloudForm is how users of pairings are called; no other may be.
var cloudForm = regexp.MustCompile(`^ccc-`)

// Problems with users.
var (
	errUserForm   = problem(http.StatusUnprocessableEntity, "user_name", "A user name has 1 to 32 characters of a-z, 0-9, dot and dash.")
	errUserExists = problem(http.StatusConflict, "user_exists", "The user exists, or the name is reserved.")
	errUserFull   = problem(http.StatusConflict, "users_full", "There are too many users.")
	errUserGone   = problem(http.StatusNotFound, "not_found", "There is no such user.")
	errUserFixed  = problem(http.StatusConflict, "user_fixed", "This user cannot be removed here.")
	errLength     = problem(http.StatusUnprocessableEntity, "password_length", "A password has 10 to 128 characters.")
)

func passwordFits(s string) bool { return len(s) >= password.MinLen && len(s) <= password.MaxLen }

// addUser makes an ordinary user.
func (p *PBX) addUser(r *http.Request, name, secret string) error {
	switch {
	case !userForm.MatchString(name):
		return errUserForm
	case cloudForm.MatchString(name):
		return errUserExists
	case !passwordFits(secret):
		return errLength
	}
	hash, err := p.cfg.Hasher.Hash(r.Context(), secret)
	if err != nil {
		return err
	}
	return p.update(func(s *state.State) error {
		if _, ok := s.User(state.UserName(name)); ok {
			return errUserExists
		}
		if len(s.Users) >= maxUsers {
			return errUserFull
		}
		s.Users = append(s.Users, state.User{
			Name: state.UserName(name), Role: state.RoleUser, Hash: hash, Created: time.Now().UTC(), Changed: true,
		})
		return nil
	})
}

// removeUser removes an ordinary user with his sessions.
func (p *PBX) removeUser(name state.UserName) error {
	err := p.update(func(s *state.State) error {
		u, ok := s.User(name)
		if !ok {
			return errUserGone
		}
		if u.Role != state.RoleUser {
			return errUserFixed
		}
		s.RemoveUser(name)
		return nil
	})
	if err == nil {
		p.sessions.drop(name)
	}
	return err
}

// setPassword changes a password and ends the user's other sessions.
func (p *PBX) setPassword(r *http.Request, u state.User, keep, secret string) error {
	if !passwordFits(secret) {
		return errLength
	}
	hash, err := p.cfg.Hasher.Hash(r.Context(), secret)
	if err != nil {
		return err
	}
	err = p.update(func(s *state.State) error {
		return s.SetHash(u.Name, u.Hash, hash)
	})
	if err != nil {
		return err
	}
	p.sessions.renew(u.Name, keep, hash)
	if u.Name != state.Administrator {
		return nil
	}
	p.first <- struct{}{}
	defer func() { <-p.first }()
	return p.settleFirst()
}
