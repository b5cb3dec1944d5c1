package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"time"
)

// Service is the name of the Auerproxy service on both sides.
const Service = "pairing"

// Paths of the two sides; see the package doc.
const (
	PathOffer    = "/v1/offer"
	PathWithdraw = "/v1/withdraw"
	PathDissolve = "/v1/dissolve"

	PathRemote    = "/v1/remote"
	PathRemoteEnd = "/v1/remote/end"

	PathComplete = "/v1/complete"
	PathDeclined = "/v1/declined"
	PathSync     = "/v1/sync"

	PathRemoteReport = "/v1/remote/report"
)

// DefaultMaxBody bounds a body, in bytes, where no other limit is configured. It has
// room for a statement and for a [Sync] with its tombstones.
const DefaultMaxBody = 16 << 10

// Empty is the answer of a way that has none: 204.
type Empty struct{}

// Handle serves one way: it reads a body of at most maxBody bytes (0:
// [DefaultMaxBody]) into In, checks its fields, calls f, and writes the Out as 200,
// [Empty] as 204, an error as [WriteProblem] does. f gets the request's context.
func Handle[In checker, Out any](maxBody int64, f func(context.Context, In) (Out, error)) http.Handler {
	if maxBody <= 0 {
		maxBody = DefaultMaxBody
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := readBody(r, maxBody, &in); err != nil {
			WriteProblem(w, NewProblem(CodeBadRequest, err.Error()))
			return
		}
		out, err := f(r.Context(), in)
		if err != nil {
			WriteProblem(w, err)
			return
		}
		if _, empty := any(out).(Empty); empty {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		writeJSON(w, http.StatusOK, "application/json", out)
	})
}

func readBody[T checker](r *http.Request, maxBody int64, into *T) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return errors.New("Content-Type: is not application/json")
	}
	body, err := readAll(r.Body, maxBody)
	if err != nil {
		return err
	}
	return read(body, into)
}

// readAll reads up to limit bytes; more is an error.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("body: has more than %d bytes", limit)
	}
	return b, nil
}

func writeJSON(w http.ResponseWriter, status int, media string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client has gone
}

// HTTPClient makes requests on connections of dial, each on one of its own, which
// ends with the answer. A redirect is an answer like any other.
func HTTPClient(dial func(context.Context) (net.Conn, error)) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
			ResponseHeaderTimeout:  time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// base is where requests go to. The name is not looked up: the connection is the
// peer.
const base = "http://" + Service

// post sends in and gives the body of the answer.
func post(ctx context.Context, client *http.Client, maxBody int64, path string, in any) ([]byte, error) {
	if maxBody <= 0 {
		maxBody = DefaultMaxBody
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if int64(len(body)) > maxBody {
		return nil, fmt.Errorf("%s: body has %d bytes, at most %d are allowed", path, len(body), maxBody)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, "+ProblemMediaType)
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, readProblem(resp, io.LimitReader(resp.Body, maxBody))
	}
	answer, err := readAll(resp.Body, maxBody)
	if err != nil {
		return nil, fmt.Errorf("%s: answer: %w", path, err)
	}
	return answer, nil
}
