package remote

import (
	"time"

	ara "github.com/comtrexx-cloud/comtrexx/ara/remote"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// Session is one remote access as the PBX has it. Its times carry Go's monotonic clock
// until the next start, which ends it.
type Session struct {
	ID      grant.SessionID `json:"id"`
	Pairing wire.PairingID  `json:"pairing"`
	// Tenant is the legal name of the company, User the person who asks, Reason what he
	// has written.
	Tenant string `json:"tenant"`
	User   string `json:"user"`
	Reason string `json:"reason"`
	// Target is empty unless Service is targeted.
	Service grant.Service `json:"service"`
	Target  string        `json:"target,omitempty"`
	// Asked is how long the access is wished to last.
	Asked time.Duration `json:"asked"`

	State grant.State `json:"state"` // see [final]
	Cause grant.Cause `json:"cause,omitempty"`
	// Received is when the request came, Expires until when it waits for consent.
	Received time.Time `json:"received"`
	Expires  time.Time `json:"expires"`
	// Consent, Started and Until are there once the session was active.
	Consent wire.Consent `json:"consent,omitempty"`
	Started time.Time    `json:"started,omitzero"`
	Until   time.Time    `json:"until,omitzero"`
	Ended   time.Time    `json:"ended,omitzero"`

	// Extension is the time that the user asks for in addition, 0: none.
	// ExtensionRefused tells that the last such wish was refused.
	Extension        time.Duration `json:"extension,omitempty"`
	ExtensionRefused bool          `json:"extension_refused,omitempty"`

	// In came to the PBX, Out from it, in bytes.
	In  int64 `json:"bytes_in"`
	Out int64 `json:"bytes_out"`
}

// Left is how long an active session goes on, and how long a pending one waits.
func (s Session) Left(now time.Time) time.Duration {
	switch s.State {
	case grant.Pending:
		return max(0, s.Expires.Sub(now))
	case grant.Active:
		return max(0, s.Until.Sub(now))
	default:
		return 0
	}
}

// Ending tells that an active session is about to end.
func (s Session) Ending(now time.Time) bool {
	return s.State == grant.Active && s.Left(now) <= ara.Warning
}

// status is what the gateway is told.
func (s Session) status(now time.Time) ara.Status {
	st := ara.Status{State: s.State, Cause: s.Cause, Remaining: int64((s.Left(now) + time.Second - 1) / time.Second)}
	if s.State == grant.Active {
		switch {
		case s.Extension > 0:
			st.Extension = ara.ExtensionPending
		case s.ExtensionRefused:
			st.Extension = ara.ExtensionRefused
		}
	}
	return st
}

// report is what the CCC is told.
func (s Session) report(at time.Time) wire.RemoteReport {
	r := wire.RemoteReport{
		Session: s.ID, State: s.State, At: at.UTC(), Consent: s.Consent, Cause: s.Cause, BytesIn: s.In, BytesOut: s.Out,
	}
	if !s.Started.IsZero() {
		r.StartedAt = new(s.Started.UTC())
	}
	if s.State == grant.Active {
		r.Until = new(s.Until.UTC())
	}
	return r
}

// final gives the state that a cause brings a session to; ok is false where it does not
// touch it. Consent alone leads from pending to active.
//
//	        request            consent: allowed, PIN, standing
//	   ──────────────► pending ─────────────────────────────► active
//	                    │ │ │                                   │
//	admin, wrong PIN,   │ │ │ user, CCC, dissolved,             │ time, admin, user, CCC,
//	switch              │ │ │ reset, restart                    │ switch, dissolved,
//	          refused ◄─┘ │ └──────────────► ended ◄────────────┘ reset, restart
//	                      │ no consent
//	                      └─► expired
func final(from grant.State, why grant.Cause) (to grant.State, ok bool) {
	switch why {
	case grant.CauseNoConsent:
		to, ok = grant.Expired, from == grant.Pending
	case grant.CauseWrongPIN:
		to, ok = grant.Refused, from == grant.Pending
	case grant.CauseTime:
		to, ok = grant.Ended, from == grant.Active
	case grant.CauseAdmin, grant.CauseSwitch:
		if to = grant.Ended; from == grant.Pending {
			to = grant.Refused
		}
		ok = true
	case grant.CauseUser, grant.CauseCCC, grant.CauseDissolved, grant.CauseReset, grant.CauseRestart:
		to, ok = grant.Ended, true
	}
	if !ok || !from.Can(to) || from == grant.Requested {
		return "", false
	}
	return to, true
}
