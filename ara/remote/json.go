package remote

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
)

const (
	mediaJSON    = "application/json"
	mediaProblem = "application/problem+json"
	mediaLines   = "application/x-ndjson"
)

// message can judge itself. Errors wrap [ErrMalformed].
type message interface{ check() error }

// parse reads one message.
func parse[T message](text []byte) (T, error) {
	var m, none T
	if err := json.Unmarshal(text, &m); err != nil {
		return none, fmt.Errorf("%w: not the JSON that was expected", ErrMalformed)
	}
	if err := m.check(); err != nil {
		return none, err
	}
	return m, nil
}

func readAll(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxBody+1))
	if err == nil && len(b) > MaxBody {
		err = fmt.Errorf("%w: more than %d bytes", ErrMalformed, MaxBody)
	}
	return b, err
}

// problem is an answer that refuses (RFC 9457 §3).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
}

// writeProblem answers with an error; one that is not of this package keeps its text to
// itself.
func writeProblem(w http.ResponseWriter, err error) {
	p := problem{Title: "internal error", Status: http.StatusInternalServerError, Code: "internal"}
	for _, known := range problems {
		if errors.Is(err, known.err) {
			p = problem{Title: known.err.Error(), Status: known.status, Code: known.code}
			break
		}
	}
	p.Type = "urn:comtrexx:remote:" + p.Code
	text, err := json.Marshal(p)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaProblem)
	w.WriteHeader(p.Status)
	_, _ = w.Write(text) // the client has gone
}

// problemOf gives the error of an answer that refuses. Its code alone is looked at.
func problemOf(resp *http.Response) error {
	text, err := readAll(resp.Body)
	if err != nil {
		return err
	}
	var p problem
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media == mediaProblem && json.Unmarshal(text, &p) == nil {
		for _, known := range problems {
			if known.code == p.Code {
				return known.err
			}
		}
	}
	return fmt.Errorf("the PBX answers with %s", http.StatusText(resp.StatusCode))
}

// line is a value of the stream.
func line(s Status) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(s)
	return append(bytes.TrimSpace(text), '\n'), err
}
