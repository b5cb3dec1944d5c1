package api

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/apply"
	goapi "github.com/comtrexx-cloud/comtrexx/ccc/client"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// planFile makes the plan of a file.
func planFile(t *testing.T, c *goapi.Client, text string) (*apply.Plan, error) {
	t.Helper()
	f, err := apply.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return apply.Make(t.Context(), c, f)
}

func applyPlan(ctx context.Context, p *apply.Plan) error {
	return p.Apply(ctx, func(apply.Result) error { return nil })
}

// TestApplySeveral: of several grants and webhooks that look alike the file means what it
// says, or an error names them; nothing else is changed or gone.
func TestApplySeveral(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	owner := w.signedIn(w.north, store.RoleOwner)
	c := owner.goClient()
	hook := func() string {
		return read[MadeWebhook](owner.do(http.MethodPost, "/webhooks", newHook).want(http.StatusCreated)).Webhook.ID
	}
	one, other := hook(), hook()
	_, err := planFile(t, c, "version: 1\nwebhooks: {prune: true, items: [{url: 'https://example.com/hook', events: [user.let_in]}]}\n")
	if !errors.Is(err, apply.ErrAmbiguous) || !strings.Contains(err.Error(), one) || !strings.Contains(err.Error(), other) {
		t.Errorf("got %v", err)
	}
	p, err := planFile(t, c, "version: 1\nwebhooks: {prune: true, items: [{id: "+other+", url: 'https://example.com/new', events: [user.let_in]}]}\n")
	w.must(err)
	if text := p.String(); !strings.Contains(text, `~ webhook "https://example.com/hook" `+other) || !strings.Contains(text, `- webhook "https://example.com/hook" `+one) {
		t.Errorf("the plan is\n%s", text)
	}
	// The one that is to go is another one by now.
	owner.do(http.MethodDelete, "/webhooks/"+one, "").want(http.StatusNoContent)
	third := hook()
	if err := applyPlan(t.Context(), p); !errors.Is(err, apply.ErrChanged) {
		t.Errorf("got %v", err)
	}
	for _, id := range []string{other, third} {
		owner.do(http.MethodGet, "/webhooks/"+id, "").want(http.StatusOK)
	}

	letIn := func(roles string) string {
		return read[TenantGrant](owner.do(http.MethodPost, "/grants", `{"tenant_id":"someone","roles":[`+roles+`]}`).want(http.StatusCreated)).ID
	}
	monitoring, backup := letIn(`"monitoring"`), letIn(`"backup"`)
	_, err = planFile(t, c, "version: 1\ngrants: {items: [{tenant: someone, roles: [remote]}]}\n")
	if !errors.Is(err, apply.ErrAmbiguous) || !strings.Contains(err.Error(), monitoring+" (monitoring)") || !strings.Contains(err.Error(), backup+" (backup)") {
		t.Errorf("got %v", err)
	}
	p, err = planFile(t, c, "version: 1\ngrants: {items: [{tenant: someone, roles: [monitoring]}, {tenant: someone, roles: [remote]}]}\n")
	w.must(err)
	if text := p.String(); len(p.Changes) != 1 || p.Changes[0].ID != backup || !strings.Contains(text, "roles: backup -> remote") {
		t.Errorf("the plan is\n%s", text)
	}
	w.must(applyPlan(t.Context(), p))
	owner.do(http.MethodGet, "/grants", "").want(http.StatusOK)
	p, err = planFile(t, c, "version: 1\ngrants: {prune: true, items: [{tenant: someone, roles: [remote]}]}\n")
	w.must(err)
	if len(p.Changes) != 1 || p.Changes[0].ID != monitoring || p.Changes[0].Action != apply.Delete {
		t.Errorf("the plan is\n%s", p)
	}
}

// files makes files at random, of few names so that they meet again.
type files struct{ r *rand.Rand }

func (f files) some(all ...string) []string {
	f.r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:f.r.IntN(len(all)+1)]
}

func (f files) one(all ...string) string { return all[f.r.IntN(len(all))] }

func (f files) write(emails []string) string {
	var out strings.Builder
	out.WriteString("version: 1\n")
	kind := func(name string, items []string) {
		fmt.Fprintf(&out, "%s: {prune: %v, items: [%s]}\n", name, name != "users" && f.r.IntN(2) == 0, strings.Join(items, ", "))
	}
	sites := f.some("Kiel", "Ulm", "'Köln: 1'")
	named := func(names []string) (items []string) {
		for _, n := range names {
			items = append(items, "{name: "+n+"}")
		}
		return items
	}
	kind("sites", append(named(sites), "{name: Berlin}"))
	kind("groups", named(f.some("North", "South")))
	var users, grants, filters, templates, hooks []string
	for _, e := range f.some(emails...) {
		users = append(users, "{email: "+f.one(e, strings.ToUpper(e))+", roles: ["+strings.Join(f.some("monitoring", "backup", "'remote@site:Berlin'"), ", ")+"]}")
	}
	for _, roles := range f.some("[monitoring]", "[backup, monitoring]", "[remote]", "[administrator]") {
		site := f.one("", ", site: Berlin")
		until := f.one("", "", ", until: 2099-01-01T00:00:00Z", ", until: 2020-01-01T00:00:00Z")
		grants = append(grants, "{tenant: "+f.one("someone", "other")+", roles: "+roles+site+until+"}")
	}
	for _, n := range f.some("Offline", "Paired") {
		filters = append(filters, "{name: "+n+", filter: "+f.one("{online: false}", "{q: x, sort: -name}", "{state: [paired], site: Berlin}", "{}")+"}")
	}
	for _, n := range f.some("Time", "Music") {
		templates = append(templates, "{name: "+n+", settings: "+f.one("{ntp_server: a}", "{ntp_server: b, ntp_interval_minutes: 60}", "{music_on_hold: true}")+"}")
	}
	for _, n := range f.some("a", "b", "c") {
		hooks = append(hooks, "{url: 'https://example.com/"+n+"', events: ["+f.one("user.created", "user.let_in, system.paired")+"], enabled: "+f.one("true", "false")+"}")
	}
	kind("users", users)
	kind("grants", grants)
	kind("filters", filters)
	kind("templates", templates)
	kind("webhooks", hooks)
	return out.String()
}

// TestApplyAgain: whatever a file says, and whatever others have made meanwhile, once it
// is applied there is nothing more to do; so is what is exported then.
func TestApplyAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, noLimits).serve()
	owner := w.signedIn(w.north, store.RoleOwner)
	c := owner.goClient()
	emails := []string{"jo@example.com", "mia@example.com"}
	for _, e := range emails {
		w.user(w.north, e, store.RoleBackup)
	}
	rounds, applied, refused := 40, 0, 0
	if raceDetector {
		rounds = 12
	}
	for seed := range rounds {
		f := files{rand.New(rand.NewPCG(uint64(seed), 4))} //nolint:gosec // of a test
		// What others do in between.
		if f.r.IntN(2) == 0 {
			w.grant(w.north, store.TenantID(f.one("someone", "other")), new(time.Now().Add(time.Hour)), store.RoleMonitoring)
		}
		if f.r.IntN(3) == 0 {
			owner.do(http.MethodPost, "/webhooks", strings.Replace(newHook, "/hook", "/"+f.one("a", "b"), 1)).want(http.StatusCreated)
		}
		text := f.write(slices.Clone(emails))
		p, err := planFile(t, c, text)
		if errors.Is(err, apply.ErrAmbiguous) {
			refused++
			for _, h := range read[WebhookList](owner.do(http.MethodGet, "/webhooks", "").want(http.StatusOK)).Items {
				owner.do(http.MethodDelete, "/webhooks/"+h.ID, "").want(http.StatusNoContent)
			}
			for _, g := range read[TenantGrantList](owner.do(http.MethodGet, "/grants", "").want(http.StatusOK)).Items {
				owner.do(http.MethodDelete, "/grants/"+g.ID, "").want(http.StatusNoContent)
			}
			p, err = planFile(t, c, text)
		}
		if err == nil {
			err = applyPlan(t.Context(), p)
		}
		if err != nil {
			t.Fatalf("seed %d: %v in\n%s", seed, err, text)
		}
		applied += len(p.Changes)
		again, err := planFile(t, c, text)
		if err != nil || !again.Empty() {
			t.Fatalf("seed %d: after it was applied, %v and %s of\n%s", seed, err, again, text)
		}
		out, left, err := apply.Export(t.Context(), c)
		w.must(err)
		exported, err := out.Marshal()
		w.must(err)
		again, err = planFile(t, c, string(exported))
		if err != nil || !again.Empty() || len(left) > 0 {
			t.Fatalf("seed %d: what is exported does %v and %s:\n%s", seed, err, again, exported)
		}
	}
	if applied < 2*rounds || refused == 0 {
		t.Errorf("%d changes, %d files are refused", applied, refused)
	}
}
