package rollout

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// reasonDeadline: its time was over.
const reasonDeadline = "deadline"

// Action is what somebody does to a rollout.
type Action string

// The actions.
const (
	Check    Action = "check"  // read all of it again
	Start    Action = "start"  // change what was shown
	Pause    Action = "pause"  // begin nothing more
	Resume   Action = "resume" // go on, also after failures
	Stop     Action = "stop"   // for good
	Rollback Action = "rollback"
)

// step is where an action leads.
type step struct {
	from []store.RolloutState
	to   store.RolloutState
}

// steps is the state machine of people; see doc.go.
var steps = map[Action]step{
	Check:  {[]store.RolloutState{store.RolloutReady}, store.RolloutChecking},
	Start:  {[]store.RolloutState{store.RolloutReady}, store.RolloutRunning},
	Pause:  {[]store.RolloutState{store.RolloutRunning}, store.RolloutPaused},
	Resume: {[]store.RolloutState{store.RolloutPaused, store.RolloutHalted}, store.RolloutRunning},
	Stop: {[]store.RolloutState{
		store.RolloutChecking, store.RolloutReady, store.RolloutRunning, store.RolloutPaused, store.RolloutHalted,
	}, store.RolloutStopped},
	Rollback: {[]store.RolloutState{
		store.RolloutPaused, store.RolloutHalted, store.RolloutStopped, store.RolloutDone, store.RolloutReverted,
	}, store.RolloutReverting},
}

// Control does something to a rollout, for who may do the same at all of its systems: they
// are taken from the actor's rights anew before each of them. ErrNotFound where he does not
// see it; otherwise the error is an [*Error].
func (s *Service) Control(ctx context.Context, who Actor, id store.RolloutID, a Action) (r store.Rollout, err error) {
	st, known := steps[a]
	if !known {
		return r, fault("action", "is none of check, start, pause, resume, stop and rollback")
	}
	err = s.cfg.update(ctx, func(tx *store.Tx) error {
		if r, err = tx.Rollout(who.Tenant, id, who.May.Within(access.ConfigRead, who.Tenant)); err != nil {
			return err
		}
		if _, err := tx.Rollout(who.Tenant, id, who.May.Within(Verb(r.Kind), who.Tenant)); err != nil || !who.May.Anywhere(Verb(r.Kind), who.Tenant) {
			return &Error{Code: CodeNoRights}
		}
		if a == Rollback && (r.Kind == store.RolloutRestart || r.Started == nil) {
			return &Error{Code: CodeState, Detail: "there is nothing to roll back"}
		}
		// What was set back in time is; what was not can be, again.
		if !slices.Contains(st.from, r.State) || r.State == store.RolloutReverted && r.Reason != reasonDeadline {
			return &Error{Code: CodeState, Detail: "the rollout is " + string(r.State)}
		}
		if err := s.prepare(tx, &r, who, a, st); err != nil {
			return err
		}
		return tx.SetRollout(who.Tenant, r, st.from...)
	})
	if conflict, ok := errors.AsType[*store.ConflictError](err); ok && conflict.What == "state" {
		err = &Error{Code: CodeState, Detail: "somebody else was faster"}
	}
	if err != nil {
		return r, err
	}
	s.changed(who.Tenant)
	return r, nil
}

// later gives the deadline of a rollout that goes on. The time for which it stood still does
// not count; where there is none left, who lets it go on gives it all of it again.
func later(r store.Rollout, at time.Time) time.Time {
	left := r.Plan.Wait
	if r.Deadline != nil && r.Stood != nil && r.Stood.Before(*r.Deadline) {
		left = r.Deadline.Sub(*r.Stood)
	}
	return at.Add(left)
}

// prepare notes what comes with an action.
func (s *Service) prepare(tx *store.Tx, r *store.Rollout, who Actor, a Action, st step) error {
	at := now()
	was := *r
	r.State, r.Reason, r.Stood = st.to, "", nil
	if a != Pause && a != Stop {
		r.Acting = who.User
	}
	switch a {
	case Check:
		return tx.Uncheck(r.ID)
	case Start:
		deadline := at.Add(r.Plan.Wait)
		r.Started, r.Deadline = &at, &deadline
	case Resume:
		deadline := later(was, at)
		r.Deadline = &deadline
		if was.State != store.RolloutHalted {
			return nil
		}
		counts, err := tx.RingCounts(r.ID)
		n := tally(counts, r.Ring)
		if r.Forgiven = n.failed; n.noneGood() {
			r.Forgiven = n.all
		}
		return err
	case Stop:
		r.Ended = &at
	case Rollback:
		deadline := at.Add(r.Plan.Wait)
		r.Ended, r.Deadline = nil, &deadline
	case Pause:
		r.Stood = &at
	}
	return nil
}
