package state

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/settings"
)

// Phase is where a PBX is on the way to a pairing. It follows from the other fields.
//
//	              offer                    token typed
//	unpaired ───────────────► offered ───────────────────► completing
//	  ▲  ▲ ▲                   │ ▲ │ offer, wrong token         │ │ │
//	  │  │ └── withdrawn, ─────┘ └─┘                            │ │ │ acknowledged
//	  │  │     rejected, expired, 5 wrong tokens                │ │ ▼
//	  │  │     (the last one)      ▲                            │ │ paired
//	  │  │                         └── no answer for 10 min, ───┘ │   │
//	  │  │                             restart, refused           │   │
//	  │  └──── the same, where no offer is left ──────────────────┘   │
//	  └─────── dissolved ─────────────────────────────────────────────┘
//
// Dissolving, as by the CCC switch and a factory reset, leads to unpaired from
// everywhere.
type Phase string

// The phases.
const (
	PhaseUnpaired   Phase = "unpaired"
	PhaseOffered    Phase = "offered"    // at least one offer is pending
	PhaseCompleting Phase = "completing" // [State.Completing] is set
	PhasePaired     Phase = "paired"     // [State.Pairing] is set
)

// Limits of the state machine.
const (
	MaxOffers     = 3  // pending at once
	MaxTries      = 5  // wrong tokens until an offer is void
	MaxTombstones = 16 // the oldest are dropped
	MaxDeclined   = 16 // the oldest are dropped
)

// Why a step is not possible.
var (
	ErrPaired       = errors.New("the PBX is paired already")
	ErrCompleting   = errors.New("a pairing is being completed")
	ErrOffersOff    = errors.New("offers are switched off")
	ErrTooMany      = errors.New("too many offers are pending")
	ErrUnknownOffer = errors.New("no such offer is pending")
	ErrNotPaired    = errors.New("the PBX is not paired")
	ErrOtherUser    = errors.New("another user has that name, or another password by now")
)

// Phase gives where the PBX is.
func (s *State) Phase() Phase {
	switch {
	case s.Pairing != nil:
		return PhasePaired
	case s.Completing != nil:
		return PhaseCompleting
	case len(s.Offers) > 0:
		return PhaseOffered
	default:
		return PhaseUnpaired
	}
}

// Add takes an offer. One that is pending already stays as it is: the control centre
// has sent it again. One that has ended here without its having heard of that does not
// begin anew.
func (s *State) Add(o Offer) error {
	_, known := s.Offer(o.ID)
	ended := slices.ContainsFunc(s.Declined, func(d Declined) bool { return d.Offer == o.ID })
	switch {
	case s.Pairing != nil:
		return ErrPaired
	case !s.Switches.Offers:
		return ErrOffersOff
	case known:
		return nil
	case ended:
		return ErrUnknownOffer
	case len(s.Offers) >= MaxOffers:
		return ErrTooMany
	}
	s.Offers = append(s.Offers, o)
	return nil
}

// Withdraw removes an offer at the wish of the control centre, which is told nothing.
func (s *State) Withdraw(id wire.OfferID) error {
	i := s.offerIndex(id)
	if i < 0 {
		return ErrUnknownOffer
	}
	s.Offers = slices.Delete(s.Offers, i, i+1)
	return nil
}

// Decline removes an offer and tells the control centre why.
func (s *State) Decline(id wire.OfferID, why wire.Why) error {
	if err := s.Withdraw(id); err != nil {
		return err
	}
	s.tell(Declined{id, why})
	return nil
}

func (s *State) tell(d Declined) {
	s.Declined = append(s.Declined, d)
	s.Declined = s.Declined[max(0, len(s.Declined)-MaxDeclined):]
}

// Wrong counts a wrong token against an offer and gives the tries that are left; after
// the last one the offer is declined.
func (s *State) Wrong(id wire.OfferID) (left int, err error) {
	i := s.offerIndex(id)
	if i < 0 {
		return 0, ErrUnknownOffer
	}
	s.Offers[i].Tries++
	if left = MaxTries - s.Offers[i].Tries; left <= 0 {
		return 0, s.Decline(id, wire.WhyTries)
	}
	return left, nil
}

// Due lists the offers that have expired. Whether the one that is being completed has,
// is for the control centre to say.
func (s *State) Due(now time.Time) []wire.OfferID {
	var due []wire.OfferID
	for _, o := range s.Offers {
		if s.Completing != nil && s.Completing.Offer == o.ID {
			continue
		}
		if !now.Before(o.Expires) {
			due = append(due, o.ID)
		}
	}
	return due
}

// Begin takes the user that was made for an offer whose token has been typed. The user
// must be disabled.
func (s *State) Begin(id wire.OfferID, u User, now time.Time) error {
	o, ok := s.Offer(id)
	switch {
	case s.Pairing != nil:
		return ErrPaired
	case s.Completing != nil:
		return ErrCompleting
	case !ok:
		return ErrUnknownOffer
	case s.userIndex(u.Name) >= 0:
		return ErrOtherUser
	}
	u.Role, u.Disabled = RoleCloud, true
	s.Users = append(s.Users, u)
	s.Completing = &Completing{Offer: id, Tenant: o.Tenant, User: u.Name, Since: now}
	s.Switches.CCC = true
	return nil
}

// Acknowledge makes the pairing: its user may sign in from now on. What is left of the
// other offers is declined.
func (s *State) Acknowledge(id wire.PairingID, epoch uint64, now time.Time) error {
	c := s.Completing
	if c == nil {
		return fmt.Errorf("%w: nothing is being completed", ErrNotPaired)
	}
	s.Users[s.userIndex(c.User)].Disabled = false
	s.Completing = nil
	s.Pairing = &Pairing{ID: id, Tenant: c.Tenant, Epoch: epoch, User: c.User, Since: now, Contact: now}
	for _, o := range s.Offers {
		if o.ID != c.Offer {
			s.tell(Declined{o.ID, wire.WhyRejected})
		}
	}
	s.Offers = nil
	return nil
}

// Abandon gives up completing. The offer stays, and its token can be typed again. One
// that the control centre has refused is declined: it may still be open there, and no
// other answer would follow.
func (s *State) Abandon(refused bool) {
	c := s.Completing
	if c == nil {
		return
	}
	s.removeUser(c.User)
	s.Completing = nil
	s.Switches.CCC = false
	if refused {
		_ = s.Decline(c.Offer, wire.WhyTries) // it may be gone already
	}
}

// Dissolve ends the pairing, the completion and every offer, whatever there is, and
// notes for the control centre what it has to know. Afterwards the users are those
// from before. The user is given back so that his sessions can be ended; it is empty
// where there was none.
func (s *State) Dissolve(why wire.Reason, now time.Time) (gone UserName) {
	if c := s.Completing; c != nil {
		gone = c.User
	}
	s.Abandon(false)
	for _, o := range s.Offers {
		s.tell(Declined{o.ID, wire.WhyRejected})
	}
	s.Offers = nil
	if p := s.Pairing; p != nil {
		gone = p.User
		s.removeUser(p.User)
		s.Pairing = nil
		s.Tombstones = append(s.Tombstones, Tombstone{Pairing: p.ID, Epoch: p.Epoch, Reason: why, At: now})
		s.Tombstones = s.Tombstones[max(0, len(s.Tombstones)-MaxTombstones):]
	}
	s.Switches.CCC = false
	return gone
}

func (s *State) removeUser(name UserName) {
	s.Users = slices.DeleteFunc(s.Users, func(u User) bool { return u.Name == name && u.Role == RoleCloud })
}

// RemoveUser removes an ordinary user, where there is one of that name.
func (s *State) RemoveUser(name UserName) {
	s.Users = slices.DeleteFunc(s.Users, func(u User) bool { return u.Name == name && u.Role == RoleUser })
}

// SetHash gives a user another password, unless somebody else has done so since the
// hash was read.
func (s *State) SetHash(name UserName, old, hash string) error {
	i := s.userIndex(name)
	if i < 0 || s.Users[i].Hash != old || s.Users[i].Role == RoleCloud {
		return ErrOtherUser
	}
	s.Users[i].Hash, s.Users[i].Changed = hash, true
	return nil
}

// Told removes tombstones that the control centre has.
func (s *State) Told(ids ...wire.PairingID) {
	s.Tombstones = slices.DeleteFunc(s.Tombstones, func(t Tombstone) bool { return slices.Contains(ids, t.Pairing) })
}

// ToldDeclined removes an end of an offer that the control centre has.
func (s *State) ToldDeclined(id wire.OfferID) {
	s.Declined = slices.DeleteFunc(s.Declined, func(d Declined) bool { return d.Offer == id })
}

// Reset brings back the state of a new PBX with a new administrator. What the control
// centre has to know survives, so does the firmware, and the versions go on.
func (s *State) Reset(why wire.Reason, admin User, deviceKey []byte, now time.Time) (gone UserName) {
	gone = s.Dissolve(why, now)
	*s = State{
		Format: Format, Version: s.Version, Created: now, Users: []User{admin}, DeviceKey: deviceKey,
		Settings: settings.Default(), SettingsVersion: s.nextSettings(now), Switches: DefaultSwitches, Firmware: s.Firmware,
		Tombstones: s.Tombstones, Declined: s.Declined,
	}
	return gone
}

// Boot is what a start does to the state before anything else: a user that nobody has
// acknowledged goes, and so does an installation that did not come to its end; the offers'
// lives are bounded by the clock of now. It tells whether there was anything to do.
func (s *State) Boot(now time.Time) (changed bool) {
	if s.Completing != nil {
		s.Abandon(false)
		changed = true
	}
	if s.Firmware.Installing != nil {
		s.FailInstall(FailInterrupted)
		changed = true
	}
	for i := range s.Offers {
		o := &s.Offers[i]
		life := min(o.Expires.Sub(o.Received), o.Expires.Sub(now))
		o.Expires = now.Add(life) // with the monotonic clock of this start
	}
	for _, id := range s.Due(now) {
		_ = s.Decline(id, wire.WhyExpired) // it is there
		changed = true
	}
	return changed
}
