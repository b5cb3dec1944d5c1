// Package remote is what the gateway (ARA) and a PBX say to one another about one remote
// access. Both sides use it.
//
// The PBX is an HTTP/1.1 server inside calls of the Auerproxy to its service "remote",
// which it takes from service/ara only. Which session is meant is known from the purpose
// of the call (grant.ParsePurpose) and from nothing in a message.
//
//	GET  /v1/session  200 a [Status] a line, at once, after every change, and at least
//	                  each [Heartbeat]; ends after one that is final
//	POST /v1/pin      PINBody     204
//	POST /v1/end      {}          204
//	POST /v1/extend   ExtendBody  204: asks the administrator for more time
//	GET  /v1/targets  200 [Targets]
//	POST /v1/recording  an age file, as it is made; 204 at its end. With a [Recorder] only
//
// Bodies are JSON of at most [MaxBody] bytes, the stream is one JSON value to a line
// (application/x-ndjson). Unknown fields are ignored, so that versions mix. Whatever is
// not a success is a problem document (RFC 9457) with a member "code", which is one of the
// errors of this package on the other side.
//
// [Client] is the gateway's side, [Handler] the PBX's.
package remote

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// ServiceName is the name of the Auerproxy service.
const ServiceName = "remote"

// PurposeChallenge is the purpose of a call to the service "tls" that no session is for: a
// certificate authority asks the PBX to prove its name (tls-alpn-01, RFC 8737).
const PurposeChallenge = "acme-tls/1"

// The paths; see the package doc.
const (
	PathSession = "/v1/session"
	PathPIN     = "/v1/pin"
	PathEnd     = "/v1/end"
	PathExtend  = "/v1/extend"
	PathTargets = "/v1/targets"
)

const (
	// Heartbeat is how often a [Status] comes though nothing has changed. A stream that
	// is silent for three of these is dead.
	Heartbeat = 15 * time.Second
	// Warning is how long before its end a session is warned of it.
	Warning = 5 * time.Minute
	// PINLen is the length of a PIN, in digits.
	PINLen = 8
	// MaxMinutes bounds the time that can be asked for.
	MaxMinutes = 24 * 60
	// MaxBody bounds a body, and a line of the stream, in bytes.
	MaxBody = 16 << 10
	// MaxTargets is how many targets a PBX names.
	MaxTargets = 64
	maxKeys    = 8
)

// What a PBX refuses with. Compare with errors.Is.
var (
	// ErrUnknown: the PBX does not have the session. It never comes back.
	ErrUnknown = errors.New("the PBX does not have the session")
	// ErrPIN: the PIN is wrong, used or too old, or there is none.
	ErrPIN = errors.New("the PIN is not right")
	// ErrTries: a PIN was wrong too often; the request is refused.
	ErrTries = errors.New("the PIN was wrong too often")
	// ErrState: the session is not in a state in which this can be done.
	ErrState = errors.New("not possible in the state of the session")
	// ErrMalformed: the message is not what the path takes.
	ErrMalformed = errors.New("malformed message")
)

// problems gives the code and the status of each error.
var problems = []struct {
	err    error
	code   string
	status int
}{
	{ErrUnknown, "unknown_session", http.StatusNotFound},
	{ErrPIN, "wrong_pin", http.StatusForbidden},
	{ErrTries, "too_many_tries", http.StatusForbidden},
	{ErrState, "wrong_state", http.StatusConflict},
	{ErrMalformed, "bad_request", http.StatusBadRequest},
	{ErrRecording, "no_recording", http.StatusConflict},
}

// Extension says what became of a wish for more time.
type Extension string

// The extensions. Empty: nobody has asked since the last one was consented to.
const (
	ExtensionPending Extension = "pending"
	ExtensionRefused Extension = "refused"
)

// Status is how a session stands.
type Status struct {
	// State is pending, active, or a final one.
	State grant.State `json:"state"`
	// Remaining is how long an active session goes on, and how long a pending one waits
	// for consent, in whole seconds.
	Remaining int64 `json:"remaining_seconds"`
	// Cause says why a final state came to be.
	Cause grant.Cause `json:"cause,omitempty"`
	// Extension of an active session.
	Extension Extension `json:"extension,omitempty"`
}

func (s Status) check() error {
	switch {
	case !s.State.Valid() || s.State == grant.Requested:
		return fmt.Errorf("%w: state: is not one of the list", ErrMalformed)
	case s.Remaining < 0 || s.Remaining > MaxMinutes*60:
		return fmt.Errorf("%w: remaining_seconds: is not from 0 to %d", ErrMalformed, MaxMinutes*60)
	case s.Cause != "" && !s.Cause.Valid():
		return fmt.Errorf("%w: cause: is not one of the list", ErrMalformed)
	case s.Extension != "" && s.Extension != ExtensionPending && s.Extension != ExtensionRefused:
		return fmt.Errorf("%w: extension: is not one of the list", ErrMalformed)
	}
	return nil
}

// PINBody carries a PIN that the PBX's administrator has told the user.
type PINBody struct {
	PIN string `json:"pin"`
}

func (b PINBody) check() error {
	if !ValidPIN(b.PIN) {
		return fmt.Errorf("%w: pin: is not %d digits", ErrMalformed, PINLen)
	}
	return nil
}

// ValidPIN reports whether a text has the form of a PIN.
func ValidPIN(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) == PINLen
}

// ExtendBody asks for more time: so many minutes from the consent on.
type ExtendBody struct {
	Minutes int `json:"minutes"`
}

func (b ExtendBody) check() error {
	if b.Minutes < 1 || b.Minutes > MaxMinutes {
		return fmt.Errorf("%w: minutes: is not from 1 to %d", ErrMalformed, MaxMinutes)
	}
	return nil
}

// empty is a body without fields.
type empty struct{}

func (empty) check() error { return nil }

// Targets are what the PBX lets be reached in the session.
type Targets struct {
	Targets []Target `json:"targets"`
	// Recording is the age recipient to which terminals have to be recorded; empty: they
	// are not.
	Recording string `json:"recording,omitempty"`
}

// Target is one thing on the PBX's list.
type Target struct {
	// Name as in grant.ValidTarget. The address that it stands for stays in the PBX.
	Name    string        `json:"name"`
	Service grant.Service `json:"service"` // tcp or ssh
	// HostKeys are the keys by which an SSH server is known, as in a line of
	// authorized_keys. Empty: not known, the user has to compare.
	HostKeys []string `json:"host_keys,omitempty"`
}

func (t Targets) check() error {
	if len(t.Targets) > MaxTargets {
		return fmt.Errorf("%w: targets: are %d, at most %d are allowed", ErrMalformed, len(t.Targets), MaxTargets)
	}
	for _, one := range t.Targets {
		if !grant.ValidTarget(one.Name) || !one.Service.Targeted() || len(one.HostKeys) > maxKeys {
			return fmt.Errorf("%w: targets: one has no right name, service or keys", ErrMalformed)
		}
	}
	return checkRecipient(t.Recording)
}
