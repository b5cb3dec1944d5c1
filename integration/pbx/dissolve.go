package pbx

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// anyPairing stands for whatever pairing there is.
const anyPairing wire.PairingID = ""

// Dissolve ends the pairing, a completion and all offers: whatever there is. User,
// password and sessions are gone when it returns; the control centre is told when it
// can be. It is what switching CCC off does.
func (p *PBX) Dissolve() error {
	_, err := p.dissolve(wire.ReasonSwitchedOff, anyPairing, nil)
	return err
}

// dissolve is every end of a pairing:
//
//	switched off           Dissolve, online or not
//	removed, replaced      a tombstone of the control centre, delivered or in a sync
//	factory reset          FactoryReset, which passes reset
//	revoked                a relay refuses the certificate
//	unknown, proof failed  a tombstone of the control centre
//	expired contact        the clock
//
// A pairing other than only is left alone, unless only is anyPairing; done tells. reset
// replaces [state.State.Dissolve] where it is not nil.
func (p *PBX) dissolve(why wire.Reason, only wire.PairingID, reset func(*state.State) state.UserName) (done bool, err error) {
	if reset == nil && p.store.View().Phase() == state.PhaseUnpaired {
		return false, nil
	}
	var gone state.UserName
	var c *completion
	err = p.update(func(s *state.State) error {
		if only != anyPairing && (s.Pairing == nil || s.Pairing.ID != only) {
			return nil
		}
		done = true
		if reset != nil {
			gone = reset(s)
		} else {
			gone = s.Dissolve(why, time.Now())
		}
		c = p.typed() // no other can begin while the store is held
		return nil
	})
	if err != nil || !done {
		return false, err
	}
	if reset != nil {
		p.remote.Reset(p.store.View().Created)
	} else {
		p.remote.EndAll(grant.CauseDissolved)
	}
	p.finish(c, errDissolved)
	if gone != "" {
		p.sessions.drop(gone)
		p.log.Info("pairing dissolved", "reason", why)
	}
	p.wake(true)
	return true, nil
}

// reset dissolves, and forgets everything else with it.
func (p *PBX) reset(admin state.User) error {
	_, err := p.dissolve(wire.ReasonFactoryReset, anyPairing, func(s *state.State) state.UserName {
		return s.Reset(wire.ReasonFactoryReset, admin, newDeviceKey(), time.Now().UTC())
	})
	if err != nil {
		return err
	}
	p.sessions.clear()
	p.guard.clear()
	return nil
}
