package remote

import (
	"errors"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// Take keeps a request of the CCC, whose signature the caller has verified, and gives the
// state of its session: pending, or active with the standing setting. One that is known
// already changes nothing.
func (m *Machine) Take(r wire.Remote) (state grant.State, err error) {
	if err := r.Validate(); err != nil {
		return "", err
	}
	wait := min(r.ExpiresIn, r.ExpiresAt.Sub(r.IssuedAt), m.cfg.Limits.Wait)
	if wait <= 0 {
		return "", ErrExpired
	}
	m.mu.Lock()
	if s := m.book.find(r.Session); s != nil {
		state = s.State
	}
	m.mu.Unlock()
	if state != "" {
		return state, nil
	}
	err = m.commit(func(b *book, now time.Time) error {
		if s := b.find(r.Session); s != nil {
			state = s.State
			return nil
		}
		p := m.cfg.Policy()
		s := Session{
			ID: r.Session, Pairing: r.Pairing, Tenant: r.Tenant, User: r.User, Reason: r.Reason, Service: r.Service, Target: r.Target,
			Asked: max(r.Life, MinLife), Received: now, Expires: now.Add(wait),
		}
		if err := p.admits(s); err != nil {
			return err
		}
		if p.Epoch != r.Epoch {
			return ErrPairing
		}
		if len(b.Reports) >= m.cfg.Limits.Reports {
			return ErrTooMany
		}
		if p.Always {
			if b.count(grant.Active) >= m.cfg.Limits.Active {
				return ErrTooMany
			}
			b.add(s)
			state = grant.Active
			return b.consent(s.ID, wire.ConsentAlways, p.life(s.Asked), now)
		}
		if b.count(grant.Pending) >= m.cfg.Limits.Pending {
			return ErrTooMany
		}
		b.add(s)
		state = grant.Pending
		return nil
	})
	if err != nil {
		return "", err
	}
	return state, nil
}

// admits tells whether what is set lets a session be there, whatever its state.
func (p Policy) admits(s Session) error {
	switch {
	case !p.On:
		return ErrOff
	case p.Pairing == "" || p.Pairing != s.Pairing:
		return ErrPairing
	case s.Consent == wire.ConsentAlways && !p.Always:
		return ErrRefused
	}
	if s.Service == grant.TLS && !p.Sealed {
		return ErrTarget
	}
	if s.Service.Targeted() {
		if _, ok := p.target(s.Service, s.Target); !ok {
			return ErrTarget
		}
	}
	return nil
}

func (p Policy) target(service grant.Service, name string) (Target, bool) {
	for _, t := range p.Targets {
		if t.Service == service && t.Name == name {
			return t, true
		}
	}
	return Target{}, false
}

// life is how long an access that was asked for lasts, where nobody has said so here.
func (p Policy) life(asked time.Duration) time.Duration {
	most := p.Life
	if most <= 0 {
		most = DefaultLife
	}
	return min(asked, most, MaxLife)
}

// Allow consents to a pending request. life is from the consent on; 0: as long as was
// asked for, but not longer than [Policy].Life.
func (m *Machine) Allow(id grant.SessionID, life time.Duration) error {
	return m.consent(id, wire.ConsentRequest, life)
}

// checkLife takes 0, too.
func checkLife(life time.Duration) error {
	if life != 0 && (life < MinLife || life > MaxLife) {
		return ErrLife
	}
	return nil
}

func (m *Machine) consent(id grant.SessionID, how wire.Consent, life time.Duration) error {
	if err := checkLife(life); err != nil {
		return err
	}
	return m.commit(func(b *book, now time.Time) error {
		s := b.find(id)
		if s == nil {
			return ErrUnknown
		}
		p := m.cfg.Policy()
		if err := p.admits(*s); err != nil {
			return err
		}
		if b.count(grant.Active) >= m.cfg.Limits.Active {
			return ErrTooMany
		}
		lasts := life
		switch {
		case life == 0:
			lasts = p.life(s.Asked)
		case how == wire.ConsentPIN:
			lasts = min(life, s.Asked)
		}
		return b.consent(id, how, lasts, now)
	})
}

// Refuse refuses a pending request.
func (m *Machine) Refuse(id grant.SessionID) error {
	err := ErrUnknown
	m.urgent(func(b *book, now time.Time) bool {
		s := b.find(id)
		switch {
		case s == nil:
			return false
		case s.State != grant.Pending:
			err = ErrState
			return false
		}
		err = nil
		return b.finish(id, grant.CauseAdmin, now)
	})
	return err
}

// End ends a session, whatever its state. One that is over already is no error.
func (m *Machine) End(id grant.SessionID, why grant.Cause) error {
	err := ErrUnknown
	m.urgent(func(b *book, now time.Time) bool {
		if b.find(id) != nil {
			err = nil
		}
		return b.finish(id, why, now)
	})
	return err
}

// EndAll ends every session and voids the PIN: after the switch went off, the pairing was
// dissolved. It is called after the change, for each; that what was set meanwhile would
// let the sessions go on again does not matter.
func (m *Machine) EndAll(why grant.Cause) {
	m.urgent(func(b *book, now time.Time) bool {
		m.pin = nil
		return finishAll(b, why, now)
	})
}

// Recheck ends what is set no longer lets be there: sessions of the standing setting, or
// to a target that has gone.
func (m *Machine) Recheck() {
	m.urgent(func(b *book, now time.Time) (changed bool) {
		p := m.cfg.Policy()
		for _, s := range b.Sessions {
			why := grant.CauseAdmin
			switch err := p.admits(s); {
			case err == nil:
				continue
			case errors.Is(err, ErrOff):
				why = grant.CauseSwitch
			case errors.Is(err, ErrPairing):
				why = grant.CauseDissolved
			}
			changed = b.finish(s.ID, why, now) || changed
		}
		return changed
	})
}

// Reset ends everything and forgets it, but for what the CCC has yet to hear. installed is
// as in [Config].
func (m *Machine) Reset(installed time.Time) {
	m.urgent(func(b *book, now time.Time) bool {
		m.pin = nil
		finishAll(b, grant.CauseReset, now)
		b.forget(installed)
		return true
	})
}

// Extend notes that the user asks for so much more time.
func (m *Machine) Extend(id grant.SessionID, life time.Duration) error {
	if life == 0 {
		return ErrLife
	}
	if err := checkLife(life); err != nil {
		return err
	}
	return m.change(id, func(s *Session) { s.Extension, s.ExtensionRefused = life, false })
}

// AllowExtension consents to the wish for more time. life is from now on; 0: as long as was
// asked for, but not longer than [Policy].Life. A session never becomes shorter by it.
func (m *Machine) AllowExtension(id grant.SessionID, life time.Duration) error {
	if err := checkLife(life); err != nil {
		return err
	}
	return m.commit(func(b *book, now time.Time) error {
		s := b.find(id)
		if s == nil {
			return ErrUnknown
		}
		p := m.cfg.Policy()
		if err := p.admits(*s); err != nil {
			return err
		}
		lasts := life
		if life == 0 {
			lasts = p.life(s.Extension)
		}
		if err := b.extend(id, lasts, now); err != nil {
			return err
		}
		m.liveOf(id).warned = s.Ending(now)
		return nil
	})
}

// RefuseExtension refuses the wish for more time; the session goes on as before.
func (m *Machine) RefuseExtension(id grant.SessionID) error {
	asked := false
	err := m.change(id, func(s *Session) {
		if asked = s.Extension != 0; asked {
			s.Extension, s.ExtensionRefused = 0, true
		}
	})
	if err == nil && !asked {
		return ErrState
	}
	return err
}

// change changes an active session.
func (m *Machine) change(id grant.SessionID, f func(*Session)) error {
	err := ErrUnknown
	m.urgent(func(b *book, now time.Time) bool {
		s := b.find(id)
		switch {
		case s == nil:
			return false
		case s.State != grant.Active || !now.Before(s.Until):
			err = ErrState
			return false
		}
		err = nil
		f(s)
		return true
	})
	return err
}
