package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Code says, in one word that never changes its meaning, what is wrong.
type Code string

// Problem is an answer that is not 2xx (RFC 9457).
type Problem struct {
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Code   Code         `json:"code"`
	Detail string       `json:"detail"`
	Errors []FieldError `json:"errors"`

	// RetryAfter is how long to wait before another try; 0: the server did not say.
	RetryAfter time.Duration `json:"-"`
}

// FieldError is one fault of a request.
type FieldError struct {
	// Location says where: body, query, header or path, and what in it.
	Location string `json:"location"`
	Code     string `json:"code"`
	// Message is for developers, in English.
	Message string `json:"message"`
}

// Error gives the problem in one line.
func (p *Problem) Error() string {
	var out strings.Builder
	out.WriteString(p.Title)
	if p.Title == "" {
		out.WriteString(http.StatusText(p.Status))
	}
	if p.Detail != "" {
		out.WriteString(": " + p.Detail)
	}
	for _, e := range p.Errors {
		out.WriteString("; " + e.Location + ": " + e.Message)
	}
	if p.Code != "" {
		fmt.Fprintf(&out, " (%s, status %d)", p.Code, p.Status)
	} else {
		fmt.Fprintf(&out, " (status %d)", p.Status)
	}
	return out.String()
}

// HasCode tells whether an error is a problem with the code.
func HasCode(err error, code Code) bool {
	p, ok := errors.AsType[*Problem](err)
	return ok && p.Code == code
}

// problemOf reads the problem of an answer, which need not be one of the control centre:
// a proxy in between answers as it likes.
func problemOf(resp *http.Response, limit int64) *Problem {
	p := &Problem{}
	if json.NewDecoder(io.LimitReader(resp.Body, limit)).Decode(p) != nil || p.Code == "" {
		p = &Problem{Title: "The server answers " + resp.Status}
	}
	p.Status = resp.StatusCode
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		p.RetryAfter = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(resp.Header.Get("Retry-After")); err == nil {
		p.RetryAfter = max(0, time.Until(at))
	}
	return p
}
