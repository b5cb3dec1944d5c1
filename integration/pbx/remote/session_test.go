package remote

import (
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// TestFinal holds every state against every cause.
func TestFinal(t *testing.T) {
	t.Parallel()
	const no = grant.State("")
	states := []grant.State{grant.Requested, grant.Pending, grant.Active, grant.Ended, grant.Refused, grant.Expired}
	table := map[grant.Cause][2]grant.State{ // from pending, from active
		grant.CauseUser:      {grant.Ended, grant.Ended},
		grant.CauseAdmin:     {grant.Refused, grant.Ended},
		grant.CauseTime:      {no, grant.Ended},
		grant.CauseSwitch:    {grant.Refused, grant.Ended},
		grant.CauseCCC:       {grant.Ended, grant.Ended},
		grant.CauseDissolved: {grant.Ended, grant.Ended},
		grant.CauseReset:     {grant.Ended, grant.Ended},
		grant.CauseRestart:   {grant.Ended, grant.Ended},
		grant.CauseNoConsent: {grant.Expired, no},
		grant.CauseWrongPIN:  {grant.Refused, no},
		grant.CauseUnreached: {no, no}, // of the CCC alone
		"":                   {no, no},
	}
	for why, want := range table {
		for _, from := range states {
			expect := no
			switch from {
			case grant.Pending:
				expect = want[0]
			case grant.Active:
				expect = want[1]
			}
			to, ok := final(from, why)
			if to != expect || ok != (expect != no) {
				t.Errorf("%s and %q: %q, %v, want %q", from, why, to, ok, expect)
			}
			if ok && (!from.Can(to) || !to.Final()) {
				t.Errorf("%s to %s is not a step of a session", from, to)
			}
		}
	}
}
