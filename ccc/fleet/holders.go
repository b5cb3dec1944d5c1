package fleet

import (
	"container/list"
	"slices"
	"time"
)

// holder is who says in its hello that it is the PBX; see presence.Session.
type holder struct{ instance, boot uint64 }

// hold is what is thought of the holders of a PBX's certificate; see the package doc.
type hold int

const (
	single hold = iota
	suspected
	quarantined
	clearing
)

// holding is the state of one PBX.
type holding struct {
	hold  hold
	place *list.Element // in the list of its state
	check time.Time     // when that is looked at
}

// quarantined tells whether nobody knows which holder is the right one.
func (h *holding) quarantined() bool { return h.hold == quarantined || h.hold == clearing }

// holders has the PBXs in the states that end by themselves, by the time of that.
type holders struct{ suspected, clearing *list.List }

func newHolders() holders { return holders{list.New(), list.New()} }

// list is that of a state, nil if it does not end by itself.
func (h holders) list(s hold) *list.List {
	switch s {
	case suspected:
		return h.suspected
	case clearing:
		return h.clearing
	default:
		return nil
	}
}

// leave takes a PBX from the list that it is in.
func (h holders) leave(b *pbx) {
	if l := h.list(b.hold); l != nil {
		l.Remove(b.place)
		b.place = nil
	}
}

// twoHolders tells whether sessions are of two holders. One that says nothing is not
// counted.
func twoHolders(all []session) bool {
	var first holder
	return slices.ContainsFunc(all, func(s session) bool {
		switch {
		case s.holder == holder{} || s.holder == first:
			return false
		case first == holder{}:
			first = s.holder
			return false
		default:
			return true
		}
	})
}

// watchHolders looks at the holders of a PBX whose sessions have changed.
func (p *Presence) watchHolders(b *pbx, now time.Time) {
	two := twoHolders(b.sessions)
	switch {
	case two && b.hold == single:
		p.enter(b, suspected, now.Add(p.cfg.CloneAfter))
	case !two && b.hold == suspected:
		p.enter(b, single, time.Time{})
	case !two && b.hold == quarantined:
		p.enter(b, clearing, now.Add(p.cfg.Quarantine))
	case two && b.hold == clearing:
		p.enter(b, quarantined, time.Time{})
	}
}

// enter changes the state, which is looked at again at check if it ends by itself.
func (p *Presence) enter(b *pbx, to hold, check time.Time) {
	p.held.leave(b)
	b.hold, b.check = to, check
	l := p.held.list(to)
	if l == nil {
		return
	}
	b.place = l.PushBack(b)
	if l.Len() == 1 {
		p.rouse()
	}
}

// quarantine takes a PBX that has had two holders for long enough.
func (p *Presence) quarantine(b *pbx, now time.Time) {
	p.enter(b, quarantined, time.Time{})
	p.metrics.clones.Inc()
	p.metrics.held.Inc()
	var at []string
	for _, s := range b.sessions {
		at = append(at, s.relay.id)
	}
	p.log.Error("ALARM: two holders of one certificate; find the copy, or block the serial", "pbx", b.serial, "relays", at)
	p.show(b, now)
}

// release ends the quarantine of a PBX that has had one holder for long enough.
func (p *Presence) release(b *pbx, now time.Time) {
	p.enter(b, single, time.Time{})
	p.metrics.held.Dec()
	p.log.Warn("a quarantine has ended", "pbx", b.serial)
	if len(b.sessions) > 0 {
		p.show(b, now)
	}
}
