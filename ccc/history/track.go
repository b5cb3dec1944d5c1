package history

import (
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// What of the round trips begins a new interval.
const (
	// segmentAfter is how old an interval is at least that ends for them.
	segmentAfter = time.Hour
	// segmentChange is how much they change at least.
	segmentChange = 5 * time.Millisecond
)

// flapWindow is the time in which changes are counted.
const flapWindow = time.Hour

// track is the history of one PBX as far as it is not over. It makes no difference between
// a status that it is told twice and one that it is told once.
type track struct {
	serial identity.Serial
	epoch  uint64
	flaps  int
	out    *pending // what is to be written

	open   store.Interval
	link   store.Link // as it is now, also while it flaps
	reason Reason
	// changes are the times of the last hour, and recent the closed intervals that began in
	// it, for a fold.
	changes []time.Time
	recent  []store.Interval
	counted time.Time // while it flaps: until when OnlineFor is
}

// linkOf gives what a status is.
func linkOf(s fleet.Status) store.Link {
	switch {
	case s.Online:
		return store.LinkOnline
	case s.Reason == tunnel.CodeQuarantined:
		return store.LinkQuarantined
	default:
		return store.LinkOffline
	}
}

// begin starts the history of a PBX that has none.
func (t *track) begin(s fleet.Status, now time.Time) { t.start(s, ReasonOf(s), now) }

// start begins an interval.
func (t *track) start(s fleet.Status, why Reason, at time.Time) {
	t.link, t.reason = linkOf(s), why
	t.open = store.Interval{
		ID: store.NewID[store.HistoryID](), Serial: t.serial, Epoch: t.epoch, Link: t.link, Reason: string(why),
		Relay: s.Relay, Transport: string(s.Transport), Boot: s.Boot, Started: at,
	}
	t.measure(s.RTT)
	t.out.put(t.open)
}

// end ends the interval that lasts, not before it began.
func (t *track) end(at time.Time) {
	if at.Before(t.open.Started) {
		at = t.open.Started
	}
	t.open.Ended = at
	t.out.put(t.open)
	t.recent = append(t.recent, t.open)
}

// cut ends the interval for another of the same.
func (t *track) cut(s fleet.Status, now time.Time) {
	t.end(now)
	t.start(s, t.reason, now)
	t.trim(now)
}

// see takes the status of the PBX.
func (t *track) see(s fleet.Status, now time.Time) {
	if t.open.Link == store.LinkFlapping {
		t.seeFlapping(s, now)
		return
	}
	if link := linkOf(s); link != t.link {
		t.change(s, now)
		return
	}
	if !s.Online {
		// That a relay is lost says nothing new about a PBX that was offline before.
		if why := ReasonOf(s); why != t.reason && why != RelayLost && s.Reason != tunnel.CodeOK && t.reason != CertificateExpired {
			t.reason, t.open.Reason = why, string(why)
			t.out.put(t.open)
		}
		return
	}
	switch mean := t.open.RTT.Mean(); {
	case t.open.Boot != 0 && s.Boot != 0 && s.Boot != t.open.Boot:
		t.end(now)
		gone := store.Interval{
			ID: store.NewID[store.HistoryID](), Serial: t.serial, Epoch: t.epoch, Link: store.LinkOffline, Reason: string(Restart),
			Relay: t.open.Relay, Transport: t.open.Transport, Boot: t.open.Boot, Started: now, Ended: now,
		}
		t.out.put(gone)
		t.recent = append(t.recent, gone)
		t.start(s, "", now)
		t.count(now, now)
	case s.Relay != t.open.Relay || string(s.Transport) != t.open.Transport:
		t.cut(s, now)
	case s.RTT > 0 && mean > 0 && now.Sub(t.open.Started) >= segmentAfter &&
		(s.RTT > 2*mean || s.RTT < mean/2) && (s.RTT-mean).Abs() >= segmentChange:
		t.cut(s, now)
	default:
		if t.open.Boot == 0 {
			t.open.Boot = s.Boot
		}
		if t.measure(s.RTT) {
			t.out.later(t.open)
		}
	}
}

// change takes the status of a PBX that has come or gone.
func (t *track) change(s fleet.Status, now time.Time) {
	at := since(s, now)
	if s.Online && t.link == store.LinkOffline {
		if t.reason == RelayLost && !at.After(t.open.Started) {
			// It was there all the time; only its relay could not tell.
			t.link, t.reason = store.LinkOnline, ""
			t.open.Link, t.open.Reason, t.open.Relay, t.open.Transport = store.LinkOnline, "", s.Relay, string(s.Transport)
			t.measure(s.RTT)
			t.out.put(t.open)
			return
		}
		t.open.Reason = string(settle(t.reason, t.open.Boot, s.Boot, at.Sub(t.open.Started)))
	}
	if at.Before(t.open.Started) {
		at = t.open.Started
	}
	boot := t.open.Boot
	t.end(at)
	t.start(s, ReasonOf(s), at)
	if t.open.Boot == 0 && !s.Online {
		t.open.Boot = boot // to settle the reason by
		t.out.put(t.open)
	}
	t.count(at, now)
}

// since is when a status began.
func since(s fleet.Status, now time.Time) time.Time {
	if s.Since.IsZero() || s.Since.After(now) {
		return now
	}
	return s.Since
}

// count notes a change, and folds what was in the last hour where there were too many.
func (t *track) count(at, now time.Time) {
	t.trim(now)
	t.changes = append(t.changes, at)
	if len(t.changes) <= t.flaps {
		return
	}
	fold := store.Interval{
		ID: store.NewID[store.HistoryID](), Serial: t.serial, Epoch: t.epoch, Link: store.LinkFlapping,
		Relay: t.open.Relay, Transport: t.open.Transport, Boot: t.open.Boot, Changes: len(t.changes), Started: t.changes[0],
	}
	for _, i := range slices.Concat(t.recent, []store.Interval{t.open}) {
		if i.Started.Before(fold.Started) {
			continue
		}
		if i.Link == store.LinkOnline && !i.Ended.IsZero() {
			fold.OnlineFor += i.Ended.Sub(i.Started)
		}
		fold.RTT = fold.RTT.Add(i.RTT)
		t.out.drop(i.ID)
	}
	t.counted, t.recent = t.open.Started, nil
	t.open = fold
	t.out.put(fold)
}

// trim forgets what is older than the last hour.
func (t *track) trim(now time.Time) {
	old := now.Add(-flapWindow)
	t.changes = slices.DeleteFunc(t.changes, old.After)
	t.recent = slices.DeleteFunc(t.recent, func(i store.Interval) bool { return i.Started.Before(old) })
}

// seeFlapping takes a status while the PBX flaps.
func (t *track) seeFlapping(s fleet.Status, now time.Time) {
	at := since(s, now)
	t.measure(s.RTT)
	t.open.Relay, t.open.Transport = s.Relay, string(s.Transport)
	if s.Boot != 0 {
		t.open.Boot = s.Boot
	}
	if link := linkOf(s); link != t.link {
		t.account(at)
		t.link = link
		t.open.Changes++
		t.changes = append(t.changes, at)
	}
	t.reason = ReasonOf(s)
	t.out.later(t.open)
}

// account adds the time that the PBX was online since that was last done.
func (t *track) account(until time.Time) {
	if t.link == store.LinkOnline && until.After(t.counted) {
		t.open.OnlineFor += until.Sub(t.counted)
	}
	if until.After(t.counted) {
		t.counted = until
	}
}

// expire gives a PBX that has been offline for longer than its certificate is good that
// reason, since it will not be let in any more.
func (t *track) expire(s fleet.Status, now time.Time) {
	if t.link != store.LinkOffline || s.Online || s.Expires.IsZero() || now.Before(s.Expires) ||
		t.reason == CertificateExpired || t.reason == CertificateBlocked {
		return
	}
	t.reason = CertificateExpired
	if t.open.Link == store.LinkOffline {
		t.open.Reason = string(CertificateExpired)
		t.out.put(t.open)
	}
}

// settleDown ends the flapping of a PBX that has become quiet.
func (t *track) settleDown(now time.Time) {
	if t.open.Link != store.LinkFlapping {
		return
	}
	t.trim(now)
	t.account(now)
	if len(t.changes) > t.flaps/2 {
		return
	}
	link, why, was := t.link, t.reason, t.open
	t.end(now)
	t.recent = nil
	t.start(fleet.Status{Online: link == store.LinkOnline, Relay: was.Relay, Transport: tunnel.Transport(was.Transport), Boot: was.Boot}, why, now)
	if t.link, t.open.Link = link, link; link != store.LinkOnline {
		t.out.put(t.open)
	}
}

// measure adds a round trip.
func (t *track) measure(d time.Duration) bool {
	if d <= 0 {
		return false
	}
	t.open.RTT = t.open.RTT.Add(store.RTT{Count: 1, Sum: d, Min: d, Max: d})
	return true
}

// resume takes the status of a PBX whose interval was read from the store, which the program
// wrote that was last there at seen.
func (t *track) resume(s fleet.Status, seen, now time.Time) {
	if seen.After(now) || seen.Before(t.open.Started) {
		seen = t.open.Started
	}
	at, same := since(s, now), linkOf(s) == t.link
	held := s.Online && !at.After(seen) // the session is older than what was seen
	if t.link == store.LinkOffline || same && held {
		t.see(s, now)
		return
	}
	if t.link != store.LinkFlapping {
		t.open.Reason = string(Unknown)
	}
	t.end(seen)
	t.recent = nil
	switch {
	case held:
		at = seen
	case !at.After(seen):
		at = now
	}
	t.start(s, ReasonOf(s), at)
}

// restored is the track of an interval that was read.
func restored(open store.Interval, flaps int, out *pending) *track {
	return &track{
		serial: open.Serial, epoch: open.Epoch, flaps: flaps, out: out, open: open, link: open.Link, reason: Reason(open.Reason),
	}
}
