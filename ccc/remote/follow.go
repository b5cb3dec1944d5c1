package remote

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// taken notes the state in which a PBX has a request. One that is active already is
// counted from now until its report says more.
func taken(r store.Remote, state grant.State, now time.Time) store.Remote {
	if r.State.Final() && !r.Confirmed {
		r.Ending = r.Cause // the PBX may have heard of the end before the request
		return r
	}
	if r.Reported != nil || !r.State.Can(state) || state.Final() {
		return r // a report was faster, or says how it ends
	}
	r.State = state
	if state == grant.Active {
		until := now.Add(time.Duration(r.Seconds) * time.Second)
		r.Started, r.Until = &now, &until
	}
	return r
}

// refused notes that a PBX did not take a request, unless it has reported otherwise.
func refused(r store.Remote, why refusal, now time.Time) store.Remote {
	if r.State != grant.Requested {
		return r
	}
	r.State, r.Cause, r.Ended, r.Confirmed = why.state, why.cause, &now, !why.unsure
	if why.unsure {
		r.Ending = grant.CauseCCC
	}
	return r
}

// ended ends what is not over, and has the PBX told.
func ended(r store.Remote, cause grant.Cause, now time.Time) store.Remote {
	r.State, r.Cause, r.Ended, r.Ending = grant.Ended, cause, &now, cause
	return r
}

// follow takes a report into a record; see the package doc. The same again, or an older
// one, changes nothing.
func follow(r store.Remote, m wire.RemoteReport, now time.Time) store.Remote {
	at := m.At.UTC().Truncate(time.Millisecond)
	if r.Confirmed || r.Reported != nil && at.Before(*r.Reported) && !m.State.Final() {
		return r
	}
	switch over := r.State.Final(); {
	case over && m.State.Final(): // what was noted here was a guess
	case over: // the PBX has not heard of the end
		m.State, r.Ending = r.State, r.Cause
	case r.State == grant.Active && m.State.Final():
		m.State = grant.Ended
	case m.State != r.State && !r.State.Can(m.State):
		m.State = r.State
	}
	r.Reported = &at
	r.BytesIn, r.BytesOut = max(r.BytesIn, m.BytesIn), max(r.BytesOut, m.BytesOut)
	if m.Consent != "" {
		r.Consent = string(m.Consent)
	}
	if m.StartedAt != nil {
		r.Started = within(*m.StartedAt, r.Requested, now)
	}
	happened := within(at, r.Requested, now)
	switch {
	case m.State == grant.Active && m.Until != nil:
		left := min(max(0, m.Until.Sub(m.At)), wire.MaxRemote).Truncate(time.Millisecond)
		until := happened.Add(left)
		r.Until = &until
	case m.State.Final() && m.Cause.Valid():
		r.Cause, r.Ended, r.Confirmed, r.Ending = m.Cause, happened, true, ""
	}
	r.State = m.State
	return r
}

// within brings a PBX's time to where it can be true.
func within(t, from, to time.Time) *time.Time {
	t = t.UTC().Truncate(time.Millisecond)
	if t.After(to) {
		t = to
	}
	if t.Before(from) {
		t = from
	}
	return &t
}
