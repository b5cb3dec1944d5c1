package remote

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"math/big"
	"time"

	ara "github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// pin consents once to whoever knows it. A hash keeps it from dumps of the memory no
// longer than its few digits take to be tried; what protects it is that tries are few.
type pin struct {
	hash  [sha256.Size]byte
	until time.Time
	life  time.Duration // of the consent; 0: as was asked for
	left  int           // tries
}

// PINView is what is shown of the PIN that there is.
type PINView struct {
	Until     time.Time
	Life      time.Duration // of the consent; 0: as long as was asked for
	TriesLeft int
}

var pins = new(big.Int).Exp(big.NewInt(10), big.NewInt(ara.PINLen), nil)

// NewPIN makes a PIN for the administrator to tell, in place of the one before. It is
// given once. life is as in [Machine.Allow], but never longer than what is asked for.
func (m *Machine) NewPIN(life time.Duration) (digits string, err error) {
	if err := checkLife(life); err != nil {
		return "", err
	}
	n, err := rand.Int(rand.Reader, pins)
	if err != nil {
		return "", err
	}
	digits = fmt.Sprintf("%0*d", ara.PINLen, n)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch p := m.cfg.Policy(); {
	case m.closed:
		return "", ErrClosed
	case !p.On:
		return "", ErrOff
	case p.Pairing == "":
		return "", ErrPairing
	}
	m.pin = &pin{sha256.Sum256([]byte(digits)), time.Now().Add(m.cfg.Limits.PINLife), life, m.cfg.Limits.PINTries}
	return digits, nil
}

// VoidPIN makes the PIN void that there is.
func (m *Machine) VoidPIN() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pin = nil
}

// PIN consents to a pending request where the PIN is right, which is used up then. Wrong
// ones count against the PIN and against the request, whether there is a PIN or not.
func (m *Machine) PIN(id grant.SessionID, typed string) error {
	life, err := m.try(id, typed)
	switch {
	case err == nil:
		return m.consent(id, wire.ConsentPIN, life)
	case errors.Is(err, ErrTries):
		m.urgent(func(b *book, now time.Time) bool { return b.finish(id, grant.CauseWrongPIN, now) })
	}
	return err
}

// try uses the PIN up where it is the one that was typed.
func (m *Machine) try(id grant.SessionID, typed string) (life time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.book.find(id)
	switch {
	case s == nil:
		return 0, ErrUnknown
	case s.State != grant.Pending || m.closed:
		return 0, ErrState
	}
	p := m.pin
	if p != nil && !time.Now().Before(p.until) {
		p, m.pin = nil, nil
	}
	hash := sha256.Sum256([]byte(typed))
	if p != nil && subtle.ConstantTimeCompare(hash[:], p.hash[:]) == 1 {
		m.pin = nil
		return p.life, nil
	}
	if p != nil {
		if p.left--; p.left <= 0 {
			m.pin = nil
		}
	}
	l := m.liveOf(id)
	if l.tries++; l.tries >= m.cfg.Limits.PINTries {
		return 0, ErrTries
	}
	return 0, ErrPIN
}
