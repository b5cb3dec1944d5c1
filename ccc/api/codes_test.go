package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/account"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// brokenPairing fails.
type brokenPairing struct {
	Pairing
	err error
}

func (b brokenPairing) Withdraw(context.Context, pairing.Actor, store.SystemID) error { return b.err }

func broken(err error) func(*options) {
	return func(o *options) { o.replace = func(p Pairing) Pairing { return brokenPairing{p, err} } }
}

// slowBody is a body that does not arrive in time.
type slowBody struct{}

func (slowBody) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// answeredBy asks for the settings of a PBX that answers with an error.
func answeredBy(t *testing.T, err error) answer {
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleOwner)
	id, set := c.configurable("0000000001")
	set.refuse = err
	return c.do(http.MethodGet, "/systems/"+id+"/configuration", "")
}

// causes has a request for each code that leads to it.
var causes = map[Code]func(t *testing.T) answer{
	CodeMalformed: func(t *testing.T) answer {
		return newWorld(t).serve().client().do(http.MethodPost, "/session", `{"email":`)
	},
	CodeUnauthenticated: func(t *testing.T) answer {
		return newWorld(t).serve().client().do(http.MethodGet, "/session", "")
	},
	CodeBadCredentials: func(t *testing.T) answer {
		w := newWorld(t).serve()
		w.user(w.north, "anna@example.com", store.RoleOwner)
		return w.client().do(http.MethodPost, "/session", `{"email":"anna@example.com","password":"not this one"}`)
	},
	CodeLastOwner: func(t *testing.T) answer {
		w := newWorld(t).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		return c.do(http.MethodPut, "/users/"+string(c.user.ID)+"/roles", `{"roles":[]}`)
	},
	CodeNotToGive: func(t *testing.T) answer {
		w := newWorld(t).serve()
		c := w.signedIn(w.north, store.RoleAdministrator)
		return c.do(http.MethodPut, "/users/"+string(c.user.ID)+"/roles", `{"roles":[{"role":"owner"}]}`)
	},
	CodeForbidden: func(t *testing.T) answer {
		w := newWorld(t).serve()
		return w.signedIn(w.north, store.RoleMonitoring).do(http.MethodPost, "/groups", `{"name":"x"}`)
	},
	CodeCrossOrigin: func(t *testing.T) answer {
		return newWorld(t).serve().client().do(http.MethodPost, "/session", `{}`, "Sec-Fetch-Site: cross-site")
	},
	CodeNotCreator: func(t *testing.T) answer {
		w := newWorld(t).serve()
		id := w.signedIn(w.north, store.RoleOwner).save("0000000001", "One").System.ID
		return w.signedIn(w.north, store.RoleOwner).do(http.MethodGet, "/systems/"+id+"/offer", "")
	},
	CodeNotRequester: func(t *testing.T) answer {
		w := newWorld(t).serve()
		id := w.signedIn(w.north, store.RoleOwner).scene().paired
		return w.signedIn(w.north, store.RoleOwner).do(http.MethodPost, "/systems/"+id+"/remote/"+w.session+"/grant", atGateway)
	},
	CodeOffline:   askRefused(errors.New("secret detail")),
	CodeRemoteOff: askRefused(wire.NewProblem(wire.CodeRemoteOff, "secret")),
	CodeNoTarget:  askRefused(wire.NewProblem(wire.CodeNoTarget, "secret")),
	CodeRemoteOver: func(t *testing.T) answer {
		w := newWorld(t).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		path := "/systems/" + c.scene().paired + "/remote/" + w.session
		c.do(http.MethodDelete, path, "").want(http.StatusNoContent)
		return c.do(http.MethodPost, path+"/grant", atGateway)
	},
	CodeQuotaRemote: func(t *testing.T) answer {
		w := newWorld(t, func(o *options) { o.remote.PerSystem = 1 }).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		return c.do(http.MethodPost, "/systems/"+c.scene().paired+"/remote", examples["askRemote"].body)
	},
	CodeWrongPassword: func(t *testing.T) answer {
		w := newWorld(t).serve()
		return w.signedIn(w.north, store.RoleOwner).do(http.MethodPut, "/session/password", `{"current":"not this one","new":"another long password"}`)
	},
	CodeSecondFactorNeeded: func(t *testing.T) answer {
		w := newWorld(t).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		c.enrol()
		return c.again().do(http.MethodGet, "/systems", "")
	},
	CodeSecondFactorEnrol: func(t *testing.T) answer {
		w := newWorld(t, mustEnrol).serve()
		return w.signedIn(w.north, store.RoleOwner).do(http.MethodGet, "/systems", "")
	},
	CodeProofStale: func(t *testing.T) answer {
		w := newWorld(t).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		c.age(time.Hour)
		return c.do(http.MethodPost, "/account/totp", "")
	},
	CodeWrongCode: func(t *testing.T) answer {
		w := newWorld(t).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		c.enrol()
		return c.again().do(http.MethodPost, "/session/second-factor", `{"recovery":"AAAA-AAAA-AAAA-AAAA"}`)
	},
	CodePasskey: func(t *testing.T) answer {
		w := newWorld(t, passkeys).serve()
		return w.atPasskeys().do(http.MethodPost, "/session/passkey", `{"credential":{"id":"secret"}}`)
	},
	CodeTokenScope: func(t *testing.T) answer {
		w := newWorld(t).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		return c.program(access.SystemRead).do(http.MethodPost, "/groups", `{"name":"x"}`)
	},
	CodeProviderAccount: func(t *testing.T) answer {
		_, _, c, id := providersOwn(t)
		return c.do(http.MethodDelete, "/account/providers/"+id, "")
	},
	CodeSentLately: func(t *testing.T) answer {
		w := newWorld(t, withMail).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		made := read[Invitation](c.do(http.MethodPost, "/invitations", inviting("new@example.com", "")).want(http.StatusCreated))
		return c.do(http.MethodPost, "/invitations/"+made.ID+"/mail", "")
	},
	CodeNoFactor: func(t *testing.T) answer {
		w := newWorld(t).serve()
		return w.signedIn(w.north, store.RoleOwner).do(http.MethodPost, "/account/recovery-codes", "")
	},
	CodeLastFactor: func(t *testing.T) answer {
		w := newWorld(t, mustEnrol).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		c.enrol()
		return c.do(http.MethodDelete, "/account/totp", "")
	},
	CodeNoPasskeys: func(t *testing.T) answer {
		return newWorld(t).serve().client().do(http.MethodPost, "/session/passkey/options", "")
	},
	CodeNotFound: func(t *testing.T) answer {
		return newWorld(t).serve().client().do(http.MethodGet, "/nothing", "")
	},
	CodeMethod: func(t *testing.T) answer {
		a := newWorld(t).serve().client().do(http.MethodPut, "/systems", `{}`)
		if allow := a.header.Get("Allow"); allow != "GET, HEAD, POST" {
			t.Errorf("Allow: %s", allow)
		}
		return a
	},
	CodeTimeout: func(t *testing.T) answer {
		w := newWorld(t)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, Prefix+"/session", slowBody{})
		r.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		w.api.Handler().ServeHTTP(rec, r)
		return answer{t, "slow", rec.Code, rec.Header(), rec.Body.Bytes()}
	},
	CodeSerialTaken: func(t *testing.T) answer {
		w := newWorld(t).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		c.save("0000000001", "One")
		return c.do(http.MethodPost, "/systems", `{"serial":"0000000001","name":"Again"}`)
	},
	CodeState: func(t *testing.T) answer {
		w := newWorld(t).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		return c.do(http.MethodPost, "/systems/"+c.scene().paired+"/offer", "")
	},
	CodeConflict: func(t *testing.T) answer {
		w := newWorld(t).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		c.scene()
		return c.do(http.MethodPost, "/groups", `{"name":"First"}`)
	},
	CodeIdempotencyBusy: func(t *testing.T) answer {
		w := newWorld(t).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		hash, err := w.api.requestHash(c.user.ID, "key-number-1", "createGroup", NewGroup{Name: "x"})
		w.must(err)
		w.update(func(tx *store.Tx) error {
			_, err := tx.BeginIdempotent(c.user.ID, "key-number-1", hash, time.Now())
			return err
		})
		return c.do(http.MethodPost, "/groups", `{"name":"x"}`, "Idempotency-Key: key-number-1")
	},
	CodeVersion: func(t *testing.T) answer {
		w := newWorld(t).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		return c.do(http.MethodPatch, "/systems/"+c.scene().offered, `{"name":"x"}`, `If-Match: "7"`)
	},
	CodeMisdirected: func(t *testing.T) answer {
		w := newWorld(t, func(o *options) { o.api.Hosts = []string{"ccc.example.com"} }).serve()
		return w.client().do(http.MethodGet, "/meta", "", "Host: evil.example")
	},
	CodeTooLarge: func(t *testing.T) answer {
		return newWorld(t).serve().client().do(http.MethodPost, "/session", `{"email":"`+strings.Repeat("x", 70_000)+`"}`)
	},
	CodeMediaType: func(t *testing.T) answer {
		return newWorld(t).serve().client().do(http.MethodPost, "/session", `{}`, "Content-Type: text/plain")
	},
	CodeInvalid: func(t *testing.T) answer {
		return newWorld(t).serve().client().do(http.MethodPost, "/session", `{}`)
	},
	CodeIdempotencyMismatch: func(t *testing.T) answer {
		w := newWorld(t).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		c.do(http.MethodPost, "/groups", `{"name":"x"}`, "Idempotency-Key: key-number-1").want(http.StatusCreated)
		return c.do(http.MethodPost, "/groups", `{"name":"y"}`, "Idempotency-Key: key-number-1")
	},
	CodeVersionRequired: func(t *testing.T) answer {
		w := newWorld(t).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		return c.do(http.MethodPatch, "/systems/"+c.scene().offered, `{"name":"x"}`)
	},
	CodeRateLimited: func(t *testing.T) answer {
		w := newWorld(t, func(o *options) { o.api.Limits.Requests, o.api.Limits.Window = 3, time.Hour }).serve()
		c := w.client()
		for range 3 {
			c.do(http.MethodGet, "/meta", "").want(http.StatusOK)
		}
		return c.do(http.MethodGet, "/meta", "")
	},
	CodeLoginLimited: func(t *testing.T) answer {
		w := newWorld(t, func(o *options) {
			o.account.Limits = account.Limits{AccountTries: 2, FirstDelay: time.Minute}
		}).serve()
		c := w.client()
		for range 2 {
			c.do(http.MethodPost, "/session", `{"email":"anna@example.com","password":"wrong"}`).problem(CodeBadCredentials)
		}
		return c.do(http.MethodPost, "/session", `{"email":"anna@example.com","password":"wrong"}`)
	},
	CodeQuotaOffers: func(t *testing.T) answer {
		w := newWorld(t, func(o *options) { o.limits.OffersPerHour = 1 }).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		c.save("0000000001", "One")
		return c.do(http.MethodPost, "/systems", `{"serial":"0000000002","name":"Two"}`)
	},
	CodeConfigurationOff: func(t *testing.T) answer {
		return answeredBy(t, &pbxweb.Error{Status: http.StatusForbidden, Code: "switched_off"})
	},
	CodePBX: func(t *testing.T) answer { return answeredBy(t, pbxweb.ErrAnswer) },
	CodeQuotaRollouts: func(t *testing.T) answer {
		w := newWorld(t, func(o *options) { o.rollout.Active = 1 }).serve()
		c := w.signedIn(w.north, store.RoleOwner)
		c.configurable("0000000001")
		const restart = `{"name":"All","kind":"restart","filter":{}}`
		c.do(http.MethodPost, "/rollouts", restart).want(http.StatusCreated)
		return c.do(http.MethodPost, "/rollouts", restart)
	},
	CodeOperatorOnly: func(t *testing.T) answer {
		w := newWorld(t).serve()
		return w.signedIn(w.north, store.RoleOwner).sendImage(imageOf(t, "1.0.0", maker))
	},
	CodeFirmwareOff: func(t *testing.T) answer {
		w := newWorld(t, func(o *options) { o.noFirmware = true }).serve()
		return w.signedIn(w.north, store.RoleOwner).do(http.MethodGet, "/firmware", "")
	},
	CodeFirmwareFormat:    uploaded(func(*testing.T) []byte { return []byte("nothing of the kind") }),
	CodeFirmwareKey:       uploaded(func(t *testing.T) []byte { return imageOf(t, "1.0.0", stranger) }),
	CodeFirmwareSignature: uploaded(func(t *testing.T) []byte { return changedAt(imageOf(t, "1.0.0", maker), 40) }),
	CodeFirmwarePayload:   uploaded(func(t *testing.T) []byte { return changedAt(imageOf(t, "1.0.0", maker), -1) }),
	CodeFirmwareExists: func(t *testing.T) answer {
		c := newWorld(t).serve().operator()
		c.sendImage(imageOf(t, "1.0.0", maker)).want(http.StatusCreated)
		return c.sendImage(imageOf(t, "1.0.0", maker))
	},
	CodeFirmwareInUse: func(t *testing.T) answer {
		w := newWorld(t).serve()
		c, owner := w.operator(), w.signedIn(w.north, store.RoleOwner)
		image := read[Firmware](c.sendImage(imageOf(t, "1.1.0", maker)).want(http.StatusCreated)).ID
		owner.configurable("0000000001")
		owner.do(http.MethodPost, "/rollouts", `{"name":"1.1","kind":"firmware","firmware_id":"`+image+`","filter":{}}`).want(http.StatusCreated)
		return c.do(http.MethodDelete, "/firmware/"+image, "")
	},
	CodeLink: func(t *testing.T) answer {
		return newWorld(t).serve().client().do(http.MethodPost, "/invitation", `{"secret":"`+strings.Repeat("A", 43)+`"}`)
	},
	CodeOIDC: func(t *testing.T) answer {
		p := newIDP(t)
		return oidcWorld(t, p.provider()).client().do(http.MethodPost, "/session/oidc", answering(url.Values{"state": {"of nobody"}}, "x", p.URL))
	},
	CodeOIDCUnavailable: func(t *testing.T) answer {
		p := newIDP(t)
		p.broken = true
		return oidcWorld(t, p.provider()).client().do(http.MethodPost, "/session/oidc/options", atAcme)
	},
	CodeOIDCUnknown: func(t *testing.T) answer {
		p := newIDP(t)
		c := oidcWorld(t, p.provider()).client()
		p.says(map[string]any{"sub": "1", "email": "a@evil.example", "email_verified": true})
		q := c.begin(atAcme)
		p.mu.Lock()
		p.nonce = q.Get("nonce")
		p.mu.Unlock()
		return c.do(http.MethodPost, "/session/oidc", answering(q, "x", p.URL))
	},
	CodeInternal: func(t *testing.T) answer {
		w := newWorld(t, broken(errors.New("secret detail"))).serve()
		return w.signedIn(w.north, store.RoleOwner).do(http.MethodDelete, "/systems/x/offer", "")
	},
	CodeUnavailable: func(t *testing.T) answer {
		w := newWorld(t, broken(context.DeadlineExceeded)).serve()
		return w.signedIn(w.north, store.RoleOwner).do(http.MethodDelete, "/systems/x/offer", "")
	},
}

// TestEveryCode leads to each code, and holds the operation's documentation against it.
func TestEveryCode(t *testing.T) {
	t.Parallel()
	if got, want := slices.Sorted(maps.Keys(causes)), slices.Sorted(maps.Keys(codes)); !slices.Equal(got, want) {
		t.Fatalf("causes of\n%v, codes are\n%v", got, want)
	}
	for code, cause := range causes {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			a := cause(t)
			p := a.problem(code)
			if p.Title != codes[code].title {
				t.Errorf("title %q", p.Title)
			}
			if wait := a.header.Get("Retry-After"); (wait != "") != (a.status == http.StatusTooManyRequests || code == CodeIdempotencyBusy) {
				t.Errorf("Retry-After: %q", wait)
			}
			if strings.Contains(string(a.body), "secret") || strings.Contains(string(a.body), "not this one") {
				t.Errorf("it tells too much: %s", a.body)
			}
		})
	}
}

// TestCodesAreDocumented: what an operation answers with is in the document.
func TestCodesAreDocumented(t *testing.T) {
	t.Parallel()
	everywhere := []Code{CodeMethod, CodeMisdirected} // before there is an operation
	found := map[string]bool{}
	for id, op := range documented(t) {
		for status, r := range op.Responses {
			names, isProblem := strings.CutPrefix(r.Description, "Code ")
			if !isProblem {
				continue
			}
			for name := range strings.SplitSeq(names, ", ") {
				found[name] = true
				if c, known := codes[Code(name)]; !known || status != strconv.Itoa(c.status) {
					t.Errorf("%s documents %s with status %s", id, name, status)
				}
			}
		}
	}
	for code := range codes {
		if !found[string(code)] && !slices.Contains(everywhere, code) {
			t.Errorf("no operation documents %s", code)
		}
	}
}

// TestEveryFieldIsListed: one answer names all that is wrong, and repeats no value.
func TestEveryFieldIsListed(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		c := w.signedIn(w.north, store.RoleOwner)
		long := strings.Repeat("x", 3000)
		for _, tt := range []struct {
			method, path, body string
			want               []string
		}{
			{http.MethodPost, "/session", `{}`, []string{"body.email required", "body.password required"}},
			{http.MethodPost, "/session", `{"email":1,"password":[]}`, []string{"body.email type", "body.password type"}},
			{
				http.MethodPost, "/systems", `{"serial":"12","name":"","note":"` + long + `","tags":["a","a"],"x":1}`,
				[]string{"body.serial pattern", "body.name too_short", "body.name pattern", "body.note too_long", "body.tags duplicate", "body.x unknown"},
			},
			{http.MethodPost, "/systems", `{"serial":"0000000001","name":"  ","tags":[" ","` + long + `"]}`, []string{"body.name pattern", "body.tags[0] pattern", "body.tags[1] too_long"}},
			{http.MethodPost, "/systems", `{"serial":"0000000001","name":"One\u0000","note":"a\u0007"}`, []string{"body.name pattern", "body.note pattern"}},
			{http.MethodPost, "/systems", `{"serial":"0000000001","name":"One","groups":["nothing"]}`, []string{"body.groups reference"}},
			{http.MethodPost, "/systems", `{"serial":"0000000001","name":"One","tags":["` + strings.Join(numbers(21), `","`) + `"]}`, []string{"body.tags too_many"}},
			{http.MethodPost, "/systems", `[]`, []string{"body type"}},
			{http.MethodPut, "/session/language", `{"language":"it"}`, []string{"body.language enum"}},
			{http.MethodPut, "/session/password", `{"current":"` + testPassword + `","new":"short"}`, []string{"body.new too_short"}},
			{http.MethodPut, "/session/password", `{"current":"` + testPassword + `","new":"` + c.user.Email + `"}`, []string{"body.new weak"}},
			{
				http.MethodGet, "/systems?limit=0&state=off&sort=size&online=maybe&cursor=" + long + long + long, "",
				[]string{"query.limit range", "query.state[0] enum", "query.sort enum", "query.online enum", "query.cursor too_long"},
			},
			{http.MethodGet, "/systems?limit=many", "", []string{"query.limit type"}},
			{http.MethodGet, "/systems?cursor=nonsense", "", []string{"query.cursor invalid"}},
			{http.MethodGet, "/systems?limit=201&a=1&b=2", "", []string{"query.a unknown", "query.b unknown"}},
			// What no database keeps: NUL, and what is not UTF-8.
			{http.MethodGet, "/systems?q=%00&tag=ok&tag=%ff&group=%00", "", []string{"query.q invalid", "query.tag[1] invalid"}},
			{http.MethodGet, "/systems?q=%ff&sort=size", "", []string{"query.q invalid", "query.sort enum"}},
		} {
			a := c.do(tt.method, tt.path, tt.body)
			p := a.problem(CodeInvalid)
			got := make([]string, len(p.Errors))
			for i, e := range p.Errors {
				got[i] = e.Location + " " + string(e.Code)
				if e.Message == "" {
					t.Errorf("%s has no message", got[i])
				}
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s %.60s: got %v, want %v", tt.path, tt.body, got, tt.want)
			}
			if strings.Contains(string(a.body), "xxxx") || strings.Contains(string(a.body), testPassword) {
				t.Errorf("%s repeats a value: %.200s", tt.path, a.body)
			}
		}
	})
}

func numbers(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = strconv.Itoa(i)
	}
	return all
}
