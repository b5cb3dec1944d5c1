package remote

import (
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// FuzzFollow reports anything twice, and holds the record against what the store keeps
// and people are shown.
func FuzzFollow(f *testing.F) {
	f.Add("requested", "active", int64(0), int64(60), int64(3600), "time", int64(5), true)
	f.Add("ended", "active", int64(-1<<40), int64(1<<40), int64(-1<<60), "", int64(-1), true)
	f.Add("active", "refused", int64(1<<50), int64(0), int64(0), "admin", int64(1), false)
	f.Fuzz(func(t *testing.T, from, to string, at, started, left int64, cause string, bytes int64, starts bool) {
		if !grant.State(from).Valid() || !grant.State(to).Valid() || to == string(grant.Requested) || bytes < 0 {
			return // wire refuses it
		}
		was := in(grant.State(from))
		m := wire.RemoteReport{State: grant.State(to), At: time.Unix(at%1e11, 0), BytesIn: bytes}
		if starts {
			s := time.Unix(started%1e11, 0)
			until := m.At.Add(time.Duration(left))
			m.StartedAt, m.Until, m.Consent = &s, &until, wire.ConsentPIN
		}
		if m.State.Final() {
			if m.Cause = grant.Cause(cause); !m.Cause.Valid() {
				return
			}
		}
		r := follow(was, m, present)
		switch {
		case r.State.Final() != (r.Ended != nil), r.State.Final() != r.Cause.Valid(), r.Ending != "" && !r.State.Final():
			t.Fatalf("the store does not keep %+v", r)
		case was.State.Final() && !r.State.Final():
			t.Fatalf("%s has come back as %s", was.State, r.State)
		case was.State == grant.Active && r.State != grant.Active && r.State != grant.Ended:
			t.Fatalf("active has become %s", r.State)
		}
		for _, at := range []*time.Time{r.Started, r.Ended} {
			if at != nil && (at.Before(asked) || at.After(present)) {
				t.Fatalf("a time that cannot be true in %+v", r)
			}
		}
		if r.Until != nil && r.Until.After(present.Add(wire.MaxRemote)) {
			t.Fatalf("it ends at %v", r.Until)
		}
	})
}
