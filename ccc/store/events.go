package store

import (
	"encoding/json"
	"time"
)

// EventFilter chooses events.
type EventFilter struct {
	System SystemID // empty: of all systems, and of none, for which the whole history is read
}

// AddEvent adds a line to a tenant's history, and announces it. ErrNotFound without the tenant; the system
// need not be there any more.
func (t *Tx) AddEvent(v Event) error {
	var c checks
	if v.ID == "" {
		v.ID = NewID[EventID]()
	}
	c.id("ID", string(v.ID))
	if v.Kind == "" {
		c.fail("Kind", "is missing")
	}
	c.time("At", v.At)
	if c.err != nil {
		return c.err
	}
	detail := []byte("{}")
	if len(v.Detail) > 0 {
		detail, _ = json.Marshal(v.Detail) // has JSON
	}
	_, err := t.exec(`INSERT INTO events (id, tenant_id, system_id, epoch, kind, actor, detail, at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		v.ID, v.Tenant, optional(v.System), v.Epoch, v.Kind, optional(v.Actor), string(detail), v.At)
	if err != nil {
		return err
	}
	t.noteEvent(v)
	return t.announceEvent(v)
}

func scanEvent(s scanner) (v Event, err error) {
	var at moment
	var detail string
	if err := s.Scan(&v.ID, &v.Tenant, &v.System, &v.Epoch, &v.Kind, &v.Actor, &detail, &at); err != nil {
		return v, err
	}
	v.At = at.Time
	return v, json.Unmarshal([]byte(detail), &v.Detail)
}

// Events gives a page of the tenant's history, the newest first, and the cursor of the
// next page.
func (t *Tx) Events(tenant TenantID, f EventFilter, p Page) (items []Event, next string, err error) {
	w := &where{t: t, args: []any{tenant}}
	w.sql.WriteString("tenant_id = $1")
	if f.System != "" {
		w.id("system_id = ?", string(f.System))
	}
	if p.Cursor != "" {
		from, err := parseCursor(p.Cursor, "-at")
		if err != nil {
			return nil, "", err
		}
		w.beyond("at", "<", from.Number, from.ID)
	}
	items, err = rows(t, scanEvent, "SELECT id, tenant_id, system_id, epoch, kind, actor, detail, at FROM events WHERE "+
		w.sql.String()+" ORDER BY at DESC, id DESC LIMIT "+w.parameter(p.limit()+1), w.args...)
	if err != nil {
		return nil, "", err
	}
	if n := p.limit(); len(items) > n {
		items = items[:n]
		last := items[n-1]
		next = cursor{Column: "-at", Number: millis(last.At), ID: string(last.ID)}.String()
	}
	return items, next, nil
}

// SweepEvents removes those of all tenants from before a time, and tells how many.
func (t *Tx) SweepEvents(before time.Time) (int, error) {
	return t.sweep("DELETE FROM events WHERE at < $1", before)
}
