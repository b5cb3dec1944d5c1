package pairing

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Code says in a stable word why the service did not do what a user asked for. The list
// is append-only.
type Code string

// The codes.
const (
	CodeInvalid     Code = "invalid"             // see Error.Fields
	CodeNotFound    Code = "not_found"           // there is no such system or offer, or it is another tenant's
	CodeNotCreator  Code = "not_creator"         // only who made the offer sees its token
	CodeSerialTaken Code = "serial_taken_by_you" // the tenant has a system with the serial
	CodeState       Code = "state"               // not in the system's present state
	CodeVersion     Code = "version"             // the system was changed in the meantime
	CodeQuotaOffers Code = "quota_offers"        // too many offers; see Error.RetryAfter
)

// Error is what the methods for users fail with, besides errors of the store.
type Error struct {
	Code Code
	// Message says in English what to do; it repeats nothing that was typed.
	Message string
	// Fields lists every field that is wrong, with [CodeInvalid].
	Fields []FieldError
	// RetryAfter, with [CodeQuotaOffers], is when it makes sense to try again.
	RetryAfter time.Duration
}

// FieldCode says in a stable word what is wrong with a field.
type FieldCode string

// The codes of fields.
const (
	FieldRequired  FieldCode = "required"
	FieldPattern   FieldCode = "pattern"
	FieldReference FieldCode = "reference" // it names something that the tenant does not have
)

// FieldError is one field that is wrong.
type FieldError struct {
	Field   string // as in the API: serial, name, groups, site, replaces
	Code    FieldCode
	Message string
}

// Error gives code and message.
func (e *Error) Error() string {
	if len(e.Fields) == 0 {
		return string(e.Code) + ": " + e.Message
	}
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Field + " " + f.Message
	}
	return string(e.Code) + ": " + strings.Join(parts, "; ")
}

// CodeOf gives the code of the [Error] in err, empty where there is none.
func CodeOf(err error) Code {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// explain makes an [Error] of the store's errors that a user can cause.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		return &Error{Code: CodeNotFound, Message: "there is no such thing"}
	case errors.Is(err, store.ErrVersion):
		return &Error{Code: CodeVersion, Message: "the system was changed in the meantime; load it again"}
	default:
		return err
	}
}

// errState: the system's state does not permit it.
func errState(s store.State, problem string) *Error {
	return &Error{Code: CodeState, Message: fmt.Sprintf("the system is %s: %s", s, problem)}
}
