package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// configurable saves and pairs a system whose PBX is online and has settings.
func (c *client) configurable(serial string) (id string, set *fakeSet) {
	c.w.t.Helper()
	id = c.save(serial, "PBX "+serial).System.ID
	c.w.pair(c.user.Tenant, id)
	c.w.fleet.set(identity.Serial(serial), fleet.Status{Online: true, Since: time.Now()})
	return id, c.w.settings.put(identity.Serial(serial), `{"ntp_server":"old","country":"DE"}`)
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleAdministrator)
	id, set := c.configurable("0000000007")
	path := "/systems/" + id + "/configuration"
	a := c.do(http.MethodGet, path, "").want(http.StatusOK)
	got := read[Configuration](a)
	if a.header.Get("ETag") != `"1"` || string(got.Settings["ntp_server"]) != `"old"` || len(got.Schema) != 2 || got.Schema[0].Labels["en"] != "Time server" {
		t.Errorf("%s %s", a.header.Get("ETag"), a.body)
	}
	if got.Model != "VM" || got.Firmware != "1.0.0" {
		t.Errorf("the PBX is a %q with firmware %q", got.Model, got.Firmware)
	}
	const change = `{"settings":{"ntp_server":"new"},"base":{"ntp_server":"old","country":"DE"}}`
	dry := read[ConfigurationChange](c.do(http.MethodPatch, path+"?dry_run=true", change, `If-Match: "1"`).want(http.StatusOK))
	if !dry.DryRun || len(dry.Changes) != 1 || string(dry.Changes[0].Old) != `"old"` || set.get("ntp_server") != `"old"` {
		t.Errorf("the dry run: %+v; the PBX has %s", dry, set.get("ntp_server"))
	}
	entries := func() int {
		return len(read[AuditList](c.do(http.MethodGet, "/audit?operation=changeConfiguration&outcome=done", "").want(http.StatusOK)).Items)
	}
	if n := entries(); n != 0 {
		t.Errorf("%d entries of the audit log say that something was changed", n)
	}
	c.do(http.MethodPatch, path, change).problem(CodeVersionRequired)
	// The PBX's own administrator is faster: what differs is named, and nothing is lost.
	set.edit("country", `"AT"`)
	p := c.do(http.MethodPatch, path, change, `If-Match: "1"`).problem(CodeVersion)
	if len(p.Errors) != 1 || p.Errors[0].Location != "body.settings.country" || set.get("country") != `"AT"` || set.get("ntp_server") != `"old"` {
		t.Errorf("%+v; the PBX has %s and %s", p, set.get("country"), set.get("ntp_server"))
	}
	a = c.do(http.MethodPatch, path, change, `If-Match: "2"`).want(http.StatusOK)
	if set.get("ntp_server") != `"new"` || a.header.Get("ETag") != `"3"` {
		t.Errorf("%s; the PBX has %s", a.body, set.get("ntp_server"))
	}
	if n := entries(); n != 1 {
		t.Errorf("%d entries of the audit log say that something was changed, want 1", n)
	}
	p = c.do(http.MethodPatch, path, `{"settings":{"ntp_server":"","nothing":1}}`, "If-Match: *").problem(CodeInvalid)
	if len(p.Errors) != 2 || p.Errors[0].Location != "body.settings.nothing" && p.Errors[1].Location != "body.settings.nothing" {
		t.Errorf("%+v", p)
	}
	c.do(http.MethodPost, "/systems/"+id+"/restart", "").want(http.StatusAccepted)
	if set.restarts != 1 {
		t.Errorf("restarted %d times", set.restarts)
	}
	kinds := []string{}
	for _, e := range w.events(w.north) {
		kinds = append(kinds, e.Kind)
	}
	if !slices.Contains(kinds, "settings_changed") || !slices.Contains(kinds, "restarted") {
		t.Errorf("the history has %v", kinds)
	}
	w.fleet.set("0000000007", fleet.Status{Since: time.Now()})
	c.do(http.MethodGet, path, "").problem(CodeOffline)
}

// To break glass lets one read the settings, and change none.
func TestConfigurationByBreakingGlass(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	id, set := w.signedIn(w.north, store.RoleOwner).configurable("0000000007")
	operator := store.Tenant{ID: store.NewID[store.TenantID](), Kind: store.KindOperator, Name: "Op", LegalName: "Op", Created: time.Now()}
	w.update(func(tx *store.Tx) error { return tx.CreateTenant(operator) })
	staff := w.signedIn(operator.ID, store.RoleOwner)
	staff.do(http.MethodGet, "/systems/"+id+"/configuration", "", inside(w.north)).problem(CodeNotFound)
	w.breakGlass(w.north, operator.ID, staff.user.ID, time.Hour)
	staff.do(http.MethodGet, "/systems/"+id+"/configuration", "", inside(w.north)).want(http.StatusOK)
	staff.do(http.MethodPatch, "/systems/"+id+"/configuration", `{"settings":{"ntp_server":"new"}}`, inside(w.north), "If-Match: *").problem(CodeForbidden)
	if set.get("ntp_server") != `"old"` {
		t.Error("the settings were changed")
	}
}

// TestRollout: a template to all PBXs of a tenant, over the API.
func TestRollout(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.rollouts.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run gives %v", err)
		}
	})
	c := w.signedIn(w.north, store.RoleAdministrator)
	_, one := c.configurable("0000000001")
	_, two := c.configurable("0000000002")
	template := read[Template](c.do(http.MethodPost, "/templates", `{"name":"Time","settings":{"ntp_server":"new"}}`).want(http.StatusCreated))
	made := read[Rollout](c.do(http.MethodPost, "/rollouts", `{"name":"All","kind":"settings","template_id":"`+template.ID+`","filter":{}}`).want(http.StatusCreated))
	path := "/rollouts/" + made.ID
	await := func(state store.RolloutState) (r Rollout) {
		t.Helper()
		for range 500 {
			if r = read[Rollout](c.do(http.MethodGet, path, "").want(http.StatusOK)); r.State == state {
				return r
			}
			<-time.After(20 * time.Millisecond)
		}
		t.Fatalf("it is %s, want %s", r.State, state)
		return r
	}
	if r := await(store.RolloutReady); r.Systems != 2 || len(r.Rings) != 2 || r.TemplateVersion != 1 || one.get("ntp_server") != `"old"` {
		t.Errorf("%+v", r)
	}
	diffs := read[RolloutDiffList](c.do(http.MethodGet, path+"/diffs", "")).Items
	if len(diffs) != 1 || diffs[0].Systems != 2 || string(diffs[0].Changes[0].Old) != `"old"` {
		t.Errorf("%+v", diffs)
	}
	c.do(http.MethodPost, path+"/control", `{"action":"resume"}`).problem(CodeState)
	c.do(http.MethodPost, path+"/control", `{"action":"start"}`).want(http.StatusOK)
	await(store.RolloutDone)
	if one.get("ntp_server") != `"new"` || two.get("ntp_server") != `"new"` {
		t.Errorf("the PBXs have %s and %s", one.get("ntp_server"), two.get("ntp_server"))
	}
	devices := read[RolloutDeviceList](c.do(http.MethodGet, path+"/systems?state=done", "")).Items
	if len(devices) != 2 || devices[0].State != store.DeviceDone || len(devices[0].Changes) != 1 {
		t.Errorf("%+v", devices)
	}
	// Others see nothing of it, and who looks after nothing here cannot begin.
	foreign := w.signedIn(w.south, store.RoleOwner)
	foreign.do(http.MethodPost, path+"/control", `{"action":"rollback"}`).problem(CodeNotFound)
	w.signedIn(w.north, store.RoleMonitoring).do(http.MethodGet, path, "").problem(CodeForbidden)
	if list := read[RolloutList](foreign.do(http.MethodGet, "/rollouts", "")); len(list.Items) != 0 {
		t.Errorf("%+v", list)
	}
	c.do(http.MethodPost, path+"/control", `{"action":"rollback"}`).want(http.StatusOK)
	await(store.RolloutReverted)
	if one.get("ntp_server") != `"old"` || two.get("ntp_server") != `"old"` {
		t.Errorf("the PBXs have %s and %s", one.get("ntp_server"), two.get("ntp_server"))
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	c := w.signedIn(w.north, store.RoleAdministrator)
	id, _ := c.configurable("0000000001")
	const body = `{"name":"Time","settings":{"ntp_server":"a"},"system_id":"ID"}`
	a := c.do(http.MethodPost, "/templates", strings.Replace(body, "ID", id, 1)).want(http.StatusCreated)
	path := "/templates/" + read[Template](a).ID
	c.do(http.MethodPost, "/templates", `{"name":"Time","settings":{"ntp_server":"a"}}`).problem(CodeConflict)
	// The PBX that is named has to take the settings.
	p := c.do(http.MethodPost, "/templates", `{"name":"Other","settings":{"nothing":1},"system_id":"`+id+`"}`).problem(CodeInvalid)
	if len(p.Errors) != 1 || p.Errors[0].Location != "body.settings.nothing" {
		t.Errorf("%+v", p)
	}
	c.do(http.MethodPost, "/templates", strings.NewReplacer("ID", "x", "Time", "Third").Replace(body)).problem(CodeInvalid)
	c.do(http.MethodPost, "/templates", `{"name":"Other","settings":{"ntp_server":{"a":1}}}`).problem(CodeInvalid)
	c.do(http.MethodPut, path, `{"name":"Time","settings":{"ntp_server":"b"}}`, `If-Match: "1"`).want(http.StatusOK)
	c.do(http.MethodPut, path, `{"name":"Time","settings":{"ntp_server":"c"}}`, `If-Match: "1"`).problem(CodeVersion)
	if got := read[Template](c.do(http.MethodGet, path, "")); got.Version != 2 || string(got.Settings["ntp_server"]) != `"b"` {
		t.Errorf("%+v", got)
	}
}
