package remote

import (
	"context"
	"iter"
	"slices"
	"time"

	ara "github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// View is what there is to be shown.
type View struct {
	Sessions []Session // newest first
	Messages []Message // newest first
	PIN      *PINView  // nil: there is none
	// Reports is how many the CCC has yet to hear.
	Reports int
}

// View gives what there is.
func (m *Machine) View() View {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collect()
	v := View{Sessions: slices.Clone(m.book.Sessions), Messages: slices.Clone(m.book.Messages), Reports: len(m.book.Reports)}
	slices.Reverse(v.Sessions)
	slices.Reverse(v.Messages)
	if p := m.pin; p != nil && time.Now().Before(p.until) {
		v.PIN = &PINView{p.until, p.life, p.left}
	}
	return v
}

// Session gives one session.
func (m *Machine) Session(id grant.SessionID) (Session, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collect()
	if s := m.book.find(id); s != nil {
		return *s, true
	}
	return Session{}, false
}

// NextReport gives the oldest report that the CCC has not acknowledged.
func (m *Machine) NextReport() (Queued, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.book.Reports) == 0 {
		return Queued{}, false
	}
	return m.book.Reports[0], true
}

// Told says that the CCC has a report, or never wants it. After a crash it may be told
// once more.
func (m *Machine) Told(seq int64) {
	m.urgent(func(b *book, _ time.Time) bool {
		before := len(b.Reports)
		b.told(seq)
		return len(b.Reports) < before
	})
}

// Gateway is what the gateway can do: watch, type a PIN, end, and ask for more time. It
// implements the interface of package ara/remote.
func (m *Machine) Gateway() ara.Sessions { return gateway{m} }

type gateway struct{ m *Machine }

func (g gateway) PIN(_ context.Context, id grant.SessionID, pin string) error {
	return g.m.PIN(id, pin)
}

func (g gateway) End(_ context.Context, id grant.SessionID) error {
	return g.m.End(id, grant.CauseUser)
}

func (g gateway) Extend(_ context.Context, id grant.SessionID, minutes int) error {
	return g.m.Extend(id, time.Duration(minutes)*time.Minute)
}

// Targets gives the one that the session is to: the others are none of its business.
func (g gateway) Targets(_ context.Context, id grant.SessionID) ([]ara.Target, error) {
	s, ok := g.m.Session(id)
	switch {
	case !ok:
		return nil, ErrUnknown
	case s.State != grant.Active:
		return nil, ErrState
	}
	t, ok := g.m.cfg.Policy().target(s.Service, s.Target)
	if !ok {
		return []ara.Target{}, nil
	}
	return []ara.Target{{Name: t.Name, Service: t.Service, HostKeys: t.HostKeys}}, nil
}

func (g gateway) Watch(ctx context.Context, id grant.SessionID) (iter.Seq[ara.Status], error) {
	if _, ok := g.m.Session(id); !ok {
		return nil, ErrUnknown
	}
	return func(yield func(ara.Status) bool) {
		beat := time.NewTimer(ara.Heartbeat)
		defer beat.Stop()
		var last Session
		warned, beaten := false, true
		for {
			s, warn, changed := g.m.watch(id)
			if beaten || warn != warned || s.differs(last) {
				if !yield(s.status(time.Now())) || s.State.Final() {
					return
				}
				last, warned = s, warn
				beat.Reset(ara.Heartbeat)
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
				beaten = false
			case <-beat.C:
				beaten = true
			}
		}
	}, nil
}

// differs tells whether who watches has to hear of it.
func (s Session) differs(from Session) bool {
	return s.State != from.State || s.Cause != from.Cause || !s.Until.Equal(from.Until) ||
		s.Extension != from.Extension || s.ExtensionRefused != from.ExtensionRefused
}

// watch gives the session of now, whether it was warned of its end, and what is closed at
// the next change. One that a factory reset has forgotten has ended by it.
func (m *Machine) watch(id grant.SessionID) (s Session, warned bool, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.live[id]; l != nil {
		warned = l.warned
	}
	if have := m.book.find(id); have != nil {
		return *have, warned, m.changed
	}
	return Session{ID: id, State: grant.Ended, Cause: grant.CauseReset}, warned, m.changed
}
