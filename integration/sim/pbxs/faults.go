package pbxs

import (
	"context"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/firmware"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
)

// Upkeep says how the good PBXs behave when they are restarted, configured and updated.
type Upkeep struct {
	// Faulty is the share of them, from 0 to 1, with which that goes wrong, and Faults how;
	// Faults take turns.
	Faulty float64
	Faults []pbx.Fault
	// Restart and Install are how long a restart and an installation take; 0: as in
	// [pbx.Limits].
	Restart, Install time.Duration
	// Keys are those whose firmware is taken.
	Keys firmware.Keys
	// Stay is for how long the PBXs are there after all else, for somebody who works with
	// them in the control centre.
	Stay time.Duration
}

// fault is that of the i-th PBX. Faulty ones are spread evenly.
func (u *Upkeep) fault(i int) pbx.Fault {
	before, after := int(float64(i)*u.Faulty), int(float64(i+1)*u.Faulty)
	if before == after {
		return pbx.FaultNone
	}
	return u.Faults[before%len(u.Faults)]
}

// mayBeGone is how many of n PBXs do not come back from a restart.
func (u *Upkeep) mayBeGone(n int) (gone int) {
	for i := range n {
		if u.fault(i) == pbx.FaultReturn {
			gone++
		}
	}
	return gone
}

// stay keeps the PBXs there for a while.
func (s *simulation) stay(ctx context.Context) {
	if s.Stay <= 0 {
		return
	}
	if s.Centre.URL != "" {
		s.Progress.Say("control centre: %s, as %s, password in %s", s.Centre.URL, s.Centre.Email, s.Centre.PasswordFile)
	}
	s.Progress.Say("the PBXs stay for %s", s.Stay)
	wait(ctx, s.Stay)
}
