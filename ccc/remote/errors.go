package remote

import (
	"errors"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// Code says in a stable word why the broker did not do what a user asked for. The list is
// append-only.
type Code string

// The codes.
const (
	CodeInvalid      Code = "invalid"       // see Error.Fields
	CodeNotFound     Code = "not_found"     // there is no such system or session, or it is another tenant's
	CodeNotPaired    Code = "state"         // the system is not paired, or the PBX says that it is not
	CodeOffline      Code = "offline"       // the PBX is not connected, or was not reached
	CodeOff          Code = "remote_off"    // the PBX lets nobody in
	CodeNoTarget     Code = "no_target"     // the PBX does not let the service or the target be reached
	CodeQuota        Code = "quota_remote"  // too many; see Error.RetryAfter
	CodeNotRequester Code = "not_requester" // a grant is for who has asked, and for nobody else
	CodeOver         Code = "remote_over"   // the session is over
	CodeUnavailable  Code = "unavailable"   // there is no gateway
	CodeForbidden    Code = "forbidden"     // the user has lost the right

	CodeSecondFactor Code = "second_factor_needed" // he has not proven himself with one
)

// Error is what the methods for users fail with, besides errors of the store.
type Error struct {
	Code Code
	// Fields lists every field that is wrong, with [CodeInvalid].
	Fields []FieldError
	// RetryAfter, with [CodeQuota], is when it makes sense to try again.
	RetryAfter time.Duration
}

// FieldError is one field that is wrong.
type FieldError struct {
	Field   string // as in the API: reason, minutes, service, target, label, browser
	Message string
}

// Error gives the code and the fields.
func (e *Error) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Field + " " + f.Message
	}
	return strings.TrimSpace("remote access: " + string(e.Code) + " " + strings.Join(parts, "; "))
}

// CodeOf gives the code of the [Error] in err, empty where there is none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// explain makes an [Error] of the store's errors that a user can cause.
func explain(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return &Error{Code: CodeNotFound}
	}
	return err
}

// refusal is what becomes of a request that a PBX did not take.
type refusal struct {
	code  Code
	state grant.State
	cause grant.Cause
	// unsure: the PBX may have it.
	unsure bool
}

// refusalOf tells what the error of the call means.
func refusalOf(err error) refusal {
	switch wire.CodeOf(err) {
	case "":
		return refusal{CodeOffline, grant.Expired, grant.CauseUnreached, true}
	case wire.CodeRemoteOff:
		return refusal{CodeOff, grant.Refused, grant.CauseSwitch, false}
	case wire.CodeNoTarget:
		return refusal{CodeNoTarget, grant.Refused, grant.CauseAdmin, false}
	case wire.CodeNotPaired:
		return refusal{CodeNotPaired, grant.Refused, grant.CauseDissolved, false}
	case wire.CodeTooMany:
		return refusal{CodeQuota, grant.Refused, grant.CauseAdmin, false}
	default: // it failed, or does not know what this is
		return refusal{CodeOffline, grant.Expired, grant.CauseUnreached, true}
	}
}
