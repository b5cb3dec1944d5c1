package wire

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
)

// Code says in a stable word why a request was refused. Sides get codes that are
// newer than they; they go by the status then.
type Code string

// The codes, with the HTTP status that they come with. The list is append-only.
const (
	// CodeBadRequest: the body is not what the way takes. Sending it again does not
	// help. 400
	CodeBadRequest Code = "bad_request"
	// CodeInternal: the side cannot do it now. 500
	CodeInternal Code = "internal"

	// CodeNotForUs: the offer or tombstone names another serial. 403
	CodeNotForUs Code = "not_for_us"
	// CodeBadSignature: the statement is not signed by whom it has to be. 403
	CodeBadSignature Code = "bad_signature"
	// CodeExpired: the time of the offer, or of the remote access asked for, is over. 410
	CodeExpired Code = "expired"
	// CodeAlreadyPaired: the PBX has a pairing. 409
	CodeAlreadyPaired Code = "already_paired"
	// CodeOffersDisabled: the PBX's administrator takes no offers. 403
	CodeOffersDisabled Code = "offers_disabled"
	// CodeTooManyOffers: the PBX has as many offers as it keeps. 429
	CodeTooManyOffers Code = "too_many_offers"
	// CodeUnknownOffer: the PBX does not have the offer. 404
	CodeUnknownOffer Code = "unknown_offer"

	// CodeOfferVoid: the offer is used, expired, withdrawn or was never made. 410
	CodeOfferVoid Code = "offer_void"
	// CodeRefused: the offer is for another serial or the proof is wrong; which of
	// these is not told. 403
	CodeRefused Code = "refused"
	// CodeTooMany: come back later. 429
	CodeTooMany Code = "too_many"

	// CodeRemoteOff: the PBX's administrator has switched remote access off. 403
	CodeRemoteOff Code = "remote_off"
	// CodeNotPaired: the PBX does not have the pairing that the request names. 409
	CodeNotPaired Code = "not_paired"
	// CodeNoTarget: the PBX's administrator does not let the service or the target be
	// reached. 403
	CodeNoTarget Code = "no_target"
	// CodeUnknownSession: the CCC does not have the session for this PBX. 404
	CodeUnknownSession Code = "unknown_session"
)

// codes gives status and title of every code.
var codes = map[Code]struct {
	status int
	title  string
}{
	CodeBadRequest:     {http.StatusBadRequest, "The request is malformed."},
	CodeInternal:       {http.StatusInternalServerError, "The request cannot be served now."},
	CodeNotForUs:       {http.StatusForbidden, "The statement is about another PBX."},
	CodeBadSignature:   {http.StatusForbidden, "The signature is not the right one."},
	CodeExpired:        {http.StatusGone, "The time of the statement is over."},
	CodeAlreadyPaired:  {http.StatusConflict, "The PBX is paired already."},
	CodeOffersDisabled: {http.StatusForbidden, "The PBX takes no offers."},
	CodeTooManyOffers:  {http.StatusTooManyRequests, "The PBX keeps no more offers."},
	CodeUnknownOffer:   {http.StatusNotFound, "The PBX does not have this offer."},
	CodeOfferVoid:      {http.StatusGone, "The offer is void."},
	CodeRefused:        {http.StatusForbidden, "The completion is refused."},
	CodeTooMany:        {http.StatusTooManyRequests, "Too many requests."},
	CodeRemoteOff:      {http.StatusForbidden, "The PBX lets nobody in."},
	CodeNotPaired:      {http.StatusConflict, "The PBX does not have this pairing."},
	CodeNoTarget:       {http.StatusForbidden, "The PBX does not let this target be reached."},
	CodeUnknownSession: {http.StatusNotFound, "There is no such session."},
}

// problemPrefix starts the type of every problem; it is a name, not an address.
const problemPrefix = "urn:comtrexx:pairing:"

// ProblemMediaType is the media type of a [Problem].
const ProblemMediaType = "application/problem+json"

// Problem is an answer that refuses (RFC 9457 §3), and the error that it becomes on
// the other side. Compare by [CodeOf].
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   Code   `json:"code"`
	// Detail says which field is wrong and what was expected. It never holds a secret.
	Detail string `json:"detail,omitempty"`
}

// NewProblem makes the document for a code. An unknown one becomes [CodeInternal].
func NewProblem(code Code, detail string) *Problem {
	c, ok := codes[code]
	if !ok {
		code, c = CodeInternal, codes[CodeInternal]
	}
	return &Problem{Type: problemPrefix + string(code), Title: c.title, Status: c.status, Code: code, Detail: detail}
}

// Error is the code and the detail, or the title where there is none.
func (p *Problem) Error() string {
	if p.Detail != "" {
		return string(p.Code) + ": " + p.Detail
	}
	return string(p.Code) + ": " + p.Title
}

// CodeOf gives the code of the [Problem] in err, empty where there is none.
func CodeOf(err error) Code {
	if p := (*Problem)(nil); errors.As(err, &p) {
		return p.Code
	}
	return ""
}

// Temporary reports whether it makes sense to send the same again later: the other
// side was not reached, or said so.
func Temporary(err error) bool {
	if err == nil {
		return false
	}
	p := (*Problem)(nil)
	if !errors.As(err, &p) {
		return true
	}
	return p.Status >= 500 || p.Status == http.StatusTooManyRequests
}

// WriteProblem answers with the [Problem] in err; an error without one becomes
// [CodeInternal] and keeps its text to itself.
func WriteProblem(w http.ResponseWriter, err error) {
	p := (*Problem)(nil)
	if !errors.As(err, &p) {
		p = NewProblem(CodeInternal, "")
	}
	writeJSON(w, p.Status, ProblemMediaType, p)
}

// maxText bounds a text of a problem that comes from the other side, in bytes.
const maxText = 512

// readProblem makes an error of an answer that is not a success. What is no problem
// document becomes one by its status.
func readProblem(resp *http.Response, body io.Reader) *Problem {
	var p Problem
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media != ProblemMediaType || json.NewDecoder(body).Decode(&p) != nil || p.Code == "" {
		p = Problem{Type: "about:blank", Title: http.StatusText(resp.StatusCode), Code: CodeInternal}
		if resp.StatusCode < http.StatusInternalServerError {
			p.Code = CodeBadRequest
		}
	}
	p.Status = resp.StatusCode
	p.Code, p.Title, p.Detail = Code(clip(string(p.Code))), clip(p.Title), clip(p.Detail)
	return &p
}

// clip shortens a text of the other side and takes control characters out of it, so
// that it may be logged.
func clip(s string) string {
	b := make([]rune, 0, min(len(s), maxText))
	for _, r := range s {
		if len(b) == maxText {
			break
		}
		if r < ' ' || r == 0x7f {
			r = ' '
		}
		b = append(b, r)
	}
	return string(b)
}
