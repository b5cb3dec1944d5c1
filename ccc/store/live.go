package store

import (
	"strconv"
	"strings"
	"time"
)

// liveList is a list with what still counts before what is over, each the newest first.
type liveList[T any] struct {
	table, columns string
	of             string // which are the tenant's, who is $1
	// live tells which still count at a moment, which ? stands for: also those that have
	// ended since, so that nothing moves between two pages.
	live string
	scan func(scanner) (T, error)
	key  func(T) (created time.Time, id string)
}

// liveColumn is the Column of the cursors: Text is when the first page was read, Bytes
// are there for what counted then.
const liveColumn = "-live"

// also scans a column after those that somebody else scans.
type also struct {
	scanner
	last any
}

// Scan reads the columns, and the one after them.
func (s also) Scan(to ...any) error { return s.scanner.Scan(append(to, s.last)...) }

// page gives a page, and the cursor of the next one.
func (l liveList[T]) page(t *Tx, tenant TenantID, now time.Time, p Page) (items []T, next string, err error) {
	last := cursor{Column: liveColumn, Text: strconv.FormatInt(millis(now), 10)}
	from := cursor{}
	if p.Cursor != "" {
		if from, err = parseCursor(p.Cursor, liveColumn); err != nil {
			return nil, "", err
		}
		last.Text = from.Text
	}
	at, err := strconv.ParseInt(last.Text, 10, 64)
	if err != nil {
		return nil, "", ErrCursor
	}
	w := &where{t: t, args: []any{tenant}}
	rank := "CASE WHEN " + strings.ReplaceAll(l.live, "?", w.parameter(at)) + " THEN 1 ELSE 0 END"
	w.sql.WriteString("(" + l.of + ")")
	if p.Cursor != "" {
		w.sql.WriteString(" AND (" + rank + ", created, id) < (" + w.parameter(len(from.Bytes)) + ", " + w.parameter(from.Number) + ", " + w.parameter(from.ID) + ")")
	}
	limit := p.limit()
	ranks := []int{}
	items, err = rows(t, func(s scanner) (T, error) {
		var rank int
		v, err := l.scan(also{s, &rank})
		ranks = append(ranks, rank)
		return v, err
	}, "SELECT "+l.columns+", "+rank+" FROM "+l.table+" WHERE "+w.sql.String()+
		" ORDER BY "+rank+" DESC, created DESC, id DESC LIMIT "+w.parameter(limit+1), w.args...)
	if err != nil || len(items) <= limit {
		return items, "", err
	}
	items = items[:limit]
	created, id := l.key(items[limit-1])
	last.Bytes, last.Number, last.ID = make([]byte, ranks[limit-1]), millis(created), id
	return items, last.String(), nil
}
