package remote

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	ara "github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// What is refused. The first four are those of package ara/remote, so that its handler
// knows them. Compare with errors.Is.
var (
	ErrUnknown = ara.ErrUnknown // there is no such session
	ErrState   = ara.ErrState   // not in the state of the session
	ErrPIN     = ara.ErrPIN     // the PIN is wrong, used or too old
	ErrTries   = ara.ErrTries   // the PIN was wrong too often

	// ErrOff: the administrator has switched remote access off.
	ErrOff = errors.New("remote access is switched off")
	// ErrPairing: it is for a pairing that the PBX does not have.
	ErrPairing = errors.New("not the pairing of this PBX")
	// ErrTarget: the target is not on the list.
	ErrTarget = errors.New("the target is not on the list")
	// ErrTooMany: as many as there may be are there already.
	ErrTooMany = errors.New("too many at once")
	// ErrExpired: the time of the request is over.
	ErrExpired = errors.New("the time of the request is over")
	// ErrLife: the time is not from [MinLife] to [MaxLife].
	ErrLife = fmt.Errorf("a remote access lasts from %s to %s", MinLife, MaxLife)
	// ErrRefused: nobody has consented to the call, or the session is over.
	ErrRefused = errors.New("there is no consent to this call")
	// ErrClosed: the Machine is closed.
	ErrClosed = errors.New("the PBX is stopping")
)

// Machine holds the sessions of a PBX. Make it with [Open]; all methods may be called at
// the same time from several goroutines.
type Machine struct {
	cfg   Config
	tapes *recordings

	writing sync.Mutex // held while the file is written; taken before mu

	mu      sync.Mutex // guards what follows
	book    *book
	live    map[grant.SessionID]*live
	pin     *pin          // nil: there is none
	changed chan struct{} // closed at the next change
	timer   *time.Timer   // nil until it is needed
	unsaved bool          // the book is not on the disk
	closed  bool
}

// live is what of a session is in memory only.
type live struct {
	in, out atomic.Int64
	streams map[*Stream]struct{}
	tries   int  // wrong PINs
	warned  bool // the watchers know that it ends soon
}

// Open reads the file, and ends what was open when the PBX stopped. Close ends it.
func Open(cfg Config) (*Machine, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	b, err := read(cfg.Disk, cfg.Installed)
	if err != nil {
		return nil, err
	}
	if b.boot(cfg.Installed, time.Now()) {
		if err := write(cfg.Disk, b); err != nil {
			return nil, err
		}
	}
	tapes, err := openRecordings(cfg.Disk, cfg.Installed)
	if err != nil {
		return nil, err
	}
	return &Machine{cfg: cfg, tapes: tapes, book: b, live: make(map[grant.SessionID]*live), changed: make(chan struct{})}, nil
}

// Close ends all sessions, as a restart does, and refuses everything from then on.
func (m *Machine) Close() {
	m.urgent(func(b *book, now time.Time) bool {
		m.closed, m.pin = true, nil
		return finishAll(b, grant.CauseRestart, now)
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.timer != nil {
		m.timer.Stop()
	}
}

// commit does a step that has to be on the disk before it is true: first to a copy, which
// is written, then to the book. What has happened meanwhile may be against it; that is
// the error, then.
func (m *Machine) commit(step func(*book, time.Time) error) error {
	written, err := m.tryCommit(step)
	if written {
		if err != nil {
			m.save() // the disk has what did not come true
		}
		m.announce()
	}
	return err
}

func (m *Machine) tryCommit(step func(*book, time.Time) error) (written bool, err error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false, ErrClosed
	}
	m.collect()
	next := m.book.clone()
	if err := step(next, now); err != nil {
		return false, err
	}
	m.unsaved = false // what comes from now on is not in next
	m.mu.Unlock()
	err = write(m.cfg.Disk, next)
	m.mu.Lock()
	switch {
	case err != nil:
	case m.closed:
		err = ErrClosed
	default:
		err = step(m.book, now)
	}
	m.unsaved = m.unsaved || err != nil
	m.publish()
	return true, err
}

// urgent does a step that is true at once: what it ends is cut before anything else. It
// is written afterwards, where it has changed something.
func (m *Machine) urgent(step func(*book, time.Time) (changed bool)) {
	m.mu.Lock()
	m.collect()
	if step(m.book, time.Now()) {
		m.unsaved = true
	}
	cut := m.over()
	m.publish()
	m.mu.Unlock()
	for _, s := range cut {
		s.cut()
	}
	m.save()
	m.announce()
}

// over takes the streams of sessions that are not active. mu is held.
func (m *Machine) over() (cut []*Stream) {
	for id, l := range m.live {
		s := m.book.find(id)
		if s != nil && s.State == grant.Active {
			continue
		}
		for st := range l.streams {
			cut = append(cut, st)
		}
		if s == nil || s.State.Final() {
			delete(m.live, id)
		}
	}
	return cut
}

// collect brings the bytes of the streams into the book. mu is held.
func (m *Machine) collect() {
	for id, l := range m.live {
		s := m.book.find(id)
		if in, out := l.in.Load(), l.out.Load(); s != nil && (s.In != in || s.Out != out) {
			s.In, s.Out = in, out
			m.unsaved = true
		}
	}
}

// publish wakes who watches, and sets the timer. mu is held.
func (m *Machine) publish() {
	close(m.changed)
	m.changed = make(chan struct{})
	m.arm()
}

func (m *Machine) announce() {
	if m.cfg.OnChange != nil {
		m.cfg.OnChange()
	}
}

// save writes what is not on the disk. A failure is tried again by the clock.
func (m *Machine) save() {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.mu.Lock()
	if !m.unsaved {
		m.mu.Unlock()
		return
	}
	m.collect()
	next := m.book.clone()
	m.unsaved = false
	m.mu.Unlock()
	if err := write(m.cfg.Disk, next); err != nil {
		m.cfg.Logger.Error("remote access is not on the disk", "error", err)
		m.mu.Lock()
		m.unsaved = true
		m.arm()
		m.mu.Unlock()
	}
}

// arm sets the timer for what is due next. mu is held.
func (m *Machine) arm() {
	if m.closed {
		return
	}
	var due time.Time
	earlier := func(t time.Time) {
		if due.IsZero() || t.Before(due) {
			due = t
		}
	}
	now := time.Now()
	for _, s := range m.book.Sessions {
		switch s.State {
		case grant.Pending:
			earlier(s.Expires)
		case grant.Active:
			earlier(s.Until)
			earlier(now.Add(m.cfg.Limits.Checkpoint))
			if !m.liveOf(s.ID).warned {
				earlier(s.Until.Add(-ara.Warning))
			}
		}
	}
	if m.unsaved {
		earlier(now.Add(m.cfg.Limits.Checkpoint))
	}
	switch {
	case due.IsZero():
		if m.timer != nil {
			m.timer.Stop()
		}
	case m.timer == nil:
		m.timer = time.AfterFunc(time.Until(due), m.tick)
	default:
		m.timer.Reset(time.Until(due))
	}
}

// tick does what is due.
func (m *Machine) tick() {
	m.urgent(func(b *book, now time.Time) (changed bool) {
		for _, s := range b.Sessions {
			switch {
			case s.State == grant.Pending && !now.Before(s.Expires):
				changed = b.finish(s.ID, grant.CauseNoConsent, now) || changed
			case s.State == grant.Active && !now.Before(s.Until):
				changed = b.finish(s.ID, grant.CauseTime, now) || changed
			case s.Ending(now):
				m.liveOf(s.ID).warned = true
			}
		}
		return changed
	})
}

// liveOf gives what of a session is in memory. mu is held.
func (m *Machine) liveOf(id grant.SessionID) *live {
	l := m.live[id]
	if l == nil {
		l = &live{streams: make(map[*Stream]struct{})}
		m.live[id] = l
	}
	return l
}

func finishAll(b *book, why grant.Cause, now time.Time) (changed bool) {
	for _, s := range b.Sessions {
		changed = b.finish(s.ID, why, now) || changed
	}
	return changed
}
