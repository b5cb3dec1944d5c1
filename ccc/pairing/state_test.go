package pairing

import (
	"slices"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// TestSteps is the drawing beside step as a table: from each state, with each step. Where
// a step does not start from a state, the store refuses it.
func TestSteps(t *testing.T) {
	t.Parallel()
	const (
		offered  = store.StateOffered
		received = store.StateReceived
		proving  = store.StateProving
		paired   = store.StatePaired
		left     = store.StateLeft
		expired  = store.StateExpired
		declined = store.StateDeclined
		failed   = store.StateError
		no       = store.State("")
	)
	states := []store.State{offered, received, proving, paired, left, expired, declined, failed}
	table := map[step][]store.State{
		//               offered   received  proving  paired  left     expired  declined error
		stepOffer:    {offered, offered, no, no, offered, offered, offered, offered},
		stepReceive:  {received, received, no, no, no, no, no, no},
		stepComplete: {proving, proving, no, no, no, no, no, no},
		stepProve:    {no, no, paired, no, no, no, no, no},
		stepFail:     {no, no, failed, no, no, no, no, no},
		stepDissolve: {no, no, left, left, no, no, no, no},
		stepTake:     {failed, failed, no, no, no, no, no, no},
		stepExhaust:  {failed, failed, no, no, no, no, no, no},
		stepDecline:  {declined, declined, no, no, no, no, no, no},
		stepExpire:   {expired, expired, no, no, no, no, no, no},
	}
	codes := map[step]string{stepFail: ErrorAuth, stepTake: ErrorTaken, stepExhaust: ErrorProof}
	if len(table) != len(steps) {
		t.Fatalf("%d steps in the table, %d in the program", len(table), len(steps))
	}
	s := newSite(t)
	sys, _ := s.save(s.a, serial)
	for st, want := range table {
		if len(want) != len(states) {
			t.Fatalf("%s: %d states", st, len(want))
		}
		for i, from := range states {
			s.update(func(tx *store.Tx) error { return tx.SetState(s.a.Tenant, sys.ID, states, from, "before", now()) })
			err := s.Service.update(t.Context(), func(w *work) error { return w.step(s.a.Tenant, sys.ID, st) })
			got := s.system(s.a, sys.ID)
			if want[i] == no {
				if err == nil || got.State != from {
					t.Errorf("%s, %s: %s, %v", from, st, got.State, err)
				}
				continue
			}
			if err != nil || got.State != want[i] || got.ErrorCode != codes[st] {
				t.Errorf("%s, %s: %s %q, %v, want %s", from, st, got.State, got.ErrorCode, err, want[i])
			}
		}
	}
	// What the package doc says of states and rows rests on these.
	for _, st := range states {
		in := 0
		for _, set := range [][]store.State{pending, joined, idle} {
			if slices.Contains(set, st) {
				in++
			}
		}
		if in != 1 {
			t.Errorf("%s is in %d sets", st, in)
		}
	}
}
