package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Request is one request, for programs that work with the table of [Operations].
type Request struct {
	// Method and Path of the operation; the path is below [Prefix], and its parts are
	// escaped.
	Method, Path string
	Query        url.Values
	Header       http.Header
	// JSON is the body; Body is one of another type, which cannot be repeated.
	JSON        any
	Body        io.Reader
	Size        int64 // of Body, in bytes; 0: not known before
	ContentType string
	// Accept is the type of the answer. Default: application/json.
	Accept string
	// Once: the operation takes an Idempotency-Key.
	Once bool
}

const (
	firstWait = 200 * time.Millisecond
	mostWait  = 30 * time.Second
)

// Do runs a request and gives the answer if it is 2xx, else an error that is a [*Problem]
// where the server gave one. The caller closes the body.
func (c *Client) Do(ctx context.Context, r Request) (*http.Response, error) {
	var body []byte
	if r.JSON != nil {
		var err error
		if body, err = json.Marshal(r.JSON); err != nil {
			return nil, fmt.Errorf("%s %s: the body: %w", r.Method, r.Path, err)
		}
	}
	key := ""
	if r.Once {
		if key, _ = ctx.Value(keyOfOnce{}).(string); key == "" {
			key = rand.Text()
		}
	}
	tries := 1
	if r.Body == nil && (r.Method == http.MethodGet || r.Once) {
		tries += max(0, c.cfg.Retries)
	}
	for wait := firstWait; ; wait = min(2*wait, mostWait) {
		resp, err := c.once(ctx, r, body, key)
		tries--
		if err == nil || tries == 0 || ctx.Err() != nil || !again(err) {
			return resp, err
		}
		pause := wait/2 + mrand.N(wait)
		if p, ok := errors.AsType[*Problem](err); ok && p.RetryAfter > 0 {
			pause = p.RetryAfter
		}
		if pause > mostWait {
			return nil, err // who asks decides whether to wait for that long
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
	}
}

// again tells whether the same request may succeed a little later.
func again(err error) bool {
	p, ok := errors.AsType[*Problem](err)
	if !ok {
		return true // no answer
	}
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return p.Code == "idempotency_in_progress"
}

func (c *Client) once(ctx context.Context, r Request, body []byte, key string) (*http.Response, error) {
	target := c.base + r.Path
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	var reader io.Reader = http.NoBody
	switch {
	case body != nil:
		reader = bytes.NewReader(body)
	case r.Body != nil:
		reader = r.Body
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, reader)
	if err != nil {
		return nil, err
	}
	if body == nil && r.Body != nil && r.Size > 0 {
		req.ContentLength = r.Size
	}
	for name, values := range r.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	set := func(name, value string) {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	set("Accept", "application/json")
	set("Accept", r.Accept)
	set("Content-Type", r.ContentType)
	if body != nil {
		set("Content-Type", "application/json")
	}
	set("Idempotency-Key", key)
	set("Auer-Tenant", c.cfg.Tenant)
	set("User-Agent", c.cfg.UserAgent)
	if c.cfg.Token != "" {
		set("Authorization", "Bearer "+c.cfg.Token)
	}
	resp, err := c.cfg.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, problemOf(resp, c.cfg.MaxAnswer)
}

// call runs a request and reads the answer into out, where that is not nil. How long a body
// may take that is not JSON is for ctx to say.
func (c *Client) call(ctx context.Context, r Request, out any) error {
	if r.Body == nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
	}
	resp, err := c.Do(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.MaxAnswer+1))
	if err == nil && int64(len(text)) > c.cfg.MaxAnswer {
		err = fmt.Errorf("the answer is larger than %d bytes", c.cfg.MaxAnswer)
	}
	if err == nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		return fmt.Errorf("%s %s: the answer: %w", r.Method, r.Path, err)
	}
	return nil
}

// open runs a request whose answer is no JSON.
func (c *Client) open(ctx context.Context, r Request) (io.ReadCloser, error) {
	resp, err := c.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// add adds a parameter where it is not its zero value.
func add(to map[string][]string, name string, v any) {
	var all []string
	switch v := v.(type) {
	case string:
		if v != "" {
			all = []string{v}
		}
	case []string:
		all = v
	case int64:
		if v != 0 {
			all = []string{strconv.FormatInt(v, 10)}
		}
	case bool:
		if v {
			all = []string{"true"}
		}
	case time.Time:
		if !v.IsZero() {
			all = []string{v.Format(time.RFC3339Nano)}
		}
	default:
		all = []string{fmt.Sprint(v)}
	}
	if len(all) > 0 {
		to[name] = append(to[name], all...)
	}
}
