package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

func backup(t testing.TB, db *store.DB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "backup.db")
	if err := store.Backup(t.Context(), db, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	db := open(t, cfg)
	tenant, own := populate(t, db, "jo@example.com")
	lasting := newBreakGlass(store.NewID[store.BreakGlassID](), tenant)
	lasting.Created, lasting.Expires = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	update(t, db, func(tx *store.Tx) error {
		_, err := tx.NextEpoch(serial)
		return errors.Join(err,
			tx.PutSession(store.Session{User: own.user, Created: now, LastSeen: now, Expires: now.Add(time.Hour)}),
			tx.AddAttempt("kind", "subject", now), tx.CreateBreakGlass(lasting))
	})
	path := backup(t, db)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	before := dump(t, cfg)
	update(t, db, func(tx *store.Tx) error { return tx.CreateTenant(newTenant()) }) // which is not in it
	to := sqliteConfig(t)
	if err := store.Restore(t.Context(), to, path, false); err != nil {
		t.Fatal(err)
	}
	after := dump(t, to)
	if len(after) != len(before) {
		t.Errorf("%d tables, want %d", len(after), len(before))
	}
	for table := range before {
		switch table {
		case "sessions", "idempotency", "attempts", "challenges", "api_tokens", "recovery_codes":
			if len(after[table]) > 0 || len(before[table]) == 0 {
				t.Errorf("%s has\n%v\nand had\n%v", table, after[table], before[table])
			}
		case "offers", "ownership": // below
		case "break_glass", "handovers":
			if reflect.DeepEqual(after[table], before[table]) {
				t.Errorf("%s is as it was", table)
			}
		default:
			if !reflect.DeepEqual(after[table], before[table]) {
				t.Errorf("%s:\n%v\n%v", table, after[table], before[table])
			}
		}
	}
	restored := open(t, to)
	// What must not come back.
	view(t, restored, func(tx *store.Tx) error {
		if _, err := tx.Session(store.TokenHash{}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the session: %v", err)
		}
		offer, err := tx.Offer(own.offer)
		if err != nil || offer.Expires.After(time.Now()) || !offer.Expires.After(offer.Created.Add(-365*24*time.Hour)) {
			t.Errorf("the open offer: %+v, %v", offer, err)
		}
		due, err := tx.DueOffers(time.Now(), 10)
		if err != nil || len(due) != 1 {
			t.Errorf("offers that have expired: %+v, %v", due, err)
		}
		handover, err := tx.Handover(tenant, own.handover)
		if err != nil || handover.State != store.HandoverExpired || handover.Decided == nil {
			t.Errorf("the offered hand-over: %+v, %v", handover, err)
		}
		n, _, err := tx.CountAttempts("kind", "subject", time.Time{})
		if err != nil || n != 0 {
			t.Errorf("attempts: %d, %v", n, err)
		}
		_, err = tx.System(tenant, own.system)
		return err
	})
	// Staff who had entered are out, and where that was over, since then.
	var glasses, in int
	if err := raw(t, to).QueryRowContext(t.Context(), "SELECT count(*), coalesce(sum(ended = 0 OR ended > expires OR ended > $1), 0) FROM break_glass",
		time.Now().UnixMilli()).Scan(&glasses, &in); err != nil || glasses != 2 || in != 0 {
		t.Errorf("of %d who had entered %d are in, %v", glasses, in, err)
	}
	// In the meantime the PBX has had other owners, and so has one that was unknown.
	update(t, db, func(tx *store.Tx) error {
		for range 50 {
			if _, err := tx.NextEpoch(serial); err != nil {
				return err
			}
		}
		return nil
	})
	update(t, restored, func(tx *store.Tx) error {
		one, err1 := tx.NextEpoch(serial)
		two, err2 := tx.NextEpoch("0000000077")
		again, err3 := tx.NextEpoch(serial)
		if one <= 51 || two <= 51 || again != one+1 {
			t.Errorf("the next epochs after a restore: %d, %d, %d", one, two, again)
		}
		return errors.Join(err1, err2, err3)
	})
	if leftovers, err := filepath.Glob(filepath.Join(filepath.Dir(to.Path), "*.tmp*")); len(leftovers) > 0 || err != nil {
		t.Errorf("left over: %v, %v", leftovers, err)
	}
}

// A backup that was taken while changes are made is of one moment: of each change it
// has all or nothing, and it has all that were made before it.
func TestBackupUnderChanges(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	db := open(t, cfg)
	s := fixture(t, db)
	change := func(i int) error {
		return db.Update(t.Context(), func(tx *store.Tx) error {
			name := fmt.Sprintf("%d %s", i, strings.Repeat("x", 3000))
			if _, err := tx.UpdateSystem(s.Tenant, s.ID, 0, store.Fields{Name: &name, Note: &name, Tags: &[]string{fmt.Sprint(i)}}); err != nil {
				return err
			}
			return tx.AddEvent(store.Event{Tenant: s.Tenant, System: s.ID, Kind: "changed", Epoch: uint64(i + 1), At: now})
		})
	}
	const first = 20
	for i := range first {
		if err := change(i); err != nil {
			t.Fatal(err)
		}
	}
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for i := first; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := change(i); err != nil {
				done <- err
				return
			}
		}
	}()
	var versions []int64
	for range 5 {
		to := sqliteConfig(t)
		path := backup(t, db)
		if err := store.Restore(t.Context(), to, path, false); err != nil {
			t.Fatal(err)
		}
		restored := open(t, to)
		view(t, restored, func(tx *store.Tx) error {
			got, err1 := tx.System(s.Tenant, s.ID)
			events, _, err2 := tx.Events(s.Tenant, store.EventFilter{}, store.Page{Limit: store.MaxPage})
			changes := int64(len(events))
			if got.Version != changes+1 || changes < first || len(got.Tags) != 1 || got.Tags[0] != fmt.Sprint(changes-1) || got.Name != got.Note {
				t.Errorf("version %d, %d events, tags %v", got.Version, changes, got.Tags)
			}
			versions = append(versions, got.Version)
			return errors.Join(err1, err2)
		})
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if versions[0] == versions[len(versions)-1] {
		t.Error("there were no changes between the backups")
	}
}

// A backup alone gives no password: it is sealed, and the key is elsewhere.
func TestBackupGivesNoPassword(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	db := open(t, cfg)
	keys, err := seal.New(seal.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	const password, note = "canary of the password", "canary of the note"
	s := fixture(t, db)
	p := newPairing(s)
	if p.PasswordSealed, err = keys.Seal("password", string(p.ID), []byte(password)); err != nil {
		t.Fatal(err)
	}
	text := note
	update(t, db, func(tx *store.Tx) error {
		_, err := tx.UpdateSystem(s.Tenant, s.ID, 0, store.Fields{Note: &text})
		return errors.Join(err, tx.CreatePairing(p))
	})
	path := backup(t, db)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(file, []byte(password)) || !bytes.Contains(file, []byte(note)) {
		t.Errorf("password in the backup: %v; note: %v", bytes.Contains(file, []byte(password)), bytes.Contains(file, []byte(note)))
	}
	to := sqliteConfig(t)
	if err := store.Restore(t.Context(), to, path, false); err != nil {
		t.Fatal(err)
	}
	got := get(t, open(t, to), func(tx *store.Tx) (store.Pairing, error) { return tx.Pairing(p.ID) })
	if plain, err := keys.Open("password", string(got.ID), got.PasswordSealed); err != nil || string(plain) != password {
		t.Errorf("with the key: %q, %v", plain, err)
	}
	other, err := seal.New(seal.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := other.Open("password", string(got.ID), got.PasswordSealed); err == nil {
		t.Errorf("with another key: %q", plain)
	}
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	cfg := sqliteConfig(t)
	db := open(t, cfg)
	fixture(t, db)
	path := backup(t, db)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, text []byte) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// A page in the middle that is none.
	damaged := bytes.Clone(good)
	copy(damaged[4096*5:], bytes.Repeat([]byte{0xee}, 4096*3))
	newer := write("newer", good)
	pool := raw(t, store.Config{Path: newer})
	if _, err := pool.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999999, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := pool.Close(); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(t.TempDir(), "foreign")
	pool = raw(t, store.Config{Path: foreign})
	if _, err := pool.ExecContext(t.Context(), "CREATE TABLE x (y)"); err != nil {
		t.Fatal(err)
	}
	if err := pool.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path string
		want       error // nil: any
	}{
		{"missing", path + ".none", os.ErrNotExist},
		{"empty", write("empty", nil), store.ErrSchema},
		{"text", write("text", []byte(strings.Repeat("no database ", 1000))), store.ErrSchema},
		{"cut", write("cut", good[:len(good)/2]), nil},
		{"damaged", write("damaged", damaged), nil},
		{"newer", newer, store.ErrSchema},
		{"foreign", foreign, store.ErrSchema},
	} {
		to := sqliteConfig(t)
		err := store.Restore(t.Context(), to, tt.path, true)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		left, err := filepath.Glob(to.Path + "*")
		if err != nil || len(left) != 1 || left[0] != to.Path+".lock" {
			t.Errorf("%s has left %v, %v", tt.name, left, err)
		}
	}
	if err := store.Restore(t.Context(), cfg, path, true); !errors.Is(err, store.ErrInUse) {
		t.Errorf("onto an open database: %v", err)
	}
	if err := store.Restore(t.Context(), cfg, cfg.Path, true); err == nil || !strings.Contains(err.Error(), "itself") {
		t.Errorf("from itself: %v", err)
	}
	if err := store.Backup(t.Context(), db, cfg.Path); err == nil || !strings.Contains(err.Error(), "itself") {
		t.Errorf("a backup onto itself: %v", err)
	}
	if err := store.Backup(t.Context(), db, filepath.Join(t.TempDir(), "none", "x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a backup into no directory: %v", err)
	}
}

// A database that is there is overwritten only by force, and its log does not get into
// the new one.
func TestRestoreByForce(t *testing.T) {
	t.Parallel()
	from, to := sqliteConfig(t), sqliteConfig(t)
	good := open(t, from)
	s := fixture(t, good)
	path := backup(t, good)
	old, err := store.Open(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	fixture(t, old)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to.Path+"-wal", []byte("the log of a program that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store.Restore(t.Context(), to, path, false); !errors.Is(err, os.ErrExist) {
		t.Fatalf("without force: %v", err)
	}
	if _, err := os.Stat(to.Path + "-wal"); err != nil {
		t.Errorf("the log: %v", err)
	}
	if err := store.Restore(t.Context(), to, path, true); err != nil {
		t.Fatal(err)
	}
	tenants := get(t, open(t, to), (*store.Tx).Tenants)
	if len(tenants) != 1 || tenants[0].ID != s.Tenant {
		t.Errorf("the tenants are %+v", tenants)
	}
}

func TestBackupOfPostgres(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	path := filepath.Join(t.TempDir(), "backup")
	err := store.Backup(t.Context(), open(t, cfg), path)
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "pg_dump") {
		t.Error(err)
	}
	if err := store.Restore(t.Context(), cfg, path, true); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "pg_restore") {
		t.Error(err)
	}
}
