package store_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

func newTenantGrant(id store.GrantID, from, to store.TenantID) store.TenantGrant {
	return store.TenantGrant{
		ID: id, Tenant: from, Grantee: to, Roles: []store.Role{store.RoleMonitoring, store.RoleRemote},
		By: store.NewID[store.UserID](), Created: now,
	}
}

func newBreakGlass(id store.BreakGlassID, tenant store.TenantID) store.BreakGlass {
	return store.BreakGlass{
		ID: id, Tenant: tenant, Home: store.NewID[store.TenantID](), User: store.NewID[store.UserID](), Name: "Op",
		Reason: "ticket 17", Created: now, Expires: now.Add(time.Hour),
	}
}

func newHandover(id store.HandoverID, s store.System, to store.TenantID) store.Handover {
	return store.Handover{
		ID: id, From: s.Tenant, To: to, System: s.ID, Serial: s.Serial, Name: s.Name, State: store.HandoverOffered,
		By: store.NewID[store.UserID](), Created: now, Expires: now.Add(7 * 24 * time.Hour),
	}
}

func TestUserGrants(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		jo, al := newUser(s.Tenant, "jo@example.com"), newUser(s.Tenant, "al@example.com")
		al.Roles = nil
		site := store.Site{ID: store.NewID[store.SiteID](), Tenant: s.Tenant, Name: "Hamburg", Created: now}
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.CreateUser(jo), tx.CreateUser(al), tx.CreateSite(site))
		})
		roles := func() []store.Role {
			return get(t, db, func(tx *store.Tx) (store.User, error) { return tx.User(s.Tenant, al.ID) }).Roles
		}
		if got := roles(); len(got) != 0 {
			t.Errorf("a user made without roles has %v", got)
		}
		all := []store.UserGrant{
			{User: al.ID, Role: store.RoleBackup, Part: store.Part{System: s.ID}},
			{User: al.ID, Role: store.RoleBackup},
			{User: al.ID, Role: store.RoleRemote, Part: store.Part{Site: site.ID}},
		}
		update(t, db, func(tx *store.Tx) error { return tx.SetUserGrants(s.Tenant, al.ID, append(all, all[0])) })
		if got := roles(); !slices.Equal(got, []store.Role{store.RoleBackup, store.RoleRemote}) {
			t.Errorf("roles %v", got)
		}
		got := get(t, db, func(tx *store.Tx) ([]store.UserGrant, error) { return tx.UserGrants(s.Tenant, al.ID) })
		equal(t, "grants", got, []store.UserGrant{all[1], all[0], all[2]})
		every := get(t, db, func(tx *store.Tx) ([]store.UserGrant, error) { return tx.UserGrants(s.Tenant, "") })
		if len(every) != 4 {
			t.Errorf("all users: %v", every)
		}
		if n := get(t, db, func(tx *store.Tx) (int, error) { return tx.CountOwners(s.Tenant) }); n != 1 {
			t.Errorf("%d owners", n)
		}
		update(t, db, func(tx *store.Tx) error { return tx.SetUserDisabled(s.Tenant, jo.ID, true) })
		if n := get(t, db, func(tx *store.Tx) (int, error) { return tx.CountOwners(s.Tenant) }); n != 0 {
			t.Errorf("%d owners, the only one is disabled", n)
		}
		// What is granted for a part goes with it.
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.DeleteSite(s.Tenant, site.ID), tx.DeleteSystem(s.Tenant, s.ID))
		})
		if got := get(t, db, func(tx *store.Tx) ([]store.UserGrant, error) { return tx.UserGrants(s.Tenant, al.ID) }); len(got) != 1 {
			t.Errorf("left: %v", got)
		}
	})
}

// TestGrantValues: what makes no sense is not kept, and nothing of it is.
func TestGrantValues(t *testing.T) {
	t.Parallel()
	db := open(t, sqliteConfig(t))
	s := fixture(t, db)
	jo := newUser(s.Tenant, "jo@example.com")
	update(t, db, func(tx *store.Tx) error { return tx.CreateUser(jo) })
	other := newTenant()
	stranger := newSystem(other.ID, "0000000005")
	update(t, db, func(tx *store.Tx) error { return errors.Join(tx.CreateTenant(other), tx.CreateSystem(stranger)) })
	set := func(g store.UserGrant) error {
		return db.Update(t.Context(), func(tx *store.Tx) error {
			return tx.SetUserGrants(s.Tenant, jo.ID, []store.UserGrant{{User: jo.ID, Role: store.RoleBackup}, g})
		})
	}
	for name, tt := range map[string]struct {
		err  error
		want error
	}{
		"a role that is none":      {set(store.UserGrant{Role: "king"}), store.ErrInvalid},
		"an owner of one system":   {set(store.UserGrant{Role: store.RoleOwner, Part: store.Part{System: s.ID}}), store.ErrInvalid},
		"a site and a system":      {set(store.UserGrant{Role: store.RoleBackup, Part: store.Part{System: s.ID, Site: "x"}}), store.ErrInvalid},
		"another tenant's system":  {set(store.UserGrant{Role: store.RoleBackup, Part: store.Part{System: stranger.ID}}), store.ErrNotFound},
		"a site that is not there": {set(store.UserGrant{Role: store.RoleBackup, Part: store.Part{Site: "x"}}), store.ErrNotFound},
		"the owner's role to others": {db.Update(t.Context(), func(tx *store.Tx) error {
			g := newTenantGrant("g", s.Tenant, other.ID)
			g.Roles = append(g.Roles, store.RoleOwner)
			return tx.CreateTenantGrant(g)
		}), store.ErrInvalid},
		"something to oneself": {db.Update(t.Context(), func(tx *store.Tx) error {
			return tx.CreateTenantGrant(newTenantGrant("g", s.Tenant, s.Tenant))
		}), store.ErrInvalid},
		"another's system to others": {db.Update(t.Context(), func(tx *store.Tx) error {
			g := newTenantGrant("g", s.Tenant, other.ID)
			g.System = stranger.ID
			return tx.CreateTenantGrant(g)
		}), store.ErrNotFound},
		"another's system handed over": {db.Update(t.Context(), func(tx *store.Tx) error {
			h := newHandover("h", stranger, "somebody")
			h.From = s.Tenant
			return tx.CreateHandover(h)
		}), store.ErrNotFound},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", name, tt.err, tt.want)
		}
	}
	if got := get(t, db, func(tx *store.Tx) ([]store.UserGrant, error) { return tx.UserGrants(s.Tenant, jo.ID) }); len(got) != 1 || got[0].Role != store.RoleOwner {
		t.Errorf("after what was refused: %v", got)
	}
}

// TestRights: what is over, taken back, of another or to the operator is not in it.
func TestRights(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		reseller, operator := newTenant(), newTenant()
		reseller.Kind, operator.Kind = store.KindReseller, store.KindOperator
		jo, op := newUser(reseller.ID, "jo@example.com"), newUser(operator.ID, "op@example.com")
		over := now.Add(-time.Second)
		running, ended, toOperator := newTenantGrant("g1", s.Tenant, reseller.ID), newTenantGrant("g2", s.Tenant, reseller.ID), newTenantGrant("g3", s.Tenant, operator.ID)
		ended.Until = &over
		glass, gone := newBreakGlass("b1", s.Tenant), newBreakGlass("b2", s.Tenant)
		glass.User, glass.Home, gone.User, gone.Home = op.ID, operator.ID, op.ID, operator.ID
		gone.Created, gone.Expires = now.Add(-time.Hour), over
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(
				tx.CreateTenant(reseller), tx.CreateTenant(operator), tx.CreateUser(jo), tx.CreateUser(op),
				tx.CreateTenantGrant(running), tx.CreateTenantGrant(ended), tx.CreateTenantGrant(toOperator),
				tx.CreateBreakGlass(glass), tx.CreateBreakGlass(gone),
			)
		})
		rights := func(u store.User, tenant store.TenantID) (own, given, glass int) {
			t.Helper()
			r := get(t, db, func(tx *store.Tx) (store.Rights, error) { return tx.Rights(u.ID, u.Tenant, tenant, now) })
			return len(r.Own), len(r.Given), len(r.Glass)
		}
		for name, tt := range map[string]struct {
			user              store.User
			tenant            store.TenantID
			own, given, glass int
		}{
			"at home":                   {jo, reseller.ID, 1, 0, 0},
			"in the customer's":         {jo, s.Tenant, 1, 1, 0},
			"the operator, broke glass": {op, s.Tenant, 1, 0, 1},
			"somewhere else":            {jo, operator.ID, 1, 0, 0},
		} {
			if own, given, glass := rights(tt.user, tt.tenant); own != tt.own || given != tt.given || glass != tt.glass {
				t.Errorf("%s: %d, %d, %d", name, own, given, glass)
			}
		}
		away := func(u store.User) map[store.TenantID]store.Rights {
			t.Helper()
			return get(t, db, func(tx *store.Tx) (map[store.TenantID]store.Rights, error) { return tx.RightsAway(u.ID, u.Tenant, now) })
		}
		for name, u := range map[string]store.User{"by a grant": jo, "by broken glass": op} {
			all := away(u)
			want := get(t, db, func(tx *store.Tx) (store.Rights, error) { return tx.Rights(u.ID, u.Tenant, s.Tenant, now) })
			if len(all) != 1 || len(want.Own) == 0 || len(want.Given)+len(want.Glass) != 1 {
				t.Errorf("%s: %+v", name, all)
			}
			equal(t, name, all[s.Tenant], want)
		}
		update(t, db, func(tx *store.Tx) error {
			_, err1 := tx.EndBreakGlass(s.Tenant, glass.ID, jo.ID, now)
			_, err2 := tx.DeleteTenantGrant(s.Tenant, running.ID)
			return errors.Join(err1, err2, tx.SetUserDisabled(reseller.ID, jo.ID, true))
		})
		if own, given, _ := rights(jo, s.Tenant); own+given != 0 {
			t.Errorf("disabled, and taken back: %d, %d", own, given)
		}
		if _, _, glass := rights(op, s.Tenant); glass != 0 {
			t.Error("ended: he is still in")
		}
		if all := away(op); len(all) != 0 {
			t.Errorf("ended: %+v", all)
		}
		// Who ended it first stays.
		v := get(t, db, func(tx *store.Tx) ([]store.BreakGlass, error) {
			all, _, err := tx.BreakGlasses(operator.ID, now, store.Page{})
			return all, err
		})
		update(t, db, func(tx *store.Tx) error {
			again, err := tx.EndBreakGlass(operator.ID, glass.ID, op.ID, now.Add(time.Minute))
			equal(t, "ended twice", again, v[0])
			return err
		})
	})
}

func TestHandovers(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		s := fixture(t, db)
		to := newTenant()
		h := newHandover(store.NewID[store.HandoverID](), s, to.ID)
		update(t, db, func(tx *store.Tx) error { return errors.Join(tx.CreateTenant(to), tx.CreateHandover(h)) })
		for _, tenant := range []store.TenantID{s.Tenant, to.ID} {
			equal(t, "both sides", get(t, db, func(tx *store.Tx) ([]store.Handover, error) {
				all, _, err := tx.Handovers(tenant, now, store.Page{})
				return all, err
			}), []store.Handover{h})
		}
		conflicts(t, "handover", db.Update(t.Context(), func(tx *store.Tx) error {
			return tx.CreateHandover(newHandover("another", s, to.ID))
		}))
		late := get(t, db, func(tx *store.Tx) (v []store.Handover, err error) { return v, nil })
		update(t, db, func(tx *store.Tx) (err error) {
			late, err = tx.ExpireHandovers(h.Expires.Add(-time.Millisecond))
			return err
		})
		if len(late) != 0 {
			t.Errorf("too early: %v", late)
		}
		update(t, db, func(tx *store.Tx) (err error) {
			late, err = tx.ExpireHandovers(h.Expires)
			return err
		})
		if len(late) != 1 || late[0].State != store.HandoverExpired {
			t.Errorf("in time: %v", late)
		}
		conflicts(t, "state", db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.SetHandover(to.ID, h.ID, store.HandoverOffered, store.HandoverAccepted, "x", now)
			return err
		}))
		update(t, db, func(tx *store.Tx) error { return tx.CreateHandover(newHandover("another", s, to.ID)) })
	})
}

// TestRightsAreFound: what every request asks for is found by indexes alone.
func TestRightsAreFound(t *testing.T) {
	t.Parallel()
	db := open(t, sqliteConfig(t))
	s := fixture(t, db)
	for _, other := range []store.TenantID{s.Tenant, "another"} {
		steps := get(t, db, func(tx *store.Tx) ([]string, error) {
			query, args := tx.RightsQuery("user", s.Tenant, other, now)
			return tx.Plan(query, args...)
		})
		for _, step := range steps {
			if strings.HasPrefix(step, "SCAN") {
				t.Errorf("it looks through a table: %v", steps)
			}
		}
		if len(steps) < 2 {
			t.Errorf("steps %v", steps)
		}
	}
}
