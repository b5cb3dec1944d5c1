package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fillStore puts in buckets of no key, of few, of more than a load takes.
func fillStore(t testing.TB, db DB) (entries int) {
	t.Helper()
	const many = loadEntries + page + 1
	err := db.Update(t.Context(), func(tx Tx) error {
		for i := range many {
			if err := tx.Put("many", fmt.Appendf(nil, "%05d\x00\xff", i), fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
				return err
			}
		}
		return errors.Join(tx.Put(things, []byte("empty"), nil), tx.Put(things, []byte{0xff}, bytes.Repeat([]byte{0}, 100<<10)),
			tx.Put("gone", []byte("a"), nil), tx.Delete("gone", []byte("a")))
	})
	if err != nil {
		t.Fatal(err)
	}
	return many + 2
}

// exported gives the export without its header, which has the time.
func exported(t testing.TB, db DB) (whole []byte, rest string) {
	t.Helper()
	var b bytes.Buffer
	if err := Export(t.Context(), db, &b); err != nil {
		t.Fatal(err)
	}
	_, rest, _ = strings.Cut(b.String(), "\n")
	return b.Bytes(), rest[:strings.LastIndex(rest, `"sha256"`)]
}

func TestTransfer(t *testing.T) {
	t.Parallel()
	for from, makeSrc := range kinds {
		for to, makeDst := range kinds {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				src := makeSrc(t)()
				defer src.Close()
				entries := fillStore(t, src)
				whole, want := exported(t, src)
				if n := bytes.Count(whole, []byte{'\n'}); n != entries+2 {
					t.Errorf("%d lines of %d entries", n, entries)
				}
				openDst := makeDst(t)
				dst := openDst()
				other := dst
				if dst.Wakeups() != nil {
					other = openDst()
					defer other.Close()
				}
				if err := Import(t.Context(), dst, bytes.NewReader(whole)); err != nil {
					t.Fatal(err)
				}
				if _, got := exported(t, other); got != want {
					t.Error("what was imported is not what was exported")
				}
				if dst.Wakeups() != nil {
					<-other.Wakeups()
				}
				// It can be changed like any other, and lasts.
				update(t, dst, func(tx Tx) error { return tx.Put("new", []byte("a"), []byte("1")) })
				if err := dst.Close(); err != nil {
					t.Fatal(err)
				}
				dst = openDst()
				defer dst.Close()
				if v := read(t, dst, things, "\xff"); len(v) != 100<<10 {
					t.Errorf("%d bytes after opening again", len(v))
				}
				for name, f := range map[string]func() error{
					"import": func() error { return Import(t.Context(), dst, bytes.NewReader(whole)) },
					"copy":   func() error { return Copy(t.Context(), dst, src, nil) },
				} {
					if err := f(); !errors.Is(err, ErrNotEmpty) {
						t.Errorf("%s into a store that has something: %v", name, err)
					}
				}
				copied := makeDst(t)()
				defer copied.Close()
				last := 0
				if err := Copy(t.Context(), copied, src, func(n int) { last = n }); err != nil || last != loadEntries {
					t.Errorf("copy: %v, progress %d", err, last)
				}
				if _, got := exported(t, copied); got != want {
					t.Error("the copy is not what was copied")
				}
			})
		}
	}
}

// What is not a whole export leaves nothing behind, and does not stand in the way
// of one that is.
func TestImportRefuses(t *testing.T) {
	t.Parallel()
	forEachKind(t, func(t *testing.T, open func() DB) {
		dst := open()
		defer dst.Close()
		src, err := OpenBolt(filepath.Join(t.TempDir(), "src.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		fillStore(t, src)
		good, _ := exported(t, src)
		lines := bytes.SplitAfter(good, []byte{'\n'})
		n := len(lines) - 2 // the trailer's index
		change := func(i int, old, new string) []byte {
			out := bytes.Join(lines[:i], nil)
			changed := bytes.Replace(lines[i], []byte(old), []byte(new), 1)
			if bytes.Equal(changed, lines[i]) {
				t.Fatalf("%s is not in line %d", old, i)
			}
			return append(append(out, changed...), bytes.Join(lines[i+1:], nil)...)
		}
		for name, c := range map[string]struct {
			export []byte
			want   string
		}{
			"nothing":           {nil, "its end is missing"},
			"no trailer":        {bytes.Join(lines[:n], nil), "its end is missing"},
			"half a trailer":    {good[:len(good)-10], "its end is missing"},
			"half an entry":     {good[:len(good)/2], "its end is missing"},
			"no header":         {bytes.Join(lines[1:], nil), "not the header"},
			"a newer version":   {change(0, `"version":1`, `"version":2`), "has version 2"},
			"another time":      {change(0, `"time":"2`, `"time":"3`), "it was changed"},
			"a changed value":   {change(n-3, `"value":"e`, `"value":"f`), "it was changed"},
			"an entry less":     {bytes.Join(append(lines[:n-4:n-4], lines[n-3:]...), nil), "should have"},
			"twice the same":    {bytes.Join(append(lines[:n-3:n-3], lines[n-4:]...), nil), "not in order"},
			"an unknown key":    {change(n-3, `"value":`, `"values":`), "unknown field"},
			"no value":          {change(1, `"value":"eyJuIjowfQ=="`, `"value":null`), "no value"},
			"a bucket of ours":  {change(n-1, `"bucket":"things"`, `"bucket":"_commits"`), ErrBucket.Error()},
			"more after it":     {append(slices.Clip(good), '{', '}'), "more after its end"},
			"another's trailer": {change(n, `"entries":`, `"entries":1`), "should have"},
		} {
			err := Import(t.Context(), dst, bytes.NewReader(c.export))
			if !errors.Is(err, ErrExport) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", name, err)
			}
			if _, rest := exported(t, dst); rest != `{"entries":0,` {
				t.Fatalf("%s: something is left", name)
			}
		}
		cause := errors.New("no")
		if err := Import(t.Context(), dst, io.MultiReader(bytes.NewReader(good[:len(good)/2]), source(func([]byte) (int, error) { return 0, cause }))); !errors.Is(err, cause) {
			t.Errorf("a source that fails: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		stop := source(func([]byte) (int, error) { cancel(); return 0, io.EOF })
		if err := Import(ctx, dst, io.MultiReader(bytes.NewReader(good), stop)); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who left: %v", err)
		}
		if err := Import(t.Context(), dst, bytes.NewReader(good)); err != nil {
			t.Fatal(err)
		}
		if v := read(t, dst, things, "\xff"); len(v) != 100<<10 {
			t.Errorf("%d bytes after the import", len(v))
		}
	})
}

type source func([]byte) (int, error)

func (s source) Read(p []byte) (int, error) { return s(p) }

// A process that dies over an import leaves an empty store behind.
func TestBoltDeadImport(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pki.db")
	db, err := OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := db.(*boltDB).loader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.load(t.Context(), things, []entry{{[]byte("a"), []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = OpenBolt(path); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if whole, rest := exported(t, db); rest != `{"entries":0,` {
		t.Errorf("after opening again: %s", whole)
	}
	if l, err = db.(*boltDB).loader(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.load(t.Context(), things, []entry{{[]byte("b"), []byte("2")}}), l.commit()); err != nil {
		t.Fatal(err)
	}
	if a, b := read(t, db, things, "a"), read(t, db, things, "b"); a != nil || string(b) != "2" {
		t.Errorf("a is %q, b is %q", a, b)
	}
}

func FuzzReadExport(f *testing.F) {
	db, err := OpenBolt(filepath.Join(f.TempDir(), "pki.db"))
	if err != nil {
		f.Fatal(err)
	}
	defer db.Close()
	err = db.Update(f.Context(), func(tx Tx) error {
		return errors.Join(tx.Put(things, []byte("a"), []byte("{}")), tx.Put(things, []byte("b\x00"), nil), tx.Put("other", []byte{0xff}, []byte("x")))
	})
	if err != nil {
		f.Fatal(err)
	}
	whole, _ := exported(f, db)
	f.Add(whole)
	f.Add([]byte("{\"format\":\"pki-store\",\"version\":1,\"time\":\"2026-11-26T03:00:00Z\"}\n{\"entries\":0,\"sha256\":\"\"}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var last exportEntry
		n := 0
		err := readExport(bytes.NewReader(data), func(e exportEntry) error {
			if err := e.check(last); err != nil {
				t.Fatalf("entry %+v: %v", e, err)
			}
			last = e
			n++
			return nil
		})
		if err != nil && !errors.Is(err, ErrExport) {
			t.Fatal(err)
		}
		if err == nil && bytes.Count(data, []byte{'\n'}) != n+2 {
			t.Fatalf("%d entries of %q", n, data)
		}
	})
}
