package configs

import (
	"fmt"
	"reflect"
	"strings"
)

// meant gives a hint for an unknown key of a section: the sibling that looks most
// like it, else a key of that very name in a section below.
func (m *merge) meant(t reflect.Type, path, name string) string {
	if s := nearest(name, names(fields(t))); s != "" {
		return fmt.Sprintf("did you mean %q?", s)
	}
	for _, l := range leaves(t) {
		if strings.HasSuffix(l.path, "."+name) {
			return fmt.Sprintf("did you mean %q?", join(path, l.path))
		}
	}
	return ""
}

// nearest gives the candidate with the smallest edit distance to the word, or ""
// where none is near enough to be a slip of the finger. Dashes and underscores
// are taken as the same, so is upper and lower case.
func nearest(word string, candidates []string) string {
	best, limit := "", max(1, len(word)/3)
	for _, c := range candidates {
		if d := distance(fold(word), fold(c)); d <= limit {
			best, limit = c, d-1
		}
	}
	return best
}

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// distance counts the insertions, deletions, substitutions and swaps of
// neighbours (optimal string alignment) between two short texts.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
