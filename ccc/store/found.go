package store

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// found makes pages of a list that is short enough to be read whole for each.
type found[T any] struct {
	column string         // Column of its cursors
	text   func(T) string // that a query looks through
	key    func(T) []byte // that it is sorted by, and then by the id
	id     func(T) string
}

// page gives a page of those in whose text each word of the query is. Case and accents do
// not count.
func (l found[T]) page(all []T, query string, p Page) (items []T, next string, total int, err error) {
	from := cursor{}
	if p.Cursor != "" {
		if from, err = parseCursor(p.Cursor, l.column); err != nil {
			return nil, "", 0, err
		}
	}
	words := strings.Fields(fold(query))
	all = slices.DeleteFunc(all, func(v T) bool {
		text := fold(l.text(v))
		return slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
	})
	compare := func(v T, key []byte, id string) int {
		return cmp.Or(bytes.Compare(l.key(v), key), cmp.Compare(l.id(v), id))
	}
	slices.SortFunc(all, func(a, b T) int { return compare(a, l.key(b), l.id(b)) })
	total = len(all)
	if p.Cursor != "" {
		all = slices.DeleteFunc(all, func(v T) bool { return compare(v, from.Bytes, from.ID) <= 0 })
	}
	if n := p.limit(); len(all) > n {
		all = all[:n]
		next = cursor{Column: l.column, Bytes: l.key(all[n-1]), ID: l.id(all[n-1])}.String()
	}
	return all, next, total, nil
}
