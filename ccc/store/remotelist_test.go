package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// TestTenantRemotes: what a tenant's list has of which filter, also of systems that are
// gone, and nothing of another tenant.
func TestTenantRemotes(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		a, b := fixture(t, db), fixture(t, db)
		jo, eve := newUser(a.Tenant, "jo@example.com"), newUser(b.Tenant, "eve@example.com")
		second := newSystem(a.Tenant, "0000000002")
		all := []store.Remote{newRemote(a, jo), newRemote(second, jo), newRemote(a, jo), newRemote(b, eve)}
		for i := range all {
			all[i].Requested = now.Add(time.Duration(i) * time.Second)
		}
		update(t, db, func(tx *store.Tx) error {
			err := errors.Join(tx.CreateUser(jo), tx.CreateUser(eve), tx.CreateSystem(second))
			for _, v := range all {
				err = errors.Join(err, tx.CreateRemote(v))
			}
			all[1].State, all[1].Cause, all[1].Ended = grant.Refused, grant.CauseAdmin, &now
			return errors.Join(err, tx.SetRemote(all[1]), tx.DeleteSystem(a.Tenant, second.ID))
		})
		for name, tt := range map[string]struct {
			filter store.RemoteFilter
			want   []store.Remote
		}{
			"all":                 {store.RemoteFilter{}, []store.Remote{all[2], all[1], all[0]}},
			"of a system":         {store.RemoteFilter{System: a.ID}, []store.Remote{all[2], all[0]}},
			"of one that is gone": {store.RemoteFilter{System: second.ID}, []store.Remote{all[1]}},
			"of a serial":         {store.RemoteFilter{Serial: "0000000002"}, []store.Remote{all[1]}},
			"refused":             {store.RemoteFilter{States: []grant.State{grant.Refused, grant.Expired}}, []store.Remote{all[1]}},
			"both":                {store.RemoteFilter{System: a.ID, States: []grant.State{grant.Refused}}, []store.Remote{}},
			"of another's system": {store.RemoteFilter{System: b.ID}, []store.Remote{}},
			"of no id":            {store.RemoteFilter{System: "a b"}, []store.Remote{}},
			"of no serial":        {store.RemoteFilter{Serial: identity.Serial("' OR 1=1")}, []store.Remote{}},
		} {
			got := get(t, db, func(tx *store.Tx) (v []store.Remote, err error) {
				v, _, err = tx.TenantRemotes(a.Tenant, tt.filter, store.Page{})
				return v, err
			})
			if len(got) != len(tt.want) {
				t.Errorf("%s: %d records", name, len(got))
				continue
			}
			for i := range got {
				equal(t, name, got[i], tt.want[i])
			}
		}
		view(t, db, func(tx *store.Tx) error {
			first, next, err := tx.TenantRemotes(a.Tenant, store.RemoteFilter{}, store.Page{Limit: 2})
			rest, last, err2 := tx.TenantRemotes(a.Tenant, store.RemoteFilter{}, store.Page{Limit: 2, Cursor: next})
			if len(first) != 2 || len(rest) != 1 || rest[0].ID != all[0].ID || next == "" || last != "" {
				t.Errorf("pages of %d and %d", len(first), len(rest))
			}
			one, err3 := tx.TenantRemote(a.Tenant, all[1].ID)
			equal(t, "of a system that is gone", one, all[1])
			if _, err := tx.TenantRemote(a.Tenant, all[3].ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("another tenant's: %v", err)
			}
			return errors.Join(err, err2, err3)
		})
	})
}
