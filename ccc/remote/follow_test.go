package remote

import (
	"reflect"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

var (
	asked   = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	present = asked.Add(10 * time.Minute)
)

// in gives a record in a state, as it is noted here, without a word of the PBX.
func in(state grant.State) store.Remote {
	r := store.Remote{ID: "s-1", State: state, Seconds: 3600, Requested: asked, Expires: asked.Add(15 * time.Minute)}
	if state == grant.Active {
		r.Started, r.Until = &asked, &present
	}
	if state.Final() {
		r.Cause, r.Ended, r.Ending = grant.CauseUser, &present, grant.CauseUser
	}
	return r
}

// TestStates is the drawing of the package doc as a table: from each state, with each
// report.
func TestStates(t *testing.T) {
	t.Parallel()
	const (
		requested, pending, active    = grant.Requested, grant.Pending, grant.Active
		final, refusedState, expState = grant.Ended, grant.Refused, grant.Expired
	)
	reports := []grant.State{pending, active, final, refusedState, expState}
	for from, want := range map[grant.State][]grant.State{
		//         pending  active   ended  refused       expired
		requested:    {pending, active, final, refusedState, expState},
		pending:      {pending, active, final, refusedState, expState},
		active:       {active, active, final, final, final},
		final:        {final, final, final, refusedState, expState},
		refusedState: {refusedState, refusedState, final, refusedState, expState},
		expState:     {expState, expState, final, refusedState, expState},
	} {
		for i, state := range reports {
			m := wire.RemoteReport{Session: "s-1", State: state, At: present}
			if state == active {
				until := present.Add(time.Hour)
				m.StartedAt, m.Until, m.Consent = &asked, &until, wire.ConsentPIN
			}
			if state.Final() {
				m.Cause = grant.CauseSwitch
			}
			r := follow(in(from), m, present)
			if r.State != want[i] {
				t.Errorf("%s, reported %s: %s, want %s", from, state, r.State, want[i])
			}
			if r.Confirmed != state.Final() || r.State.Final() != (r.Ended != nil) || state.Final() && (r.Cause != grant.CauseSwitch || r.Ending != "") {
				t.Errorf("%s, reported %s: %+v", from, state, r)
			}
			// What is over here and not there is to be ended there.
			if from.Final() && !state.Final() && (r.Ending != grant.CauseUser || r.Cause != grant.CauseUser) {
				t.Errorf("%s, reported %s: the PBX is not told: %+v", from, state, r)
			}
			if again := follow(r, m, present.Add(time.Hour)); !reflect.DeepEqual(again, r) {
				t.Errorf("%s, reported %s twice:\n%+v\n%+v", from, state, r, again)
			}
		}
	}
}

// TestConfirmedStays: once the PBX has said how it ended, no report changes the record.
func TestConfirmedStays(t *testing.T) {
	t.Parallel()
	end := wire.RemoteReport{State: grant.Ended, At: present, Cause: grant.CauseTime, BytesIn: 5, StartedAt: &asked, Consent: wire.ConsentRequest}
	r := follow(in(grant.Active), end, present)
	if !r.Confirmed || r.BytesIn != 5 || !r.Ended.Equal(present) {
		t.Fatalf("control: %+v", r)
	}
	later := present.Add(time.Hour)
	for _, m := range []wire.RemoteReport{
		{State: grant.Active, At: later, StartedAt: &later, Until: &later, BytesIn: 9},
		{State: grant.Ended, At: later, Cause: grant.CauseAdmin, BytesIn: 9},
		{State: grant.Refused, At: asked, Cause: grant.CauseAdmin},
	} {
		if got := follow(r, m, later); !reflect.DeepEqual(got, r) {
			t.Errorf("%s changes it: %+v", m.State, got)
		}
	}
}

// TestMoreTime: the time of an active session is what the PBX last said; a report of
// before does not bring back what was then.
func TestMoreTime(t *testing.T) {
	t.Parallel()
	report := func(at time.Time, left time.Duration, bytes int64) wire.RemoteReport {
		until := at.Add(left)
		return wire.RemoteReport{State: grant.Active, At: at, StartedAt: &asked, Until: &until, Consent: wire.ConsentRequest, BytesIn: bytes}
	}
	first, second := report(asked, time.Minute, 1), report(asked.Add(30*time.Second), time.Hour, 7)
	r := follow(follow(in(grant.Requested), first, present), second, present)
	if !r.Until.Equal(asked.Add(30*time.Second+time.Hour)) || r.BytesIn != 7 || !r.Started.Equal(asked) {
		t.Fatalf("%+v", r)
	}
	if again := follow(r, first, present); !reflect.DeepEqual(again, r) {
		t.Errorf("the first one, replayed: %+v", again)
	}
}

// TestTimes: times that a PBX cannot have seen are brought to where they can be true.
func TestTimes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		at   time.Time
		want time.Time
	}{
		"true":     {asked.Add(time.Minute), asked.Add(time.Minute)},
		"long ago": {time.Unix(5, 0), asked},
		"ahead":    {present.Add(1000 * time.Hour), present},
	} {
		until := tt.at.Add(2 * time.Hour)
		r := follow(in(grant.Pending), wire.RemoteReport{State: grant.Active, At: tt.at, StartedAt: &tt.at, Until: &until, Consent: wire.ConsentPIN}, present)
		if !r.Started.Equal(tt.want) || !r.Until.Equal(tt.want.Add(2*time.Hour)) {
			t.Errorf("%s: from %v to %v", name, r.Started, r.Until)
		}
	}
	for left, want := range map[time.Duration]time.Duration{-time.Hour: 0, time.Minute: time.Minute, 1 << 60: wire.MaxRemote} {
		until := present.Add(left)
		r := follow(in(grant.Pending), wire.RemoteReport{State: grant.Active, At: present, StartedAt: &present, Until: &until}, present)
		if got := r.Until.Sub(present); got != want {
			t.Errorf("%v left: %v, want %v", left, got, want)
		}
	}
}

// TestTaken: what the PBX answers does not overtake what it has reported meanwhile.
func TestTaken(t *testing.T) {
	t.Parallel()
	if r := taken(in(grant.Requested), grant.Pending, present); r.State != grant.Pending || r.Started != nil {
		t.Errorf("pending: %+v", r)
	}
	if r := taken(in(grant.Requested), grant.Active, present); r.State != grant.Active || !r.Until.Equal(present.Add(time.Hour)) {
		t.Errorf("active: %+v", r)
	}
	if r := taken(in(grant.Requested), grant.Refused, present); r.State != grant.Requested {
		t.Errorf("a final state comes with a report: %+v", r)
	}
	reported := in(grant.Active)
	reported.Reported = &asked
	if r := taken(reported, grant.Pending, present); !reflect.DeepEqual(r, reported) {
		t.Errorf("the report was faster: %+v", r)
	}
	gone := in(grant.Ended)
	gone.Ending = "" // the PBX had nothing to end then
	if r := taken(gone, grant.Pending, present); r.State != grant.Ended || r.Ending != grant.CauseUser {
		t.Errorf("ended meanwhile: %+v", r)
	}
	why := refusal{CodeOff, grant.Refused, grant.CauseSwitch, false}
	if r := refused(reported, why, present); !reflect.DeepEqual(r, reported) {
		t.Errorf("refused, and the report says otherwise: %+v", r)
	}
	if r := refused(in(grant.Requested), why, present); r.State != grant.Refused || r.Cause != grant.CauseSwitch || !r.Confirmed {
		t.Errorf("refused: %+v", r)
	}
}

// TestOverdue: what no report ends is ended here, a while after it had to be over.
func TestOverdue(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		state grant.State
		may   bool
		now   time.Time
		want  grant.State
		cause grant.Cause
	}{
		{"requested", grant.Requested, true, asked.Add(17 * time.Minute), grant.Requested, ""},
		{"requested, long ago", grant.Requested, true, asked.Add(17*time.Minute + 1), grant.Expired, grant.CauseUnreached},
		{"pending", grant.Pending, true, asked.Add(17 * time.Minute), grant.Pending, ""},
		{"pending, long ago", grant.Pending, true, asked.Add(17*time.Minute + 1), grant.Expired, grant.CauseNoConsent},
		{"active", grant.Active, true, present.Add(grace), grant.Active, ""},
		{"active, long over", grant.Active, true, present.Add(grace + 1), grant.Ended, grant.CauseTime},
		{"active, the right is lost", grant.Active, false, asked, grant.Ended, grant.CauseCCC},
		{"pending, the right is lost", grant.Pending, false, asked, grant.Ended, grant.CauseCCC},
		{"over, the right is lost", grant.Refused, false, present.Add(time.Hour), grant.Refused, grant.CauseUser},
	} {
		r, over := overdue(in(tt.state), tt.may, tt.now)
		if r.State != tt.want || r.Cause != tt.cause || over != (tt.want != tt.state) || over && (r.Ending == "" || !r.Ended.Equal(tt.now)) {
			t.Errorf("%s: %+v", tt.name, r)
		}
	}
}
