package grant

import (
	"slices"
	"strings"
)

// SessionID names one remote access. The CCC makes it: [MaxID] letters, digits and
// dashes at most.
type SessionID string

// MaxID bounds ids, in bytes.
const MaxID = 64

// Valid reports whether the id has the right form.
func (id SessionID) Valid() bool { return validID(string(id)) }

func validID(s string) bool {
	return s != "" && len(s) <= MaxID && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-'
	})
}

// purposePrefix starts the purpose of every call of a remote access.
const purposePrefix = "remote/"

// Purpose is the purpose of all calls to the PBX for the session: "remote/<session>". It
// is where the PBX has the session from, and the only place.
func (id SessionID) Purpose() string { return purposePrefix + string(id) }

// ParsePurpose reads what [SessionID.Purpose] writes.
func ParsePurpose(purpose string) (id SessionID, ok bool) {
	text, ok := strings.CutPrefix(purpose, purposePrefix)
	if id = SessionID(text); !ok || !id.Valid() {
		return "", false
	}
	return id, true
}

// Service is what a remote access is to.
type Service string

// The services. The list is append-only.
const (
	Web Service = "web" // the PBX's own pages
	TCP Service = "tcp" // a target on the PBX's list
	SSH Service = "ssh" // a terminal, at a target on the PBX's list
	TLS Service = "tls" // the PBX's own pages, with TLS that ends in the PBX
)

// Valid reports whether the service is one of the list.
func (s Service) Valid() bool { return s == Web || s == TCP || s == SSH || s == TLS }

// Targeted reports whether the service is to a target that has to be named.
func (s Service) Targeted() bool { return s == TCP || s == SSH }

// MaxTarget bounds a target, in bytes.
const MaxTarget = 64

// ValidTarget reports whether target is the name of one on a PBX's list: 1 to
// [MaxTarget] lower-case letters, digits, dashes, dots and underscores. A name stands for
// an address that only the PBX knows.
func ValidTarget(target string) bool {
	return target != "" && len(target) <= MaxTarget && !strings.ContainsFunc(target, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && !strings.ContainsRune("-._", r)
	})
}

// State is where a remote access stands.
//
//	requested ──► pending ──► active ──► ended
//	    │            │
//	    └────────────┴──► refused | expired | ended
//
// The CCC begins with requested: the PBX does not have it yet. The PBX begins with
// pending, or with active where its administrator always consents; the CCC may miss
// pending. What has left pending never comes back, and more time for an active session
// is consented to while it stays active.
type State string

// The states. The list is append-only.
const (
	Requested State = "requested"
	Pending   State = "pending" // waits for consent
	Active    State = "active"
	Ended     State = "ended"
	Refused   State = "refused" // by the administrator, or by the PBX as it is set
	Expired   State = "expired" // nobody consented in time
)

// next are the steps of the picture above.
var next = map[State][]State{
	Requested: {Pending, Active, Ended, Refused, Expired},
	Pending:   {Active, Refused, Expired, Ended},
	Active:    {Ended},
}

// Valid reports whether the state is one of the list.
func (s State) Valid() bool { return next[s] != nil || s.Final() }

// Final reports whether nothing follows the state.
func (s State) Final() bool { return s == Ended || s == Refused || s == Expired }

// Can reports whether a session may go from s to the state to.
func (s State) Can(to State) bool { return slices.Contains(next[s], to) }

// Cause says why a session ended, was refused or expired.
type Cause string

// The causes. The list is append-only.
const (
	CauseUser      Cause = "user"        // who asked for it has ended it
	CauseAdmin     Cause = "admin"       // the PBX's administrator has, or has refused it
	CauseTime      Cause = "time"        // its time was over
	CauseSwitch    Cause = "switch"      // remote access was switched off in the PBX
	CauseCCC       Cause = "ccc"         // the CCC has ended it
	CauseDissolved Cause = "dissolved"   // the pairing is dissolved
	CauseReset     Cause = "reset"       // the PBX was reset to its factory settings
	CauseRestart   Cause = "restart"     // the PBX has started again
	CauseNoConsent Cause = "no-consent"  // nobody answered in time
	CauseWrongPIN  Cause = "wrong-pin"   // the PIN was typed wrong too often
	CauseUnreached Cause = "unreachable" // the PBX could not be reached in time
)

// Valid reports whether the cause is one of the list.
func (c Cause) Valid() bool {
	switch c {
	case CauseUser, CauseAdmin, CauseTime, CauseSwitch, CauseCCC, CauseDissolved, CauseReset, CauseRestart,
		CauseNoConsent, CauseWrongPIN, CauseUnreached:
		return true
	}
	return false
}
