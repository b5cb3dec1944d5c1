package api

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/apply"
	goapi "github.com/comtrexx-cloud/comtrexx/ccc/client"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// goClient is the client for Go programs, in the session of somebody.
func (c *client) goClient() *goapi.Client {
	c.w.t.Helper()
	made, err := goapi.New(goapi.Config{URL: c.w.url, HTTP: c.http})
	c.w.must(err)
	return made
}

// TestGoClient: what the client was made of is what the API says.
func TestGoClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleOwner).goClient()
	site, err := c.CreateSite(t.Context(), goapi.NewSite{Name: "Berlin"})
	if err != nil || site.ID == "" {
		t.Fatalf("got %+v, %v", site, err)
	}
	if _, err := c.CreateSite(t.Context(), goapi.NewSite{Name: "Berlin"}); !goapi.HasCode(err, goapi.CodeConflict) {
		t.Errorf("got %v", err)
	}
	for _, serial := range []string{"0000000001", "0000000002", "0000000003"} {
		if _, err := c.CreateSystem(t.Context(), goapi.NewSystem{Serial: serial, Name: serial}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for s, err := range c.ListSystemsAll(t.Context(), &goapi.ListSystemsParams{Limit: 2, Sort: "-serial"}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s.Serial)
		if s.Serial == "0000000002" {
			changed, err := c.UpdateSystem(t.Context(), s.ID, goapi.SystemChange{SiteID: &site.ID}, &goapi.UpdateSystemParams{IfMatch: goapi.ETag(s.Version)})
			if err != nil || changed.SiteID != site.ID || changed.Name != s.Name {
				t.Errorf("got %+v, %v", changed, err)
			}
			if _, err := c.UpdateSystem(t.Context(), s.ID, goapi.SystemChange{Name: new("x")}, &goapi.UpdateSystemParams{IfMatch: goapi.ETag(s.Version)}); !goapi.HasCode(err, goapi.CodeVersion) {
				t.Errorf("got %v", err)
			}
		}
	}
	if strings.Join(got, " ") != "0000000003 0000000002 0000000001" {
		t.Errorf("got %v", got)
	}
	for e, err := range c.Events(t.Context()) {
		if err != nil || e.Kind != "summary" {
			t.Errorf("got %+v, %v", e, err)
		}
		break
	}
	if _, err := c.In(string(w.south)).ListSites(t.Context()); !goapi.HasCode(err, goapi.CodeNotFound) {
		t.Errorf("got %v", err)
	}
}

const wanted = `version: 1
sites: {items: [{name: Berlin}, {name: Kiel}]}
groups: {items: [{name: North}]}
users: {items: [{email: jo@example.com, roles: [monitoring, 'remote@site:Kiel']}]}
grants: {items: [{tenant: someone, roles: [monitoring], site: Berlin}]}
webhooks: {items: [{url: 'https://example.com/hook', events: [user.created]}]}
templates: {items: [{name: Time, settings: {ntp_server: ntp.example.com, music_on_hold: true, ntp_interval_minutes: 60}}]}
filters: {items: [{name: Offline, filter: {online: false, site: Kiel}}]}
`

func TestApply(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	owner := w.signedIn(w.north, store.RoleOwner)
	jo := w.user(w.north, "jo@example.com", store.RoleBackup)
	c := owner.goClient()
	plan := func(text string) *apply.Plan {
		t.Helper()
		f, err := apply.Parse([]byte(text))
		w.must(err)
		p, err := apply.Make(t.Context(), c, f)
		w.must(err)
		return p
	}
	run := func(p *apply.Plan) (secrets int) {
		t.Helper()
		w.must(p.Apply(t.Context(), func(r apply.Result) error {
			if r.Secret != "" {
				secrets++
			}
			return nil
		}))
		return secrets
	}
	first := plan(wanted)
	if len(first.Changes) != 8 || !strings.Contains(first.String(), `roles: backup -> monitoring, remote@site:Kiel`) {
		t.Errorf("the plan is\n%s", first)
	}
	if n := run(first); n != 1 {
		t.Errorf("%d secrets are shown", n)
	}
	if p := plan(wanted); !p.Empty() {
		t.Errorf("the second plan is\n%s", p)
	}
	person := read[PersonList](owner.do(http.MethodGet, "/users?q=jo", "").want(http.StatusOK)).Items[0]
	if person.ID != string(jo.ID) || len(person.Roles) != 2 {
		t.Errorf("got %+v", person)
	}
	// What is not in the file stays, unless it is to go.
	if p := plan("version: 1\nsites: {items: [{name: Berlin}]}\n"); !p.Empty() {
		t.Errorf("the plan is\n%s", p)
	}
	less := plan("version: 1\nsites: {prune: true, items: [{name: Berlin}]}\nwebhooks: {prune: true, items: []}\n")
	if text := less.String(); len(less.Changes) != 2 || !strings.Contains(text, `- site "Kiel"`) || !strings.Contains(text, `- webhook "https://example.com/hook"`) {
		t.Errorf("the plan is\n%s", text)
	}
	// Somebody was faster.
	owner.do(http.MethodPost, "/sites", `{"name":"Ulm"}`).want(http.StatusCreated)
	if err := less.Apply(t.Context(), func(apply.Result) error { t.Error("something is done"); return nil }); !errors.Is(err, apply.ErrChanged) {
		t.Errorf("got %v", err)
	}
	run(plan("version: 1\nsites: {prune: true, items: [{name: Berlin}]}\n"))
	if sites := read[SiteList](owner.do(http.MethodGet, "/sites", "").want(http.StatusOK)); len(sites.Items) != 1 {
		t.Errorf("the sites are %v", sites)
	}
	// What was exported changes nothing.
	f, left, err := apply.Export(t.Context(), c)
	w.must(err)
	text, err := f.Marshal()
	w.must(err)
	if p := plan(string(text)); !p.Empty() || len(left) != 0 || !strings.Contains(string(text), "jo@example.com") {
		t.Errorf("left out %v, the plan of\n%s\nis\n%s", left, text, p)
	}
	// Nobody locks himself out.
	email := strings.ToLower(owner.user.Email)
	f, err = apply.Parse([]byte("version: 1\nusers: {items: [{email: '" + email + "', roles: [monitoring]}]}\n"))
	w.must(err)
	if _, err := apply.Make(t.Context(), c, f); !errors.Is(err, apply.ErrOwnRights) {
		t.Errorf("got %v", err)
	}
	// Who may not gets as far as he may.
	reader := w.signedIn(w.north, store.RoleMonitoring).goClient()
	if _, left, err := apply.Export(t.Context(), reader); err != nil || len(left) == 0 {
		t.Errorf("left out %v, %v", left, err)
	}
	f, err = apply.Parse([]byte("version: 1\nsites: {items: [{name: Mine}]}\n"))
	w.must(err)
	p, err := apply.Make(t.Context(), reader, f)
	w.must(err)
	if err := p.Apply(t.Context(), func(apply.Result) error { return nil }); !goapi.HasCode(err, goapi.CodeForbidden) {
		t.Errorf("got %v", err)
	}
}
