package rollout

import (
	"errors"
	"net/http"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/pbxweb"
)

// Code says why something was not done. They are codes of the API too.
type Code string

// The codes.
const (
	CodeState    Code = "state"             // the system is not paired, or the rollout is in another state
	CodeOffline  Code = "offline"           // the PBX cannot be reached
	CodeVersion  Code = "version"           // somebody else has changed it meanwhile
	CodeInvalid  Code = "invalid"           // Fields says what is wrong
	CodeOff      Code = "configuration_off" // the PBX does not let this be done
	CodePBX      Code = "pbx_failed"        // the PBX has answered something that it is not to answer
	CodeTooMany  Code = "quota_rollouts"    // of rollouts
	CodeNoRights Code = "forbidden"         // not at all of the systems

	CodeFirmwareOff       Code = "firmware_off"       // there is no place for images
	CodeFirmwareFormat    Code = "firmware_format"    // it is no image
	CodeFirmwareKey       Code = "firmware_key"       // of an image that nobody known has signed
	CodeFirmwareSignature Code = "firmware_signature" // of an image that was not signed so
	CodeFirmwarePayload   Code = "firmware_payload"   // of an image that has changed, or is not whole
	CodeFirmwareExists    Code = "firmware_exists"    // there is one of the model and version
	CodeFirmwareInUse     Code = "firmware_in_use"    // a rollout brings it
	CodeTooLarge          Code = "too_large"
)

// Error says why something was not done.
type Error struct {
	Code   Code
	Detail string
	Fields []Fault
}

// Fault is one field that is wrong.
type Fault struct {
	Field   string // as in the API's body, without "body."
	Message string
}

// Error gives the code.
func (e *Error) Error() string { return strings.TrimSpace(string(e.Code) + " " + e.Detail) }

func fault(field, message string) *Error {
	return &Error{Code: CodeInvalid, Fields: []Fault{{field, message}}}
}

// explain makes an [Error] of what a PBX answers, for who waits for it.
func explain(err error) error {
	e, ok := errors.AsType[*pbxweb.Error](err)
	switch {
	case errors.Is(err, pbxweb.ErrAnswer):
		return &Error{Code: CodePBX, Detail: "the answer is not what was expected"}
	case !ok:
		return &Error{Code: CodeOffline}
	case e.Status == http.StatusPreconditionFailed:
		return &Error{Code: CodeVersion}
	case e.Status == http.StatusUnprocessableEntity:
		out := &Error{Code: CodeInvalid}
		for _, f := range e.Fields {
			out.Fields = append(out.Fields, Fault{"values." + f.Name, f.Message})
		}
		return out
	case errors.Is(e, pbxweb.ErrRefused) || e.Status == http.StatusNotFound:
		return &Error{Code: CodeOff, Detail: e.Code}
	}
	return &Error{Code: CodePBX, Detail: e.Error()}
}
