package store_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

func TestFold(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{
		{"Müller", "MÜLLER", "mu\u0308ller", "muller"},
		{"Straße", "STRASSE"},
		{"Besançon", "besancon"},
		{"ﬁliale", "FILIALE"},
		{"Ärzte", "arzte"},
	} {
		for _, s := range same {
			if got, want := store.Fold(s), store.Fold(same[len(same)-1]); got != want {
				t.Errorf("%q is %q, want %q", s, got, want)
			}
		}
	}
	if store.Fold("a") == store.Fold("b") || store.Fold("日本") != "日本" {
		t.Error("letters that differ are the same")
	}
}

// Names in the order in which people look for them.
func TestSortKey(t *testing.T) {
	t.Parallel()
	want := []string{
		"", "!", "2", "09", "10", "10 a", "100", "a", "Ärzte", "b", "PBX", "PBX 2", "PBX 2a", "PBX 010", "PBX 11",
		"PBX 99999999999999999999", "pbx a", "straße", "Zürich", "日本",
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortStableFunc(got, func(a, b string) int { return bytes.Compare(store.SortKey(a), store.SortKey(b)) })
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", "e30", "eyJjIjoibmFtZV9rZXkiLCJiIjoiWVE9PSIsImkiOiJ4In0", "!"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := store.ParseCursor(s, "name_key")
		if err != nil {
			if err != store.ErrCursor { //nolint:errorlint // the same for whatever is wrong
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		again, err := store.ParseCursor(c.String(), "name_key")
		if err != nil || !bytes.Equal(again.Bytes, c.Bytes) || again.ID != c.ID || strings.ContainsAny(c.ID, "' \x00") {
			t.Errorf("%q: %+v, then %+v, %v", s, c, again, err)
		}
	})
}
