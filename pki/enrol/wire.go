package enrol

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
)

// Paths of the PKI's public API. Bodies are JSON; every answer that is not a
// success is a problem document (RFC 9457).
const (
	// EnrolPath takes a [Request] with a token and gives an [Issued]: 201.
	EnrolPath = "/v1/enrol"
	// RenewPath takes a [Request] without a token over mutual TLS: 201.
	RenewPath = "/v1/renew"
	// ConfirmPath tells over mutual TLS that the new certificate has been
	// saved; no body, 204. The older generation cannot renew any more.
	ConfirmPath = "/v1/confirm"
	// RootsPath gives the trusted roots as PEM text.
	RootsPath = "/v1/roots.pem"
)

// ServiceName is the service identity of the PKI itself.
const ServiceName = "pki"

// MaxBody bounds every body of the API, in bytes.
const MaxBody = 64 << 10

// Request asks for a certificate.
type Request struct {
	// Token is the one-time enrolment token; empty for a renewal.
	Token string `json:"token,omitempty"`
	// CSR is the certificate request (PKCS #10) as PEM text. Its names are
	// empty, or exactly those of the identity.
	CSR string `json:"csr"`
}

// Issued is the answer to a [Request].
type Issued struct {
	// Chain is the leaf and its intermediate as PEM text.
	Chain string `json:"chain"`
	// Roots is the present trust bundle as PEM text.
	Roots string `json:"roots"`
	// Bundle is the same with version and cross certificates. Without it, an
	// endpoint goes on with those of its roots that are among Roots.
	Bundle *Bundle `json:"bundle,omitempty"`
}

// The reasons that the PKI refuses for. Compare with errors.Is; the numbers of
// the HTTP statuses are in the comments.
var (
	ErrBadRequest = errors.New("the request is malformed")                                  // 400
	ErrToken      = errors.New("the token is unknown, used or expired")                     // 401
	ErrForbidden  = errors.New("the request claims what is not its own")                    // 403
	ErrBlocked    = errors.New("the identity is blocked")                                   // 403
	ErrSuperseded = errors.New("a newer certificate is in use")                             // 409
	ErrRateLimit  = errors.New("too many requests")                                         // 429
	ErrUnknown    = errors.New("the serial is not on the list of devices")                  // 403
	ErrSecret     = errors.New("the serial or its secret is wrong, or the secret was used") // 401
	ErrConflict   = errors.New("the serial belongs to another box")                         // 409
	ErrExpired    = errors.New("the certificate has expired")                               // 403
	ErrUnsafe     = errors.New("the change would cut endpoints off")                        // 409, administrators only
	ErrServer     = errors.New("the PKI cannot serve the request now")                      // 5xx
)

// problemTypes maps the last part of a problem's type to its sentinel. The list
// is append-only.
var problemTypes = []struct {
	name   string
	status int
	err    error
}{
	{"bad-request", http.StatusBadRequest, ErrBadRequest},
	{"token", http.StatusUnauthorized, ErrToken},
	{"forbidden", http.StatusForbidden, ErrForbidden},
	{"blocked", http.StatusForbidden, ErrBlocked},
	{"superseded", http.StatusConflict, ErrSuperseded},
	{"rate-limit", http.StatusTooManyRequests, ErrRateLimit},
	{"unknown", http.StatusForbidden, ErrUnknown},
	{"secret", http.StatusUnauthorized, ErrSecret},
	{"conflict", http.StatusConflict, ErrConflict},
	{"expired", http.StatusForbidden, ErrExpired},
	{"server", http.StatusInternalServerError, ErrServer},
	{"unsafe", http.StatusConflict, ErrUnsafe},
}

// problemPrefix starts the type of every problem; it is a name, not an address.
const problemPrefix = "urn:comtrexx:pki:"

// ProblemMediaType is the media type of a problem document.
const ProblemMediaType = "application/problem+json"

// Problem is an answer that refuses (RFC 9457 §3). It is an error that wraps
// the sentinel of its type.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// NewProblem gives the document for an error: its type and status come from the
// sentinel that err wraps, the detail from its text. An error that wraps none
// becomes ErrServer without a detail, so that internals stay inside.
func NewProblem(err error) *Problem {
	for _, t := range problemTypes {
		if errors.Is(err, t.err) {
			return &Problem{Type: problemPrefix + t.name, Title: t.err.Error(), Status: t.status, Detail: err.Error()}
		}
	}
	return &Problem{Type: problemPrefix + "server", Title: ErrServer.Error(), Status: http.StatusInternalServerError}
}

// Error is the detail, or the title where there is none.
func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

// Unwrap gives the sentinel, by type and else by status.
func (p *Problem) Unwrap() error {
	for _, t := range problemTypes {
		if p.Type == problemPrefix+t.name {
			return t.err
		}
	}
	for _, t := range problemTypes {
		if p.Status == t.status {
			return t.err
		}
	}
	if p.Status >= http.StatusInternalServerError {
		return ErrServer
	}
	return ErrBadRequest
}

// ReadProblem turns an answer that is not a success into its error. It reads at
// most [MaxBody] bytes of the body and does not close it.
func ReadProblem(resp *http.Response) error {
	p := &Problem{Title: "the PKI answered " + resp.Status, Status: resp.StatusCode}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != ProblemMediaType {
		return p // a proxy in between, which knows nothing of problem documents
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody))
	if err != nil {
		return fmt.Errorf("read a %s answer: %w", resp.Status, err)
	}
	if err := json.Unmarshal(body, p); err != nil {
		return fmt.Errorf("%w: read a %s answer: %w", ErrServer, resp.Status, err)
	}
	p.Status = resp.StatusCode
	return p
}
