package pbx

import (
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/integration/pbx/pages"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// Bounds of sessions.
const (
	sessionIdle     = 30 * time.Minute // of people; programs may pause
	sessionLife     = 12 * time.Hour
	sessionLifeCall = 24 * time.Hour // of the user of a pairing, as the real product has it
	sessionsPerUser = 8              // the oldest goes
)

// session is one sign-in.
type session struct {
	user state.UserName
	role state.Role
	// hash is that of the password that was typed. Whoever compares it with the user's
	// of now finds sign-ins that a change of the password has overtaken.
	hash    string
	created time.Time
	seen    time.Time
	notice  pages.Notice // for the next page; empty: none
}

func (s *session) over(now time.Time) bool {
	if s.role == state.RoleCloud {
		return now.Sub(s.created) >= sessionLifeCall
	}
	return now.Sub(s.seen) >= sessionIdle || now.Sub(s.created) >= sessionLife
}

// sessionKey is the SHA-256 of a session's cookie.
type sessionKey [sha256.Size]byte

// sessions are in memory: a restart signs everybody out. The zero value is empty.
type sessions struct {
	mu  sync.Mutex
	all map[sessionKey]*session // guarded by mu, with what it points to
}

// start makes a session and gives its cookie's value.
func (s *sessions) start(user state.User) (cookie string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var oldest sessionKey
	count := 0
	for key, have := range s.all {
		if have.over(now) {
			delete(s.all, key)
			continue
		}
		if have.user != user.Name {
			continue
		}
		if count++; count == 1 || have.seen.Before(s.all[oldest].seen) {
			oldest = key
		}
	}
	if count >= sessionsPerUser {
		delete(s.all, oldest)
	}
	if s.all == nil {
		s.all = make(map[sessionKey]*session)
	}
	cookie = rand.Text()
	s.all[sha256.Sum256([]byte(cookie))] = &session{user: user.Name, role: user.Role, hash: user.Hash, created: now, seen: now}
	return cookie
}

// use gives the user of a cookie with the hash of the password that he typed, and notes,
// where he is here himself, that he was.
func (s *sessions) use(cookie string, himself bool) (user state.UserName, hash string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sessionKey(sha256.Sum256([]byte(cookie)))
	have, ok := s.all[key]
	if !ok {
		return "", "", false
	}
	now := time.Now()
	if have.over(now) {
		delete(s.all, key)
		return "", "", false
	}
	if himself {
		have.seen = now
	}
	return have.user, have.hash, true
}

// end ends one session.
func (s *sessions) end(cookie string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sha256.Sum256([]byte(cookie)))
}

// drop ends the sessions of a user.
func (s *sessions) drop(user state.UserName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.all, func(_ sessionKey, have *session) bool { return have.user == user })
}

// renew ends the sessions of a user who has another password, but for that of the
// cookie keep, which goes on with it.
func (s *sessions) renew(user state.UserName, keep, hash string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := sessionKey(sha256.Sum256([]byte(keep)))
	for key, have := range s.all {
		switch {
		case have.user != user:
		case key == kept:
			have.hash = hash
		default:
			delete(s.all, key)
		}
	}
}

// clear ends all sessions.
func (s *sessions) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.all)
}

// notice keeps a message for the next page of a session.
func (s *sessions) notice(cookie string, n pages.Notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.all[sha256.Sum256([]byte(cookie))]; ok {
		have.notice = n
	}
}

// takeNotice gives the message, once.
func (s *sessions) takeNotice(cookie string) (n pages.Notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.all[sha256.Sum256([]byte(cookie))]; ok {
		n, have.notice = have.notice, pages.Notice{}
	}
	return n
}
