// Package pbxweb signs in at a PBX's own interface, as the user that the PBX has made for
// a pairing, and sends requests there. The connections lead through the tunnel to exactly
// that PBX.
//
//	s, err := pbxweb.SignIn(ctx, client, user, password)
//	answer, err := s.Do(ctx, pbxweb.Request{Method: "GET", Path: "system", Out: &facts})
//
// A PBX is another party: nothing that it answers is trusted. Answers of more than
// [MaxAnswer] bytes are errors, and redirects are not followed.
package pbxweb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
)

const (
	// Service is what the interface is called in a call to a PBX.
	Service = "web"
	// Cookie is the name of the one that has the PBX's session.
	Cookie = "ctx_sessionid"
	// MaxAnswer bounds answers, in bytes.
	MaxAnswer = 64 << 10

	base       = "http://" + Service + "/api/v1/"
	maxDetail  = 200 // bytes of a text that the PBX gives
	maxFields  = 100
	maxVersion = 64
)

// ErrRefused: the PBX does not let its own user in, or not do this. Every [Error] with
// status 401 or 403 is one.
var ErrRefused = errors.New("refused")

// ErrAnswer: the PBX has answered something that it is not to answer.
var ErrAnswer = errors.New("the answer is not what was expected")

// Error is what a PBX answers in place of a success (RFC 9457).
type Error struct {
	Status int
	Code   string // "" where the PBX gives none that can be one
	Fields []Field
}

// Field is one that the PBX finds fault with.
type Field struct {
	Name    string // of the setting; without "body."
	Message string // printable, at most 200 bytes
}

// Error tells status and code.
func (e *Error) Error() string {
	return strings.TrimSpace(fmt.Sprintf("the PBX answers with status %d %s", e.Status, e.Code))
}

// Is makes it an [ErrRefused] where that is what it says.
func (e *Error) Is(target error) bool {
	return target == ErrRefused && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden)
}

// Session is a login at a PBX. Several goroutines may use it.
type Session struct {
	http   *http.Client
	cookie string
}

// SignIn makes a session. The error is an [ErrRefused] where user and password are not
// good.
func SignIn(ctx context.Context, client *http.Client, user, password string) (*Session, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"login", http.NoBody)
	if err != nil {
		return nil, err
	}
	r.SetBasicAuth(user, password)
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	s := &Session{http: client}
	for _, c := range resp.Cookies() {
		if c.Name == Cookie {
			s.cookie = c.Value
		}
	}
	if err := read(resp, nil); err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	return s, nil
}

// Request to a PBX.
type Request struct {
	Method string
	Path   string // below /api/v1/, with a query where there is one
	// IfMatch is the version that is to be changed; "": the request has none.
	IfMatch string
	// Body is sent as JSON. Nil: none.
	Body any
	// Out takes the JSON of the answer. Nil: it is not looked at.
	Out any
	// Stream is sent as it is, as application/octet-stream, in place of Body.
	Stream io.Reader
	Size   int64 // of Stream
}

// Do sends a request, and gives the version in the answer's ETag; "" without one. The error
// is an [*Error] where the PBX refuses, an [ErrAnswer], or one of the connection.
func (s *Session) Do(ctx context.Context, r Request) (version string, err error) {
	var body io.Reader = http.NoBody
	media := ""
	switch {
	case r.Stream != nil:
		body, media = r.Stream, "application/octet-stream"
	case r.Body != nil:
		text, err := json.Marshal(r.Body)
		if err != nil {
			return "", err
		}
		body, media = bytes.NewReader(text), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, base+r.Path, body)
	if err != nil {
		return "", err
	}
	if r.Stream != nil {
		req.ContentLength = r.Size
	}
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	if r.IfMatch != "" {
		req.Header.Set("If-Match", `"`+r.IfMatch+`"`)
	}
	req.AddCookie(&http.Cookie{Name: Cookie, Value: s.cookie}) //nolint:gosec // of a request
	resp, err := s.http.Do(req)
	if err != nil {
		return "", err
	}
	if err := read(resp, r.Out); err != nil {
		return "", fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
	}
	return parseVersion(resp.Header.Get("ETag"))
}

// versionText is what a version is made of: it goes into headers and tables as it is.
var versionText = regexp.MustCompile(`^"[A-Za-z0-9._:+/=-]+"$`)

func parseVersion(etag string) (string, error) {
	if etag == "" {
		return "", nil
	}
	if len(etag) > maxVersion || !versionText.MatchString(etag) {
		return "", fmt.Errorf("%w: the ETag is not one of letters and digits", ErrAnswer)
	}
	return etag[1 : len(etag)-1], nil
}

// read reads a JSON answer into out, if that is not nil, and closes it.
func read(resp *http.Response, out any) error {
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return problemOf(resp.StatusCode, text)
	case err != nil:
		return err
	case len(text) > MaxAnswer:
		return fmt.Errorf("%w: it has more than %d bytes", ErrAnswer, MaxAnswer)
	case out == nil:
		return nil
	}
	if json.Unmarshal(text, out) != nil {
		return fmt.Errorf("%w: it is not the JSON of such an answer", ErrAnswer)
	}
	return nil
}

var word = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

func problemOf(status int, text []byte) *Error {
	e := &Error{Status: status}
	var p struct {
		Code   string `json:"code"`
		Errors []struct {
			Location string `json:"location"`
			Message  string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(text, &p) != nil {
		return e
	}
	if word.MatchString(p.Code) {
		e.Code = p.Code
	}
	for _, f := range p.Errors[:min(len(p.Errors), maxFields)] {
		name := strings.TrimPrefix(f.Location, "body.")
		if word.MatchString(name) {
			e.Fields = append(e.Fields, Field{name, Line(f.Message)})
		}
	}
	return e
}

// Line makes one short printable line of a text that a PBX gives.
func Line(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, " "))
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "")
	}
	return strings.TrimSpace(text)
}
