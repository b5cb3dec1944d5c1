package store_test

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

var towns = []string{"München", "Köln", "Zürich", "Saarbrücken", "Besançon", "Orléans", "York", "Bath", "Straße", "100% _!"}

// fleet adds a tenant with n systems that differ in everything, and another tenant with
// a few of the same kind.
func fleet(t testing.TB, db *store.DB, n int) (store.TenantID, []store.System) {
	t.Helper()
	other, tenant := newTenant(), newTenant()
	var all []store.System
	update(t, db, func(tx *store.Tx) error {
		if err := errors.Join(tx.CreateTenant(other), tx.CreateTenant(tenant)); err != nil {
			return err
		}
		if _, err := addFleet(tx, other.ID, 10); err != nil {
			return err
		}
		var err error
		all, err = addFleet(tx, tenant.ID, n)
		return err
	})
	return tenant.ID, all
}

func addFleet(tx *store.Tx, tenant store.TenantID, n int) (all []store.System, err error) {
	south := store.Group{ID: store.NewID[store.GroupID](), Tenant: tenant, Name: "Süd", Created: now}
	north := store.Group{ID: store.NewID[store.GroupID](), Tenant: tenant, Name: "Nord", Created: now}
	if err := errors.Join(tx.CreateGroup(south), tx.CreateGroup(north)); err != nil {
		return nil, err
	}
	for i := range n {
		s := newSystem(tenant, identity.Serial(fmt.Sprintf("%010d", (i*7919)%1e6)))
		s.Name = fmt.Sprintf("%s %d", towns[i%len(towns)], i%100)
		s.Note = fmt.Sprintf("note %d", i%3)
		s.State = []store.State{store.StatePaired, store.StateOffered, store.StateError}[i%3]
		s.Created = now.Add(time.Duration(i%50) * time.Minute)
		s.StateSince = now.Add(-time.Duration(i%70) * time.Minute)
		if i%4 != 0 {
			at := now.Add(time.Duration(i%30) * time.Second)
			s.LastSeen = &at
		}
		if i%5 == 0 {
			s.Tags = []string{"five", fmt.Sprintf("tag%d", i%7)}
		}
		if i%2 == 0 {
			s.Groups = []store.Group{south}
		}
		if i%6 == 0 {
			s.Groups = []store.Group{north, south}
		}
		if err := tx.CreateSystem(s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func list(t testing.TB, db *store.DB, tenant store.TenantID, f store.Filter, p store.Page) (items []store.System, next string, total int, err error) {
	t.Helper()
	err = db.View(t.Context(), func(tx *store.Tx) (err error) {
		items, next, total, err = tx.Systems(tenant, f, p)
		return err
	})
	return items, next, total, err
}

// pages reads all pages.
func pages(t testing.TB, db *store.DB, tenant store.TenantID, f store.Filter, limit, total int) (all []store.System) {
	t.Helper()
	for cursor, n := "", 0; ; n++ {
		items, next, count, err := list(t, db, tenant, f, store.Page{Cursor: cursor, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		if count != total {
			t.Errorf("%+v: %d in all, want %d", f, count, total)
		}
		all = append(all, items...)
		if cursor = next; cursor == "" {
			return all
		}
		if len(items) != limit || n > 10000 {
			t.Fatalf("%+v: a page of %d, want %d", f, len(items), limit)
		}
	}
}

// fits tells whether a filter chooses a system.
func fits(f store.Filter, s store.System) bool {
	text := store.Fold(strings.Join(append([]string{s.Name, string(s.Serial), s.Note}, s.Tags...), "\n"))
	for word := range strings.FieldsSeq(store.Fold(f.Query)) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	for _, tag := range f.Tags {
		if !slices.Contains(s.Tags, tag) {
			return false
		}
	}
	return (len(f.States) == 0 || slices.Contains(f.States, s.State)) &&
		(f.Group == "" || slices.ContainsFunc(s.Groups, func(g store.Group) bool { return g.ID == f.Group })) &&
		(f.Serials == nil || slices.Contains(f.Serials, s.Serial)) && !slices.Contains(f.NotSerials, s.Serial)
}

func lastSeen(s store.System) time.Time {
	if s.LastSeen == nil {
		return time.Time{}
	}
	return *s.LastSeen
}

var orders = map[store.Sort]func(a, b store.System) int{
	"":                 func(a, b store.System) int { return bytes.Compare(store.SortKey(a.Name), store.SortKey(b.Name)) },
	store.BySerial:     func(a, b store.System) int { return cmp.Compare(a.Serial, b.Serial) },
	store.ByState:      func(a, b store.System) int { return cmp.Compare(a.State, b.State) },
	store.ByStateSince: func(a, b store.System) int { return a.StateSince.Compare(b.StateSince) },
	store.ByCreated:    func(a, b store.System) int { return a.Created.Compare(b.Created) },
	store.ByLastSeen:   func(a, b store.System) int { return lastSeen(a).Compare(lastSeen(b)) },
}

// The lists are what a sort and a filter in Go give.
func TestList(t *testing.T) {
	t.Parallel()
	n := 10000
	if raceDetector {
		n = 300
	}
	databases(t, func(t *testing.T, db *store.DB) {
		tenant, all := fleet(t, db, n)
		byID := map[store.SystemID]store.System{}
		var some []identity.Serial
		for i, s := range all {
			byID[s.ID] = s
			if i%20 == 0 {
				some = append(some, s.Serial)
			}
		}
		north := all[0].Groups[0].ID
		for _, tt := range []struct {
			filter store.Filter
			sorts  []store.Sort
			want   int // how many, to see that the filter is none of everything
		}{
			{store.Filter{}, slices.Collect(maps.Keys(orders)), 10000},
			{store.Filter{Query: " munchen NOTE 1 "}, []store.Sort{""}, 700},
			{store.Filter{Query: "STRASSE 18"}, []store.Sort{store.ByLastSeen}, 135},
			{store.Filter{Query: "% _!"}, []store.Sort{store.BySerial}, 1000},
			{store.Filter{Query: "' OR 1=1 --"}, []store.Sort{""}, 0},
			{store.Filter{States: []store.State{store.StateError, store.StatePaired}}, []store.Sort{store.ByState}, 6667},
			{store.Filter{Tags: []string{"five", "tag3"}}, []store.Sort{store.ByCreated}, 286},
			{store.Filter{Query: "tag3"}, []store.Sort{store.ByStateSince}, 286},
			{store.Filter{Group: north}, []store.Sort{store.ByLastSeen}, 1667},
			{store.Filter{Group: "?"}, []store.Sort{""}, 0},
			{store.Filter{Serials: some}, []store.Sort{""}, 500},
			{store.Filter{Serials: []identity.Serial{}}, []store.Sort{""}, 0},
			{store.Filter{NotSerials: some, States: []store.State{store.StateOffered}, Query: "note", Group: north}, []store.Sort{""}, 0},
			{store.Filter{NotSerials: some, States: []store.State{store.StateError}, Query: "note"}, []store.Sort{""}, 3166},
		} {
			var want []store.System
			for _, s := range all {
				if fits(tt.filter, s) {
					want = append(want, s)
				}
			}
			if len(want) != tt.want && !raceDetector {
				t.Errorf("%+v: the model gives %d, want %d", tt.filter, len(want), tt.want)
			}
			for _, sort := range tt.sorts {
				slices.SortFunc(want, func(a, b store.System) int { return cmp.Or(orders[sort](a, b), cmp.Compare(a.ID, b.ID)) })
				for _, sort := range []store.Sort{sort, "-" + cmp.Or(sort, store.ByName)} {
					tt.filter.Sort = sort
					got := pages(t, db, tenant, tt.filter, n*2/5-1, len(want))
					if !slices.EqualFunc(got, want, func(a, b store.System) bool { return a.ID == b.ID }) {
						t.Errorf("%q by %q: %d systems that are not the %d wanted ones, or in another order", tt.filter.Query, sort, len(got), len(want))
					}
					slices.Reverse(want)
					for i := 0; i < len(got); i += n / 30 {
						s := byID[got[i].ID]
						if s.Tags == nil {
							s.Tags = []string{}
						}
						if s.Groups == nil {
							s.Groups = []store.Group{}
						}
						equal(t, "a system", got[i], s)
					}
				}
			}
		}
		if items, next, total, err := list(t, db, tenant, store.Filter{Query: strings.Repeat("m ", 17)}, store.Page{}); len(items)+total != 0 || next != "" || err != nil {
			t.Errorf("too many words: %d, %v", total, err)
		}
	})
}

// A page goes on where the one before it ended, whatever has come and gone since: what
// was there all the time comes once.
func TestCursorIsStable(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		tenant, all := fleet(t, db, 300)
		new, gone := 0, map[store.SystemID]bool{}
		for _, sort := range []store.Sort{store.ByName, "-name", store.BySerial, "-created", store.ByLastSeen} {
			seen := map[store.SystemID]int{}
			for cursor := ""; ; {
				items, next, _, err := list(t, db, tenant, store.Filter{Sort: sort, Query: "note"}, store.Page{Cursor: cursor, Limit: 20})
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range items {
					seen[s.ID]++
				}
				if cursor = next; cursor == "" {
					break
				}
				// One is new at either end, and the one that the cursor is of is gone.
				last := items[len(items)-1].ID
				gone[last] = true
				update(t, db, func(tx *store.Tx) error {
					first, end := newSystem(tenant, identity.Serial(fmt.Sprintf("00000%05d", 10000+new))), newSystem(tenant, identity.Serial(fmt.Sprintf("99999%05d", new)))
					first.Name, end.Name = "AAA", "zzz"
					return errors.Join(tx.CreateSystem(first), tx.CreateSystem(end), tx.DeleteSystem(tenant, last))
				})
				new++
			}
			for _, s := range all {
				if n := seen[s.ID]; n > 1 || n == 0 && !gone[s.ID] {
					t.Errorf("%s: %s came %d times", sort, s.Name, n)
				}
			}
		}
		if len(gone) < 50 {
			t.Errorf("only %d systems have gone", len(gone))
		}
	})
}

func TestWrongCursors(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		tenant, _ := fleet(t, db, 30)
		_, good, _, err := list(t, db, tenant, store.Filter{}, store.Page{Limit: 5})
		if err != nil || good == "" {
			t.Fatal(good, err)
		}
		text, err := base64.RawURLEncoding.DecodeString(good)
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range []string{
			"x", "!", good + "=", good[1:], base64.RawURLEncoding.EncodeToString([]byte(`{"c":"name_key","i":"' OR 1=1"}`)),
			base64.RawURLEncoding.EncodeToString(bytes.Replace(text, []byte(`"m":30`), []byte(`"m":-1`), 1)),
			base64.RawURLEncoding.EncodeToString(bytes.Replace(text, []byte("name_key"), []byte("password_hash"), 1)),
			strings.Repeat("A", 1<<20),
		} {
			if _, _, _, err := list(t, db, tenant, store.Filter{}, store.Page{Cursor: wrong}); !errors.Is(err, store.ErrCursor) {
				t.Errorf("%.50q: %v", wrong, err)
			}
		}
		if _, _, _, err := list(t, db, tenant, store.Filter{Sort: "-name"}, store.Page{Cursor: good}); !errors.Is(err, store.ErrCursor) {
			t.Errorf("for another order: %v", err)
		}
		if _, _, _, err := list(t, db, tenant, store.Filter{Sort: "password"}, store.Page{}); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("an unknown order: %v", err)
		}
		items, _, _, err := list(t, db, tenant, store.Filter{}, store.Page{Cursor: good})
		if err != nil || len(items) != 25 {
			t.Errorf("the good one: %d systems, %v", len(items), err)
		}
		// A tenant gets nothing of another's with its cursor.
		other := newTenant()
		update(t, db, func(tx *store.Tx) error { return tx.CreateTenant(other) })
		if items, _, _, err := list(t, db, other.ID, store.Filter{}, store.Page{Cursor: good}); err != nil || len(items) != 0 {
			t.Errorf("another tenant: %d, %v", len(items), err)
		}
	})
}

// A list is counted with its first page; the others say the same.
func TestCountedOnce(t *testing.T) {
	t.Parallel()
	databases(t, func(t *testing.T, db *store.DB) {
		tenant, all := fleet(t, db, 30)
		_, next, total, err := list(t, db, tenant, store.Filter{}, store.Page{Limit: 10})
		if total != 30 || err != nil {
			t.Fatal(total, err)
		}
		update(t, db, func(tx *store.Tx) error { return tx.DeleteSystem(tenant, all[0].ID) })
		for next != "" {
			if _, next, total, err = list(t, db, tenant, store.Filter{}, store.Page{Cursor: next, Limit: 10}); total != 30 || err != nil {
				t.Errorf("a later page: %d, %v", total, err)
			}
		}
		if _, _, total, err = list(t, db, tenant, store.Filter{}, store.Page{Limit: 10}); total != 29 || err != nil {
			t.Errorf("the first page anew: %d, %v", total, err)
		}
	})
}

// The orders that the pages ask for are read from an index, not sorted.
func TestOrdersHaveIndexes(t *testing.T) {
	t.Parallel()
	db := open(t, sqliteConfig(t))
	tenant, _ := fleet(t, db, 100)
	for _, tt := range []struct {
		column, order string
		sorts         bool
	}{{"name_key", "", false}, {"created", " DESC", false}, {"state_since", " DESC", false}, {"note", "", true}} {
		steps := get(t, db, func(tx *store.Tx) ([]string, error) {
			return tx.Plan("SELECT id FROM systems WHERE tenant_id = $1 ORDER BY "+tt.column+tt.order+", id"+tt.order+" LIMIT 50", tenant)
		})
		if sorts := strings.Contains(strings.Join(steps, "; "), "TEMP B-TREE"); sorts != tt.sorts {
			t.Errorf("%s: %q", tt.column, steps)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	db := open(t, sqliteConfig(t))
	tenant, _ := fleet(t, db, 150)
	for limit, want := range map[int]int{0: 100, -1: 100, 1: 1, 149: 149, 150: 150, 1 << 40: 150} {
		items, next, total, err := list(t, db, tenant, store.Filter{}, store.Page{Limit: limit})
		if err != nil || len(items) != want || total != 150 || (next == "") != (want == 150) {
			t.Errorf("limit %d: %d of %d, %q, %v", limit, len(items), total, next, err)
		}
	}
}

// BenchmarkList: a page of a filtered and sorted list of 10,000 systems, and all of them.
func BenchmarkList(b *testing.B) {
	db := open(b, sqliteConfig(b))
	tenant, all := fleet(b, db, 10000)
	var online []identity.Serial
	for _, s := range all[:5000] {
		online = append(online, s.Serial)
	}
	for _, bb := range []struct {
		name   string
		filter store.Filter
		limit  int
	}{
		{"page/name", store.Filter{}, 100},
		{"page/last_seen", store.Filter{Sort: "-last_seen"}, 100},
		{"page/query", store.Filter{Query: "saarbrucken note"}, 100},
		{"page/query,online,tag", store.Filter{Query: "note", Serials: online, Tags: []string{"five"}, Sort: "-state"}, 100},
		{"page/offline", store.Filter{NotSerials: online, Sort: store.ByCreated}, 100},
		{"all/name", store.Filter{}, 10000},
		{"all/query", store.Filter{Query: "note", Sort: "-last_seen"}, 10000},
	} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				if _, _, _, err := list(b, db, tenant, bb.filter, store.Page{Limit: bb.limit}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
