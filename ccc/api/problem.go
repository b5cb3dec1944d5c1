package api

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// Code says, in one word that never changes its meaning, what is wrong. Codes are only
// ever added; errors.md tells more about each.
type Code string

// The codes.
const (
	CodeMalformed           Code = "malformed"
	CodeUnauthenticated     Code = "unauthenticated"
	CodeBadCredentials      Code = "bad_credentials"
	CodeForbidden           Code = "forbidden"
	CodeCrossOrigin         Code = "cross_origin"
	CodeNotCreator          Code = "not_creator"
	CodeNotRequester        Code = "not_requester"
	CodeWrongPassword       Code = "wrong_password"
	CodeSecondFactorNeeded  Code = "second_factor_needed"
	CodeSecondFactorEnrol   Code = "second_factor_enrol"
	CodeProofStale          Code = "proof_stale"
	CodeWrongCode           Code = "wrong_code"
	CodePasskey             Code = "passkey_refused"
	CodeOIDC                Code = "oidc_refused"
	CodeOIDCUnknown         Code = "oidc_unknown"
	CodeOIDCUnavailable     Code = "oidc_unavailable"
	CodeProviderAccount     Code = "provider_account"
	CodeLink                Code = "link_void"
	CodeTokenScope          Code = "token_scope"
	CodeNoFactor            Code = "no_second_factor"
	CodeLastFactor          Code = "last_second_factor"
	CodeNoPasskeys          Code = "no_passkeys"
	CodeNotFound            Code = "not_found"
	CodeMethod              Code = "method_not_allowed"
	CodeTimeout             Code = "timeout"
	CodeMisdirected         Code = "misdirected"
	CodeSerialTaken         Code = "serial_taken_by_you"
	CodeState               Code = "state"
	CodeConflict            Code = "conflict"
	CodeOffline             Code = "offline"
	CodeRemoteOff           Code = "remote_off"
	CodeNoTarget            Code = "no_target"
	CodeRemoteOver          Code = "remote_over"
	CodeConfigurationOff    Code = "configuration_off"
	CodePBX                 Code = "pbx_failed"
	CodeQuotaRollouts       Code = "quota_rollouts"
	CodeOperatorOnly        Code = "operator_only"
	CodeFirmwareOff         Code = "firmware_off"
	CodeFirmwareFormat      Code = "firmware_format"
	CodeFirmwareKey         Code = "firmware_key"
	CodeFirmwareSignature   Code = "firmware_signature"
	CodeFirmwarePayload     Code = "firmware_payload"
	CodeFirmwareExists      Code = "firmware_exists"
	CodeFirmwareInUse       Code = "firmware_in_use"
	CodeLastOwner           Code = "last_owner"
	CodeNotToGive           Code = "not_to_give"
	CodeIdempotencyBusy     Code = "idempotency_in_progress"
	CodeVersion             Code = "version"
	CodeTooLarge            Code = "too_large"
	CodeMediaType           Code = "media_type"
	CodeInvalid             Code = "invalid"
	CodeIdempotencyMismatch Code = "idempotency_mismatch"
	CodeVersionRequired     Code = "version_required"
	CodeRateLimited         Code = "rate_limited"
	CodeLoginLimited        Code = "login_limited"
	CodeSentLately          Code = "sent_lately"
	CodeQuotaOffers         Code = "quota_offers"
	CodeQuotaRemote         Code = "quota_remote"
	CodeInternal            Code = "internal"
	CodeUnavailable         Code = "unavailable"
)

// codes has status and title of each code.
var codes = map[Code]struct {
	status int
	title  string
}{
	CodeMalformed:           {http.StatusBadRequest, "The request cannot be read"},
	CodeUnauthenticated:     {http.StatusUnauthorized, "Nobody is signed in"},
	CodeBadCredentials:      {http.StatusUnauthorized, "The e-mail address or the password is wrong"},
	CodeForbidden:           {http.StatusForbidden, "The role does not permit it"},
	CodeCrossOrigin:         {http.StatusForbidden, "The request came from a page of another origin"},
	CodeNotCreator:          {http.StatusForbidden, "Only whoever made the offer sees its token"},
	CodeNotRequester:        {http.StatusForbidden, "Only whoever asked for the remote access gets in"},
	CodeWrongPassword:       {http.StatusForbidden, "The current password is wrong"},
	CodeSecondFactorNeeded:  {http.StatusForbidden, "A second factor is needed"},
	CodeSecondFactorEnrol:   {http.StatusForbidden, "A second factor has to be set up first"},
	CodeProofStale:          {http.StatusForbidden, "The last proof of who you are is too old for this"},
	CodeWrongCode:           {http.StatusForbidden, "The code is wrong, or was used before"},
	CodePasskey:             {http.StatusUnauthorized, "The passkey was not accepted"},
	CodeOIDC:                {http.StatusUnauthorized, "The sign-in at the provider was not accepted"},
	CodeOIDCUnknown:         {http.StatusForbidden, "There is no account for who signed in at the provider"},
	CodeOIDCUnavailable:     {http.StatusServiceUnavailable, "The provider does not answer"},
	CodeProviderAccount:     {http.StatusConflict, "The account was made by a sign-in at the provider"},
	CodeLink:                {http.StatusGone, "The link is not good, or not any more"},
	CodeTokenScope:          {http.StatusForbidden, "The API token is not for this"},
	CodeNoFactor:            {http.StatusConflict, "There is no such second factor"},
	CodeLastFactor:          {http.StatusConflict, "It is the last second factor, and there has to be one"},
	CodeNoPasskeys:          {http.StatusConflict, "There are no passkeys under this name of the server"},
	CodeNotFound:            {http.StatusNotFound, "There is no such thing"},
	CodeMethod:              {http.StatusMethodNotAllowed, "The address does not take this method"},
	CodeTimeout:             {http.StatusRequestTimeout, "The request did not arrive in time"},
	CodeSerialTaken:         {http.StatusConflict, "The serial is among the tenant's systems already"},
	CodeState:               {http.StatusConflict, "The state of the system does not permit it"},
	CodeConflict:            {http.StatusConflict, "There is one already"},
	CodeOffline:             {http.StatusConflict, "The PBX cannot be reached"},
	CodeRemoteOff:           {http.StatusConflict, "The PBX lets nobody in"},
	CodeNoTarget:            {http.StatusConflict, "The PBX does not let this target be reached"},
	CodeRemoteOver:          {http.StatusConflict, "The remote access is over, or has not begun"},
	CodeConfigurationOff:    {http.StatusConflict, "The PBX does not let this be done"},
	CodePBX:                 {http.StatusBadGateway, "The PBX did not answer as expected"},
	CodeQuotaRollouts:       {http.StatusConflict, "Too many rollouts"},
	CodeOperatorOnly:        {http.StatusForbidden, "Only who runs the control centre does this"},
	CodeFirmwareOff:         {http.StatusConflict, "This control centre keeps no firmware"},
	CodeFirmwareFormat:      {http.StatusUnprocessableEntity, "It is no image of firmware"},
	CodeFirmwareKey:         {http.StatusUnprocessableEntity, "The image is signed by an unknown key"},
	CodeFirmwareSignature:   {http.StatusUnprocessableEntity, "The signature of the image is wrong"},
	CodeFirmwarePayload:     {http.StatusUnprocessableEntity, "The contents of the image are not those that were signed"},
	CodeFirmwareExists:      {http.StatusConflict, "There is an image of this model and version"},
	CodeFirmwareInUse:       {http.StatusConflict, "A rollout brings the image"},
	CodeLastOwner:           {http.StatusConflict, "A tenant needs an owner"},
	CodeNotToGive:           {http.StatusForbidden, "Nobody gives or takes a role that he does not have"},
	CodeIdempotencyBusy:     {http.StatusConflict, "The same request is being worked on"},
	CodeVersion:             {http.StatusPreconditionFailed, "Somebody else has changed it meanwhile"},
	CodeMisdirected:         {http.StatusMisdirectedRequest, "The server has another name"},
	CodeTooLarge:            {http.StatusRequestEntityTooLarge, "The request is too large"},
	CodeMediaType:           {http.StatusUnsupportedMediaType, "The body is not application/json"},
	CodeInvalid:             {http.StatusUnprocessableEntity, "The request is not valid"},
	CodeIdempotencyMismatch: {http.StatusUnprocessableEntity, "The idempotency key was used for another request"},
	CodeVersionRequired:     {http.StatusPreconditionRequired, "If-Match is missing"},
	CodeRateLimited:         {http.StatusTooManyRequests, "Too many requests"},
	CodeLoginLimited:        {http.StatusTooManyRequests, "Too many attempts to sign in"},
	CodeSentLately:          {http.StatusTooManyRequests, "An invitation was sent to the address a short time ago"},
	CodeQuotaOffers:         {http.StatusTooManyRequests, "Too many offers"},
	CodeQuotaRemote:         {http.StatusTooManyRequests, "Too many remote accesses"},
	CodeInternal:            {http.StatusInternalServerError, "The server failed"},
	CodeUnavailable:         {http.StatusServiceUnavailable, "The server cannot do it at the moment"},
}

// FieldCode says what is wrong with one field.
type FieldCode string

// The codes of fields.
const (
	FieldRequired  FieldCode = "required"
	FieldUnknown   FieldCode = "unknown"
	FieldType      FieldCode = "type"
	FieldTooShort  FieldCode = "too_short"
	FieldTooLong   FieldCode = "too_long"
	FieldTooMany   FieldCode = "too_many"
	FieldDuplicate FieldCode = "duplicate"
	FieldPattern   FieldCode = "pattern"
	FieldEnum      FieldCode = "enum"
	FieldRange     FieldCode = "range"
	FieldReference FieldCode = "reference"
	FieldWeak      FieldCode = "weak"
	FieldInvalid   FieldCode = "invalid"
)

// FieldError is one fault of a request. It never repeats the value.
type FieldError struct {
	Location string    `json:"location" example:"body.serial" doc:"Where: body, query, header or path, and what in it"`
	Code     FieldCode `json:"code" enum:"required,unknown,type,too_short,too_long,too_many,duplicate,pattern,enum,range,reference,weak,invalid"`
	Message  string    `json:"message" doc:"For developers, in English"`
}

// Problem is an answer that is not 2xx (RFC 9457).
type Problem struct {
	Title  string       `json:"title" doc:"Says the same as code, in English"`
	Status int          `json:"status"`
	Code   Code         `json:"code" doc:"Stable; errors.md lists all"`
	Detail string       `json:"detail,omitempty" doc:"What is particular about this one"`
	Errors []FieldError `json:"errors,omitempty" nullable:"false" doc:"Every field that is wrong"`

	retryAfter time.Duration
}

// problemType is the media type of a Problem.
const problemType = "application/problem+json"

// problem makes the answer for a code.
func problem(code Code, detail string, fields ...FieldError) *Problem {
	c := codes[code]
	return &Problem{Title: c.title, Status: c.status, Code: code, Detail: detail, Errors: fields}
}

// after tells the client when to try again.
func (p *Problem) after(d time.Duration) *Problem {
	p.retryAfter = max(d, time.Second)
	return p
}

// Error gives the title, and the detail.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Title + ": " + p.Detail
}

// GetStatus makes it a huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType makes it a huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return problemType }

// GetHeaders makes it a huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.retryAfter+time.Second-1)/time.Second)))
	}
	return h
}

// write answers with the problem, outside of huma.
func (p *Problem) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), p.GetHeaders())
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	p.encode(w)
}

// encode writes the body as huma does, so that all problems look the same.
func (p *Problem) encode(w io.Writer) {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(p) // the client is gone where that fails
}

// asProblem finds the problem in an error.
func asProblem(err error) (*Problem, bool) { return errors.AsType[*Problem](err) }
