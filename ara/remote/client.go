package remote

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Client is one session at its PBX, as the gateway talks to it. Errors are those of this
// package, or of the connection.
type Client struct {
	// HTTP makes the requests; see [HTTPClient].
	HTTP *http.Client
}

// HTTPClient makes requests on connections of dial, each on one of its own, which ends
// with the answer. dial opens calls to [ServiceName] with the purpose of one session.
func HTTPClient(dial func(context.Context) (net.Conn, error)) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
			ResponseHeaderTimeout:  30 * time.Second,
			ExpectContinueTimeout:  30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Watch calls f with every status, until one is final (nil) or the stream ends
// (an error). A stream that is silent for too long is ended.
func (c Client) Watch(ctx context.Context, f func(Status)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := c.do(ctx, http.MethodGet, PathSession, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	silent := time.AfterFunc(3*Heartbeat, func() { cancel(errors.New("the PBX is silent")) })
	defer silent.Stop()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 512), MaxBody)
	for lines.Scan() {
		silent.Reset(3 * Heartbeat)
		s, err := parse[Status](lines.Bytes())
		if err != nil {
			return err
		}
		f(s)
		if s.State.Final() {
			return nil
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}

// PIN gives the PBX a PIN, which consents to the session where it is right.
func (c Client) PIN(ctx context.Context, pin string) error {
	return c.post(ctx, PathPIN, PINBody{PIN: pin})
}

// End ends the session.
func (c Client) End(ctx context.Context) error { return c.post(ctx, PathEnd, empty{}) }

// Extend asks for so many minutes more, to which the PBX's administrator has to consent.
func (c Client) Extend(ctx context.Context, minutes int) error {
	return c.post(ctx, PathExtend, ExtendBody{Minutes: minutes})
}

// Targets lists what can be reached in the session.
func (c Client) Targets(ctx context.Context) (Targets, error) {
	resp, err := c.do(ctx, http.MethodGet, PathTargets, nil)
	if err != nil {
		return Targets{}, err
	}
	defer resp.Body.Close()
	text, err := readAll(resp.Body)
	if err != nil {
		return Targets{}, err
	}
	return parse[Targets](text)
}

func (c Client) post(ctx context.Context, path string, m message) error {
	if err := m.check(); err != nil {
		return err
	}
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// do gives an answer that is a success.
func (c Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	// The name is not looked up: the connection is the PBX.
	req, err := http.NewRequestWithContext(ctx, method, "http://"+ServiceName+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", mediaJSON)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer resp.Body.Close()
		return nil, fmt.Errorf("%s: %w", path, problemOf(resp))
	}
	return resp, nil
}
