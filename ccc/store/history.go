package store

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Link is what the connection of a PBX was in an interval.
type Link string

// The links. Flapping stands for many changes, of which Changes is the number and OnlineFor
// how long of them the PBX was online.
const (
	LinkOnline      Link = "online"
	LinkOffline     Link = "offline"
	LinkQuarantined Link = "quarantined"
	LinkFlapping    Link = "flapping"
)

// Interval is a time in which the connection of a PBX was the same.
type Interval struct {
	ID     HistoryID
	Serial identity.Serial
	Epoch  uint64 // of the ownership; see Tx.NextEpoch
	Link   Link
	// Reason is why it was not online, or why the interval ended where nobody saw what came
	// then; see ccc/history.
	Reason string
	// Relay and Transport are those of its newest session, and Boot is a hash of what the
	// PBX says of its start; 0: nothing.
	Relay     string
	Transport string
	Boot      uint64
	RTT       RTT
	Changes   int
	OnlineFor time.Duration
	Started   time.Time
	Ended     time.Time // zero: it lasts
}

// RTT sums up round trips.
type RTT struct {
	Count         int
	Sum, Min, Max time.Duration // to the microsecond
}

// Add gives both together.
func (r RTT) Add(o RTT) RTT {
	switch {
	case o.Count == 0:
		return r
	case r.Count == 0:
		return o
	}
	return RTT{r.Count + o.Count, r.Sum + o.Sum, min(r.Min, o.Min), max(r.Max, o.Max)}
}

// Mean of them, 0 where there are none.
func (r RTT) Mean() time.Duration {
	if r.Count == 0 {
		return 0
	}
	return r.Sum / time.Duration(r.Count)
}

const historyColumns = `h.id, h.serial, h.epoch, h.state, h.reason, h.relay, h.transport, h.boot,
	h.rtt_count, h.rtt_sum, h.rtt_min, h.rtt_max, h.changes, h.online_ms, h.started, h.ended`

func scanInterval(s scanner) (v Interval, err error) {
	var boot, sum, least, most, online int64
	var started, ended moment
	err = s.Scan(&v.ID, &v.Serial, &v.Epoch, &v.Link, &v.Reason, &v.Relay, &v.Transport, &boot,
		&v.RTT.Count, &sum, &least, &most, &v.Changes, &online, &started, &ended)
	v.Boot = uint64(boot) //nolint:gosec // the same bits
	v.RTT.Sum, v.RTT.Min, v.RTT.Max = time.Duration(sum)*time.Microsecond, time.Duration(least)*time.Microsecond, time.Duration(most)*time.Microsecond
	v.OnlineFor = time.Duration(online) * time.Millisecond
	v.Started, v.Ended = started.Time, ended.Time
	return v, err
}

// PutIntervals adds intervals, and changes those that are there. Those of an ownership that
// no system has any more are left out. One that has an end does not lose it.
func (t *Tx) PutIntervals(all []Interval) error {
	for _, v := range all {
		var c checks
		c.id("ID", string(v.ID))
		c.serial(v.Serial)
		c.time("Started", v.Started)
		oneOf(&c, "Link", v.Link, LinkOnline, LinkOffline, LinkQuarantined, LinkFlapping)
		if c.err != nil {
			return c.err
		}
		_, err := t.exec(`INSERT INTO presence_history (id, serial, epoch, state, reason, relay, transport, boot,
			rtt_count, rtt_sum, rtt_min, rtt_max, changes, online_ms, started, ended)
			SELECT $1, serial, epoch, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16
			FROM systems WHERE serial = $2 AND epoch = $3
			ON CONFLICT (id) DO UPDATE SET state = excluded.state, reason = excluded.reason, relay = excluded.relay,
			transport = excluded.transport, boot = excluded.boot, rtt_count = excluded.rtt_count,
			rtt_sum = excluded.rtt_sum, rtt_min = excluded.rtt_min, rtt_max = excluded.rtt_max, changes = excluded.changes,
			online_ms = excluded.online_ms, started = excluded.started,
			ended = CASE WHEN excluded.ended = 0 THEN presence_history.ended ELSE excluded.ended END`,
			v.ID, v.Serial, v.Epoch, v.Link, v.Reason, v.Relay, v.Transport, v.Boot,
			v.RTT.Count, v.RTT.Sum.Microseconds(), v.RTT.Min.Microseconds(), v.RTT.Max.Microseconds(),
			v.Changes, v.OnlineFor.Milliseconds(), v.Started, v.Ended)
		if err != nil {
			return err
		}
	}
	return nil
}

// DeleteIntervals removes intervals whose place another one has taken.
func (t *Tx) DeleteIntervals(ids []HistoryID) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := t.exec("DELETE FROM presence_history WHERE id IN "+t.list("$1"), listOf(ids))
	return err
}

// OpenIntervals gives those of all PBXs that last, whose id is after one, in the order of
// ids.
func (t *Tx) OpenIntervals(after HistoryID, limit int) ([]Interval, error) {
	return rows(t, scanInterval, "SELECT "+historyColumns+` FROM presence_history h
		WHERE h.ended = 0 AND h.id > $1 ORDER BY h.id LIMIT $2`, optional(after), limit)
}

// HistoryFilter chooses intervals of a system: those that overlap the time.
type HistoryFilter struct{ From, To time.Time }

// History gives a page of the intervals of the tenant's system in its present ownership,
// the newest first, and the cursor of the next page. ErrNotFound without the system.
func (t *Tx) History(tenant TenantID, system SystemID, f HistoryFilter, p Page) (items []Interval, next string, err error) {
	if _, err := t.SystemSite(tenant, system); err != nil {
		return nil, "", err
	}
	w := &where{t: t, args: []any{tenant, system, f.From, f.To}}
	w.sql.WriteString("s.tenant_id = $1 AND s.id = $2 AND (h.ended = 0 OR h.ended > $3) AND h.started < $4")
	if p.Cursor != "" {
		from, err := parseCursor(p.Cursor, "-started")
		if err != nil {
			return nil, "", err
		}
		w.sql.WriteString(" AND (h.started, h.id) < (" + w.parameter(from.Number) + ", " + w.parameter(from.ID) + ")")
	}
	items, err = rows(t, scanInterval, "SELECT "+historyColumns+` FROM presence_history h
		JOIN systems s ON s.serial = h.serial AND s.epoch = h.epoch
		WHERE `+w.sql.String()+" ORDER BY h.started DESC, h.id DESC LIMIT "+w.parameter(p.limit()+1), w.args...)
	if err != nil {
		return nil, "", err
	}
	if n := p.limit(); len(items) > n {
		items = items[:n]
		last := items[n-1]
		next = cursor{Column: "-started", Number: millis(last.Started), ID: string(last.ID)}.String()
	}
	return items, next, nil
}

// Share is how long a system was watched, and how long of that it was online.
type Share struct{ Watched, Online time.Duration }

// Availability sums up a system's intervals between two times. ErrNotFound without the
// system. Of flapping that is only partly in that time the same part counts as online.
func (t *Tx) Availability(tenant TenantID, system SystemID, from, to time.Time) (v Share, err error) {
	if _, err := t.SystemSite(tenant, system); err != nil {
		return Share{}, err
	}
	all, err := rows(t, scanInterval, "SELECT "+historyColumns+` FROM presence_history h
		JOIN systems s ON s.serial = h.serial AND s.epoch = h.epoch
		WHERE s.tenant_id = $1 AND s.id = $2 AND (h.ended = 0 OR h.ended > $3) AND h.started < $4`, tenant, system, from, to)
	for _, i := range all {
		end := i.Ended
		if end.IsZero() {
			end = to
		}
		whole := end.Sub(i.Started)
		begin := i.Started
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		part := max(end.Sub(begin), 0)
		v.Watched += part
		switch i.Link {
		case LinkOnline:
			v.Online += part
		case LinkFlapping:
			if whole > 0 {
				v.Online += time.Duration(float64(i.OnlineFor) * float64(part) / float64(whole))
			}
		case LinkOffline, LinkQuarantined:
		}
	}
	return v, err
}

// ReasonCount is how often PBXs went offline for a reason, and how many of them.
type ReasonCount struct {
	Reason         string
	Times, Systems int
}

// Reasons counts why the tenant's systems went offline since a time, by reason; within
// parts of the tenant, nil: all of it.
func (t *Tx) Reasons(tenant TenantID, within *Within, since time.Time) ([]ReasonCount, error) {
	w := &where{t: t, args: []any{tenant, since}}
	w.sql.WriteString("s.tenant_id = $1 AND h.started >= $2 AND h.state IN ('offline', 'quarantined')")
	if within != nil {
		w.sql.WriteString(" AND (s.site_id IN " + t.list(w.parameter(listOf(within.Sites))) +
			" OR s.id IN " + t.list(w.parameter(listOf(within.Systems))) + ")")
	}
	return rows(t, func(s scanner) (v ReasonCount, err error) {
		err = s.Scan(&v.Reason, &v.Times, &v.Systems)
		return v, err
	}, `SELECT h.reason, count(*), count(DISTINCT s.id) FROM presence_history h
		JOIN systems s ON s.serial = h.serial AND s.epoch = h.epoch WHERE `+w.sql.String()+" GROUP BY h.reason ORDER BY h.reason", w.args...)
}

// SetRecorderSeen notes when who writes the history was there.
func (t *Tx) SetRecorderSeen(at time.Time) error {
	_, err := t.exec("INSERT INTO presence_recorder (id, seen) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET seen = excluded.seen", at)
	return err
}

// RecorderSeen gives that; zero: never.
func (t *Tx) RecorderSeen() (time.Time, error) {
	all, err := rows(t, value[moment], "SELECT seen FROM presence_recorder WHERE id = 1")
	if err != nil || len(all) == 0 {
		return time.Time{}, err
	}
	return all[0].Time, nil
}

// forgetHistory removes the intervals of a system's ownership.
func (t *Tx) forgetHistory(tenant TenantID, id SystemID) error {
	_, err := t.exec(`DELETE FROM presence_history WHERE EXISTS (SELECT 1 FROM systems s
		WHERE s.tenant_id = $1 AND s.id = $2 AND s.epoch > 0 AND s.serial = presence_history.serial AND s.epoch = presence_history.epoch)`, tenant, id)
	return err
}
