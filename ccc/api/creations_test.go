package api

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// somebody is a body that makes a user with an address.
func somebody(email, roles string) string {
	return fmt.Sprintf(`{"email":%q,"name":"Some One","language":"de","password":%q,"roles":[%s]}`, email, testPassword, roles)
}

func (w *world) users(tenant store.TenantID) (all []store.User) {
	w.t.Helper()
	w.update(func(tx *store.Tx) (err error) { all, err = tx.Users(tenant); return err })
	return all
}

// TestUserIsMadeWithRoles: or not at all, where the roles cannot be given any more when the
// password is hashed.
func TestUserIsMadeWithRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t).serve()
	owner := w.signedIn(w.north, store.RoleOwner)
	site := read[Site](owner.do(http.MethodPost, "/sites", `{"name":"Berlin"}`).want(http.StatusCreated)).ID
	body := somebody("one@example.com", `{"role":"remote","site_id":"`+site+`"}`)
	// The two places are taken, so that it waits after its roles were looked at.
	w.must(w.api.creations.Acquire(t.Context(), parallelCreations))
	done := make(chan answer)
	go func() { done <- owner.do(http.MethodPost, "/users", body) }()
	w.update(func(tx *store.Tx) error { return tx.DeleteSite(w.north, store.SiteID(site)) })
	w.api.creations.Release(parallelCreations)
	(<-done).problem(CodeInvalid)
	if all := w.users(w.north); len(all) != 1 {
		t.Errorf("without the site there are %d users", len(all))
	}
	made := read[Person](owner.do(http.MethodPost, "/users", somebody("one@example.com", `{"role":"remote"}`)).want(http.StatusCreated))
	if len(made.Roles) != 1 || len(w.users(w.north)) != 2 {
		t.Errorf("made: %+v", made)
	}
}

// TestRoom: a tenant has so many users and tenants below it, and no more.
func TestRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *options) { o.api.Limits.Users, o.api.Limits.Tenants = 2, 1 }).serve()
	reseller := w.kind(store.KindReseller, "")
	owner := w.signedIn(reseller, store.RoleOwner)
	tooMany := func(a answer) {
		t.Helper()
		if p := a.problem(CodeInvalid); len(p.Errors) != 1 || p.Errors[0].Code != FieldTooMany {
			t.Errorf("%s", a.body)
		}
	}
	owner.do(http.MethodPost, "/users", somebody("one@example.com", "")).want(http.StatusCreated)
	tooMany(owner.do(http.MethodPost, "/users", somebody("two@example.com", "")))
	tenant := func(email string) string {
		return `{"kind":"customer","name":"West","owner":` + strings.Replace(somebody(email, ""), `,"roles":[]`, "", 1) + `}`
	}
	owner.do(http.MethodPost, "/tenants", tenant("three@example.com")).want(http.StatusCreated)
	tooMany(owner.do(http.MethodPost, "/tenants", tenant("four@example.com")))
	var all []store.Tenant
	w.update(func(tx *store.Tx) (err error) { all, err = tx.Tenants(); return err })
	if len(all) != 4 { // with north and south
		t.Errorf("tenants: %+v", all)
	}
}

// TestCreationsWait: when as many accounts are made as may be at once, others are refused in
// the end, and people sign in all the same.
func TestCreationsWait(t *testing.T) {
	t.Parallel()
	// The sign-ins have no longer, and take a second on a busy machine with the race detector.
	w := newWorld(t, func(o *options) { o.api.Limits.AnswerTimeout = 3 * time.Second }).serve()
	owner := w.signedIn(w.north, store.RoleOwner)
	w.must(w.api.creations.Acquire(t.Context(), parallelCreations))
	owner.do(http.MethodPost, "/users", somebody("one@example.com", "")).problem(CodeUnavailable)
	w.signedIn(w.north, store.RoleOwner)
	w.api.creations.Release(parallelCreations)
	owner.do(http.MethodPost, "/users", somebody("one@example.com", "")).want(http.StatusCreated)
}

// TestAddressesAreNoOracle: who tries addresses of others learns of a few, and is noticed.
func TestAddressesAreNoOracle(t *testing.T) {
	t.Parallel()
	log := &bytes.Buffer{}
	w := newWorld(t, func(o *options) { o.api.Logger = hclog.New(&hclog.LoggerOptions{Output: log}) }).serve()
	w.user(w.south, "taken@example.com", store.RoleOwner)
	spy, other := w.signedIn(w.north, store.RoleAdministrator), w.signedIn(w.north, store.RoleAdministrator)
	for range takenTries {
		spy.do(http.MethodPost, "/users", somebody("taken@example.com", "")).problem(CodeConflict)
	}
	for _, email := range []string{"taken@example.com", "free@example.com"} {
		a := spy.do(http.MethodPost, "/users", somebody(email, ""))
		if a.problem(CodeRateLimited); a.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", email)
		}
	}
	other.do(http.MethodPost, "/users", somebody("free@example.com", "")).want(http.StatusCreated)
	if n := strings.Count(log.String(), "actor="+string(spy.user.ID)); n != takenTries || strings.Contains(log.String(), "taken@") {
		t.Errorf("%d lines in the log:\n%s", n, log)
	}
}

// TestGroupsOfAPart: who sees a part of the tenant sees the groups of what is there.
func TestGroupsOfAPart(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, w *world) {
		owner := w.signedIn(w.north, store.RoleOwner)
		seen, hidden := owner.save("0000000001", "One").System.ID, owner.save("0000000002", "Two").System.ID
		var groups []string
		for i, system := range []string{seen, hidden} {
			id := read[Group](owner.do(http.MethodPost, "/groups", fmt.Sprintf(`{"name":"Group %d"}`, i)).want(http.StatusCreated)).ID
			owner.do(http.MethodPatch, "/systems/"+system, `{"groups":["`+id+`"]}`, "If-Match: *").want(http.StatusOK)
			groups = append(groups, id)
		}
		part := w.signedIn(w.north, "")
		owner.do(http.MethodPut, "/users/"+string(part.user.ID)+"/roles", `{"roles":[{"role":"monitoring","system_id":"`+seen+`"}]}`).want(http.StatusOK)
		if all := read[GroupList](part.do(http.MethodGet, "/groups", "").want(http.StatusOK)).Items; len(all) != 1 || all[0].ID != groups[0] {
			t.Errorf("a part: %+v", all)
		}
		if all := read[GroupList](owner.do(http.MethodGet, "/groups", "").want(http.StatusOK)).Items; len(all) != 2 {
			t.Errorf("all: %+v", all)
		}
	})
}
