package store

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// ErrCursor: a cursor that the store did not make, or for another order.
var ErrCursor = errors.New("unknown cursor")

// Sort is an order of systems, backwards with "-" before it: "-created".
type Sort string

// The orders. Systems that are the same in one are sorted by their ids.
const (
	ByName       Sort = "name" // the default; as people sort, "PBX 9" before "PBX 10"
	BySerial     Sort = "serial"
	ByState      Sort = "state"
	ByStateSince Sort = "state_since"
	ByCreated    Sort = "created"
	ByLastSeen   Sort = "last_seen" // never comes first
)

// column gives what the order is by; "" for an unknown one.
func (s Sort) column() (column string, backwards bool) {
	name, backwards := strings.CutPrefix(string(s), "-")
	switch Sort(name) {
	case "", ByName:
		return "name_key", backwards
	case BySerial, ByState, ByStateSince, ByCreated, ByLastSeen:
		return name, backwards
	}
	return "", backwards
}

// Filter chooses systems: those that fit all of what is set.
type Filter struct {
	// Query: every word of it is in the name, serial, note, a tag or the name of the site.
	// Case and accents do not count. More than maxWords words find nothing.
	Query   string
	States  []State           // one of them; empty: any
	Tags    []string          // all of them
	Group   GroupID           // empty: any
	Serials []identity.Serial // one of them; nil: any, empty: none
	// NotSerials: none of them, for those that are not online.
	NotSerials []identity.Serial
	Site       SiteID // empty: any
	// MaintainedAt: the maintenance is paid at that moment; LapsedAt: it is not. Zero: any.
	MaintainedAt, LapsedAt time.Time
	Within                 *Within // nil: all of the tenant's
	Sort                   Sort
}

// Within are parts of a tenant: what is at one of the sites, and some systems.
type Within struct {
	Sites   []SiteID
	Systems []SystemID
}

const maxWords = 16

// MaxPage is the largest Page.Limit; what is above is taken for it.
const MaxPage = 10000

// defaultPage is a Page.Limit of 0.
const defaultPage = 100

// Page of a list.
type Page struct {
	Cursor string // from the page before it; empty: the first
	Limit  int    // how many; 0: 100
}

func (p Page) limit() int {
	if p.Limit <= 0 {
		return defaultPage
	}
	return min(p.Limit, MaxPage)
}

// cursor is where a page ended: the value of the column and the id of its last row.
type cursor struct {
	Column string `json:"c"` // with "-" before it for backwards
	Bytes  []byte `json:"b,omitempty"`
	Text   string `json:"t,omitempty"`
	Number int64  `json:"n,omitempty"`
	ID     string `json:"i"`
	Total  int    `json:"m,omitempty"` // of a list that is counted once, with its first page
}

func (c cursor) String() string {
	text, _ := json.Marshal(c) // has JSON
	return base64.RawURLEncoding.EncodeToString(text)
}

// maxCursor is far above what the store makes: the key of a name is a few times as
// long as the name.
const maxCursor = 64 << 10

func parseCursor(s, column string) (c cursor, err error) {
	if len(s) > maxCursor {
		return c, ErrCursor
	}
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil || c.Column != column || !wellFormed(c.ID) || strings.Contains(c.Text, "\x00") || c.Total < 0 {
		return c, ErrCursor
	}
	return c, nil
}

// set takes a value as a driver gives it.
func (c *cursor) set(v any) {
	switch v := v.(type) {
	case []byte:
		c.Bytes = v
	case string:
		c.Text = v
	case int64:
		c.Number = v
	}
}

// value of the column.
func (c cursor) value() any {
	switch strings.TrimPrefix(c.Column, "-") {
	case "name_key":
		return c.Bytes
	case string(BySerial), string(ByState):
		return c.Text
	}
	return c.Number
}

// where builds a condition.
type where struct {
	t    *Tx
	sql  strings.Builder
	args []any
}

// and adds a condition, in which ? stands for the argument.
func (w *where) and(condition string, arg any) {
	w.sql.WriteString(" AND " + strings.ReplaceAll(condition, "?", w.parameter(arg)))
}

// id adds a condition on an id, which finds nothing where it cannot be one.
func (w *where) id(condition, id string) {
	if !wellFormed(id) {
		condition, id = "? <> ''", ""
	}
	w.and(condition, id)
}

// beyond adds the condition of being after, ">", or before, "<", a row of the order by
// column and id.
func (w *where) beyond(column, is string, v any, id string) {
	w.sql.WriteString(" AND (" + column + ", id) " + is + " (" + w.parameter(v) + ", " + w.parameter(id) + ")")
}

// parameter adds an argument and gives what stands for it.
func (w *where) parameter(arg any) string {
	w.args = append(w.args, arg)
	return "$" + strconv.Itoa(len(w.args))
}

// filter makes the condition of a filter without its Query.
func (t *Tx) filter(tenant TenantID, f Filter) *where {
	w := &where{t: t, args: []any{tenant}}
	w.sql.WriteString("tenant_id = $1")
	if len(f.States) > 0 {
		w.and("state IN "+t.list("?"), listOf(f.States))
	}
	for _, tag := range f.Tags {
		w.and("id IN (SELECT system_id FROM system_tags WHERE tag = ?)", tag)
	}
	if f.Group != "" {
		w.id("id IN (SELECT system_id FROM system_group_members WHERE group_id = ?)", string(f.Group))
	}
	if f.Serials != nil {
		w.and("serial IN "+t.list("?"), listOf(f.Serials))
	}
	if len(f.NotSerials) > 0 {
		w.and("serial NOT IN "+t.list("?"), listOf(f.NotSerials))
	}
	if f.Site != "" {
		w.id("site_id = ?", string(f.Site))
	}
	if !f.MaintainedAt.IsZero() {
		w.and("maintenance_until > ?", f.MaintainedAt)
	}
	if !f.LapsedAt.IsZero() {
		w.and("maintenance_until <= ?", f.LapsedAt)
	}
	if f.Within != nil {
		w.sql.WriteString(" AND (site_id IN " + t.list(w.parameter(listOf(f.Within.Sites))) +
			" OR id IN " + t.list(w.parameter(listOf(f.Within.Systems))) + ")")
	}
	return w
}

// filtered is filter with the Query, for which it looks at the tenant's sites.
func (t *Tx) filtered(tenant TenantID, f Filter) (*where, error) {
	sites, err := t.sitesLike(tenant, f.Query)
	w := t.filter(tenant, f)
	patterns := likes(f.Query)
	for i, word := range strings.Fields(fold(f.Query)) {
		like := "search LIKE " + w.parameter(patterns[i]) + " ESCAPE '!'"
		if at := sites[word]; len(at) > 0 {
			like = "(" + like + " OR site_id IN " + t.list(w.parameter(listOf(at))) + ")"
		}
		w.sql.WriteString(" AND " + like)
	}
	return w, err
}

// Systems gives a page of the tenant's systems, the cursor of the next page (empty after
// the last), and how many there were on all pages when the first was read. What comes or
// goes between two pages shifts none of the others. ErrCursor, ErrInvalid for an unknown
// order.
func (t *Tx) Systems(tenant TenantID, f Filter, p Page) (items []System, next string, total int, err error) {
	column, backwards := f.Sort.column()
	if column == "" {
		return nil, "", 0, &InvalidError{Field: "Sort", Problem: "is none of the known orders"}
	}
	if len(strings.Fields(f.Query)) > maxWords {
		return []System{}, "", 0, nil
	}
	w, err := t.filtered(tenant, f)
	if err != nil {
		return nil, "", 0, err
	}
	last := cursor{Column: column}
	order, is := "", ">"
	if backwards {
		last.Column, order, is = "-"+column, " DESC", "<"
	}
	if p.Cursor != "" {
		from, err := parseCursor(p.Cursor, last.Column)
		if err != nil {
			return nil, "", 0, err
		}
		last.Total = from.Total
		w.beyond(column, is, from.value(), from.ID)
	} else if last.Total, err = row(t, value[int], "SELECT count(*) FROM systems WHERE "+w.sql.String(), w.args...); err != nil {
		return nil, "", 0, err
	}
	limit := p.limit()
	query := "SELECT " + systemColumns + ", " + column + " FROM systems WHERE " + w.sql.String() +
		" ORDER BY " + column + order + ", id" + order + " LIMIT " + w.parameter(limit+1)
	items, err = rows(t, func(s scanner) (System, error) {
		var key any
		v, err := scanSystemAnd(s, &key)
		if limit--; limit == 0 { // the last of the page
			last.set(key)
		}
		return v, err
	}, query, w.args...)
	if err != nil {
		return nil, "", 0, err
	}
	if n := p.limit(); len(items) > n {
		items = items[:n]
		last.ID = string(items[n-1].ID)
		next = last.String()
	}
	return items, next, last.Total, t.fill(items)
}
