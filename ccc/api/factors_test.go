package api

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// mustEnrol has those who have much to lose set up a second factor.
func mustEnrol(o *options) { o.account.SecondFactor = account.Required }

// enrolled is what came of setting up an app.
type enrolled struct {
	secret string
	codes  []string
}

// enrol sets up an app in the client's session.
func (c *client) enrol() enrolled {
	c.w.t.Helper()
	made := read[TOTPSecret](c.do(http.MethodPost, "/account/totp", "").want(http.StatusOK))
	a := c.do(http.MethodPut, "/account/totp", `{"code":"`+c.code(made.Secret, time.Now())+`"}`).want(http.StatusOK)
	return enrolled{made.Secret, read[RecoveryCodes](a).Codes}
}

func (c *client) code(secret string, at time.Time) string {
	c.w.t.Helper()
	code, err := totp.GenerateCode(secret, at)
	c.w.must(err)
	return code
}

// again is the same person at another browser, who has given the password.
func (c *client) again() *client {
	c.w.t.Helper()
	other := c.w.client()
	other.user = c.user
	other.signIn(c.user.Email)
	return other
}

// age makes the proof of all sessions of the person older.
func (c *client) age(by time.Duration) {
	c.w.t.Helper()
	c.w.update(func(tx *store.Tx) error {
		all, err := tx.UserSessions(c.user.ID)
		if err != nil {
			return err
		}
		for _, s := range all {
			var v struct {
				Deadline time.Time         `json:"deadline"`
				Values   map[string]string `json:"values"`
			}
			if err := json.Unmarshal(s.Data, &v); err != nil {
				return err
			}
			v.Values["proved"] = "1"
			if s.Data, err = json.Marshal(v); err != nil {
				return err
			}
			if err := tx.PutSession(s); err != nil {
				return err
			}
		}
		return nil
	})
}

// program is one with an API token of the person.
func (c *client) program(verbs ...access.Verb) *client {
	c.w.t.Helper()
	names, err := json.Marshal(verbs)
	c.w.must(err)
	made := read[MadeAPIToken](c.do(http.MethodPost, "/account/tokens", `{"name":"Backup","days":30,"verbs":`+string(names)+`}`).want(http.StatusOK))
	p := c.w.client()
	p.user, p.bearer = c.user, made.Token
	return p
}

func TestSecondFactor(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c := w.signedIn(w.north, store.RoleOwner)
		if me := read[Me](c.do(http.MethodPost, "/session", credentials(c.user.Email))); me.Proof.Need != account.NeedEnrol || me.Proof.By != account.ByPassword {
			t.Errorf("the first step says %+v", me.Proof)
		}
		c.do(http.MethodGet, "/session", "").problem(CodeSecondFactorEnrol)
		before := cookieOf(c)
		e := c.enrol()
		if len(e.codes) != account.RecoveryCodes || cookieOf(c) == before {
			t.Errorf("codes %q; the token is new: %v", e.codes, cookieOf(c) != before)
		}
		c.do(http.MethodGet, "/session", "").want(http.StatusOK)
		f := read[Factors](c.do(http.MethodGet, "/account/factors", "").want(http.StatusOK))
		if !f.TOTP || f.Passkeys != 0 || f.RecoveryCodes != account.RecoveryCodes || !f.Required || f.PasskeysHere || f.Proof.By != account.BySecond || !f.Proof.Fresh {
			t.Errorf("%+v", f)
		}

		half := c.again()
		if f := read[Factors](half.do(http.MethodGet, "/account/factors", "").want(http.StatusOK)); f.Proof.Need != account.NeedSecond || f.Proof.Fresh {
			t.Errorf("%+v", f)
		}
		half.do(http.MethodPost, "/session/second-factor", `{"totp":"`+c.code(e.secret, time.Now().Add(-24*time.Hour))+`"}`).problem(CodeWrongCode)
		half.do(http.MethodPost, "/session/second-factor", `{}`).problem(CodeInvalid)
		half.do(http.MethodPost, "/session/second-factor", `{"totp":"123456","recovery":"AAAA-AAAA-AAAA-AAAA"}`).problem(CodeInvalid)
		half.do(http.MethodGet, "/systems", "").problem(CodeSecondFactorNeeded)

		// A new token with the second step; that of the first is worth nothing then.
		planted := cookieOf(half)
		in := half.do(http.MethodPost, "/session/second-factor", `{"recovery":"`+e.codes[0]+`"}`).want(http.StatusOK)
		if me := read[Me](in); me.Proof.By != account.BySecond || me.Proof.Need != "" {
			t.Errorf("the second step says %+v", me.Proof)
		}
		if cookieOf(half) == planted {
			t.Error("the session's token is that of before the second step")
		}
		half.do(http.MethodGet, "/systems", "").want(http.StatusOK)
		w.client().do(http.MethodGet, "/session", "", "Cookie: ccc="+planted).problem(CodeUnauthenticated)
		c.again().do(http.MethodPost, "/session/second-factor", `{"recovery":"`+e.codes[0]+`"}`).problem(CodeWrongCode)

		// The password needs a new proof too, and ends the others.
		other := c.again()
		other.do(http.MethodPost, "/session/second-factor", `{"recovery":"`+e.codes[1]+`"}`).want(http.StatusOK)
		change := `{"current":"` + testPassword + `","new":"another long password"}`
		c.age(time.Hour)
		c.do(http.MethodPut, "/session/password", change).problem(CodeProofStale)
		c.do(http.MethodPost, "/session/second-factor", `{"recovery":"`+e.codes[2]+`"}`).want(http.StatusOK)
		c.do(http.MethodPut, "/session/password", change).want(http.StatusNoContent)
		c.do(http.MethodGet, "/systems", "").want(http.StatusOK)
		other.do(http.MethodGet, "/systems", "").problem(CodeUnauthenticated)
	}, mustEnrol)
}

func credentials(email string) string {
	return `{"email":"` + email + `","password":"` + testPassword + `"}`
}

// cookieOf gives the client's session token.
func cookieOf(c *client) string {
	u, err := url.Parse(c.w.url + Prefix)
	c.w.must(err)
	u.Host = cmp.Or(c.host, u.Host)
	for _, k := range c.http.Jar.Cookies(u) {
		if k.Name == account.PlainCookie {
			return k.Value
		}
	}
	return ""
}

// TestHalfSession tries every operation of the document with a session that waits for its
// second step, and with one whose user has to set one up: nothing but what finishes or
// ends that is done. The whole sessions of the same users are the control.
func TestHalfSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, mustEnrol).serve()
	full := w.signedIn(w.north, store.RoleOwner)
	full.enrol()
	open := map[Code][]string{CodeSecondFactorNeeded: halfway, CodeSecondFactorEnrol: enrolling}
	sessions := map[Code]*client{CodeSecondFactorNeeded: full.again(), CodeSecondFactorEnrol: w.signedIn(w.north, store.RoleAdministrator)}
	tried := 0
	for id, op := range documented(t) {
		if len(op.Security) == 0 || id == "signOut" {
			continue
		}
		for code, c := range sessions {
			if slices.Contains(open[code], id) {
				continue
			}
			tried++
			for _, body := range []string{examples[id].body, `{"x":`} {
				c.do(op.method, strings.ReplaceAll(op.path, "{id}", "x"), body).problem(code)
			}
			if _, documented := op.Responses["403"]; !documented {
				t.Errorf("%s: 403 is not documented", id)
			}
		}
	}
	if tried < 60 {
		t.Errorf("only %d were tried", tried)
	}
	for id, op := range documented(t) {
		if len(op.Security) == 0 || id == "streamEvents" || slices.Contains([]string{"signOut", "endOtherSessions", "setPassword", "removeTOTP"}, id) {
			continue
		}
		a := full.do(op.method, strings.ReplaceAll(op.path, "{id}", "x"), examples[id].body)
		for code := range open {
			if a.status == http.StatusForbidden && strings.Contains(string(a.body), string(code)) {
				t.Errorf("positive control: %s gives %s", id, a.body)
			}
		}
	}
	for _, c := range sessions {
		c.do(http.MethodDelete, "/session", "").want(http.StatusNoContent)
		c.do(http.MethodGet, "/account/factors", "").problem(CodeUnauthenticated)
	}
}

// TestReplayedCode: a code of an app opens one session, not two.
func TestReplayedCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	e := c.enrol()
	// The code of the setup was used; the next one is good once.
	body := `{"totp":"` + c.code(e.secret, time.Now().Add(30*time.Second)) + `"}`
	c.again().do(http.MethodPost, "/session/second-factor", body).want(http.StatusOK)
	c.again().do(http.MethodPost, "/session/second-factor", body).problem(CodeWrongCode)
}

// TestSpraying: one password tried on many accounts ends for the network, and so do codes
// tried after a password that was found.
func TestSpraying(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *options) {
		o.account.Limits = account.Limits{PrefixTries: 6, AccountTries: 3, FirstDelay: time.Minute}
	}).serve()
	victim := w.signedIn(w.north, store.RoleOwner)
	victim.enrol()
	half := victim.again()
	for range 3 {
		half.do(http.MethodPost, "/session/second-factor", `{"totp":"000000"}`).problem(CodeWrongCode)
	}
	half.do(http.MethodPost, "/session/second-factor", `{"totp":"000000"}`).problem(CodeLoginLimited)
	victim.again() // the password is counted by itself, and does not begin the codes anew
	half.do(http.MethodPost, "/session/second-factor", `{"totp":"000000"}`).problem(CodeLoginLimited)
	c := w.client()
	for i := range 6 {
		c.do(http.MethodPost, "/session", `{"email":"user`+numbers(10)[i]+`@example.com","password":"Summer2026!!"}`).problem(CodeBadCredentials)
	}
	c.do(http.MethodPost, "/session", `{"email":"another@example.com","password":"Summer2026!!"}`).problem(CodeLoginLimited)
	c.do(http.MethodPost, "/session", credentials(victim.user.Email)).problem(CodeLoginLimited)
}

func TestSessionList(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c := w.signedIn(w.north, store.RoleMonitoring)
		other, third, foreign := c.again(), c.again(), w.signedIn(w.north, store.RoleOwner)
		list := read[SessionList](c.do(http.MethodGet, "/account/sessions", "").want(http.StatusOK)).Items
		if len(list) != 3 {
			t.Fatalf("%+v", list)
		}
		current := slices.IndexFunc(list, func(s SessionInfo) bool { return s.Current })
		if s := list[current]; s.Proof != account.ByPassword || s.BegunAt.IsZero() || s.LastSeenAt.IsZero() || !s.ExpiresAt.After(s.BegunAt) {
			t.Errorf("%+v", s)
		}
		mine := read[SessionList](other.do(http.MethodGet, "/account/sessions", "")).Items
		id := mine[slices.IndexFunc(mine, func(s SessionInfo) bool { return s.Current })].ID
		foreign.do(http.MethodDelete, "/account/sessions/"+id, "").problem(CodeNotFound)
		other.do(http.MethodGet, "/session", "").want(http.StatusOK)
		c.do(http.MethodDelete, "/account/sessions/"+id, "").want(http.StatusNoContent)
		other.do(http.MethodGet, "/session", "").problem(CodeUnauthenticated)
		third.do(http.MethodGet, "/session", "").want(http.StatusOK)
		c.do(http.MethodDelete, "/account/sessions", "").want(http.StatusNoContent)
		third.do(http.MethodGet, "/session", "").problem(CodeUnauthenticated)
		c.do(http.MethodGet, "/session", "").want(http.StatusOK)
		foreign.do(http.MethodGet, "/session", "").want(http.StatusOK)
	})
}
