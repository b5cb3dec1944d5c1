package pairing

import (
	"database/sql"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// dump gives every row of every table as a line: "table column=value …", sorted. What
// differs from run to run is replaced: ids by words in the order in which they first
// show, times by T, bytes by their number. Empty and zero values are left out.
func (s *site) dump() string {
	s.t.Helper()
	db := s.raw()
	tables := "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
	if s.url != "" {
		tables = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
	}
	var lines []string
	for _, table := range texts(s.t, db, tables) {
		// The audit log has the events once more, each with the hash of what was before it.
		if !strings.HasPrefix(table, "goose") && !strings.HasPrefix(table, "audit") {
			lines = append(lines, rowsOf(s.t, db, table)...)
		}
	}
	slices.Sort(lines)
	text := strings.Join(lines, "\n")
	names := map[string]string{}
	for word, id := range map[string]string{
		"tenant-a": string(s.a.Tenant), "tenant-b": string(s.b.Tenant), "user-a": string(s.a.User), "user-b": string(s.b.User),
	} {
		names[id] = word
	}
	return uuids.ReplaceAllStringFunc(text, func(id string) string {
		if names[id] == "" {
			names[id] = fmt.Sprintf("id-%d", len(names)-3)
		}
		return names[id]
	})
}

var (
	uuids   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
	moments = regexp.MustCompile(`^[0-9]{13}$`)
)

// raw is the database beside the store.
func (s *site) raw() *sql.DB {
	s.t.Helper()
	if s.beside != nil {
		return s.beside
	}
	driver, name := "sqlite", "file:"+s.file()+"?mode=ro"
	if s.url != "" {
		driver, name = "pgx", s.url
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = db.Close() })
	s.beside = db
	return db
}

func texts(t testing.TB, db *sql.DB, query string) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func rowsOf(t testing.TB, db *sql.DB, table string) (lines []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		line := table
		for i, v := range values {
			if text := shown(v); text != "" {
				line += " " + columns[i] + "=" + text
			}
		}
		lines = append(lines, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

func shown(v any) string {
	if b, ok := v.([]byte); ok {
		if len(b) == 0 {
			return ""
		}
		return fmt.Sprintf("[%d bytes]", len(b))
	}
	text := strings.ReplaceAll(fmt.Sprint(v), "\n", " ")
	switch {
	case v == nil || text == "0" || text == "false":
		return ""
	case moments.MatchString(text):
		return "T"
	}
	return text
}

// only gives the lines of a dump about some tables.
func only(dump string, tables ...string) string {
	var lines []string
	for line := range strings.SplitSeq(dump, "\n") {
		table, _, _ := strings.Cut(line, " ")
		if slices.Contains(tables, table) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// files gives the raw contents of SQLite's files.
func (s *site) files() map[string]string {
	s.t.Helper()
	paths, err := filepath.Glob(filepath.Join(s.dir, "ccc.db*"))
	if err != nil || len(paths) == 0 {
		s.t.Fatalf("%d files: %v", len(paths), err)
	}
	all := map[string]string{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		all[filepath.Base(path)] = string(b)
	}
	return all
}

// consistent looks at what has to hold between any two transactions: the state of a
// system says whether it has an open offer or a pairing, a PBX has one pairing, closed
// offers have no secrets, and what is paired has no tombstone.
func (s *site) consistent() {
	s.t.Helper()
	err := s.cfg.Store.View(s.t.Context(), func(tx *store.Tx) error {
		for _, a := range []Actor{s.a, s.b} {
			systems, _, _, err := tx.Systems(a.Tenant, store.Filter{}, store.Page{Limit: store.MaxPage})
			if err != nil {
				return err
			}
			for _, sys := range systems {
				_, err := tx.OpenOffer(a.Tenant, sys.ID)
				if want := slices.Contains(pending, sys.State); (err == nil) != want {
					s.t.Errorf("system %s is %s: open offer: %v", sys.Serial, sys.State, err)
				}
				p, err := tx.SystemPairing(a.Tenant, sys.ID)
				if want := slices.Contains(joined, sys.State); (err == nil) != want || (sys.Paired != nil) != want {
					s.t.Errorf("system %s is %s: pairing: %v, since %v", sys.Serial, sys.State, err, sys.Paired)
				}
				if err == nil && (p.Epoch != sys.Epoch || p.Serial != sys.Serial || (p.Proved != nil) != (sys.State == store.StatePaired)) {
					s.t.Errorf("system %s and its pairing differ: %+v", sys.Serial, p)
				}
				tombstones, err := tx.Tombstones(sys.Serial)
				if err != nil {
					return err
				}
				if slices.ContainsFunc(tombstones, func(t store.Tombstone) bool { return t.Pairing == p.ID }) {
					s.t.Errorf("system %s has a pairing and its tombstone", sys.Serial)
				}
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if n := texts(s.t, s.raw(), "SELECT id FROM offers WHERE closed <> 0 AND length(token_sealed) + length(nonce) > 0"); len(n) > 0 {
		s.t.Errorf("closed offers with secrets: %v", n)
	}
}

// random matches what is different in each dump: what stands for an id, and codes.
var random = regexp.MustCompile(`\bid-[0-9]+\b|\b[0-9]{3} [0-9]{3}\b`)

func base64of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
