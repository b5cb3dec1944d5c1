package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs"
)

// client talks JSON to a server that signs people in with a cookie: the API of the
// control centre, or that of a PBX.
type client struct {
	base string // without a slash at the end
	http *http.Client
}

// answerTimeout bounds one request that is not a stream.
const answerTimeout = 30 * time.Second

// maxAnswer bounds what a server can have the program read.
const maxAnswer = 1 << 20

// newClient makes a client. caFile, where it is not empty, has the only roots that are
// trusted. A password is sent over TLS, or not off this machine.
func newClient(base, caFile string) (*client, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return nil, fmt.Errorf("%q is not the address of a server, such as https://ccc.example.com", base)
	case u.Scheme == "http" && !configs.IsLoopback(u.Hostname()):
		return nil, fmt.Errorf("%s: plain http is for this machine only; a password would be readable on the way", base)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if caFile != "" {
		if transport.TLSClientConfig, err = rootsOf(caFile); err != nil {
			return nil, err
		}
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &client{base: strings.TrimSuffix(base, "/"), http: &http.Client{Transport: transport, Jar: jar}}, nil
}

// problem is an answer that is not 2xx.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Errors []struct {
		Location string `json:"location"`
		Message  string `json:"message"`
	} `json:"errors"`
}

// Error gives it in one line.
func (p *problem) Error() string {
	text := p.Title
	if text == "" {
		text = http.StatusText(p.Status)
	}
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	for _, e := range p.Errors {
		text += "; " + e.Location + ": " + e.Message
	}
	return fmt.Sprintf("%s (%s, status %d)", text, p.Code, p.Status)
}

// hasCode tells whether the error is a problem with the code.
func hasCode(err error, code string) bool {
	p, ok := errors.AsType[*problem](err)
	return ok && p.Code == code
}

// signIn begins a session. code is asked for a code of the second factor where there has
// to be one.
func (c *client) signIn(ctx context.Context, user, password string, code func() (string, error)) error {
	in := struct {
		Email    string `json:"email"`
		Password string `json:"password"`
	}{user, password}
	var me struct {
		Proof struct {
			Need string `json:"need"`
		} `json:"proof"`
	}
	if err := c.do(ctx, http.MethodPost, "/api/v1/session", in, &me); err != nil {
		return err
	}
	switch me.Proof.Need {
	case "":
		return nil
	case "second":
		totp, err := code()
		if err != nil {
			return err
		}
		proof := struct {
			TOTP string `json:"totp"`
		}{totp}
		return c.do(ctx, http.MethodPost, "/api/v1/session/second-factor", proof, nil)
	default:
		return errEnrol
	}
}

// errEnrol: the account has no second factor, and needs one.
var errEnrol = errors.New("the account has to set up a second factor first, in a browser")

// signOut ends the session, also after ctx has ended.
func (c *client) signOut(ctx context.Context) {
	_ = c.do(context.WithoutCancel(ctx), http.MethodDelete, "/api/v1/session", nil, nil) // it ends by itself, too
}

// do sends in, where it is not nil, and reads the answer into out, where that is not
// nil. set changes the request before it goes.
func (c *client) do(ctx context.Context, method, path string, in, out any, set ...func(*http.Request)) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	resp, err := c.send(ctx, method, path, in, set...)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("%s %s%s: the answer is not as expected: %w", method, c.base, path, err)
	}
	return nil
}

// send gives the answer if it is 2xx, else a *problem.
func (c *client) send(ctx context.Context, method, path string, in any, set ...func(*http.Request)) (*http.Response, error) {
	var body io.Reader = http.NoBody
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, f := range set {
		f(r)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	p := &problem{}
	if json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(p) != nil || p.Status == 0 {
		p = &problem{Title: fmt.Sprintf("%s %s%s: %s", method, c.base, path, resp.Status), Status: resp.StatusCode}
	}
	return nil, p
}

// stream reads server-sent events until the stream ends, ctx ends or each returns false.
func (c *client) stream(ctx context.Context, path string, each func(event string, data []byte) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, path, nil, func(r *http.Request) { r.Header.Set("Accept", "text/event-stream") })
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return readEvents(resp.Body, each)
}

// readEvents reads events (HTML, §9.2.6, of which the field id and data of several lines
// are not used) until the end, or each returns false. An event that is cut off is none.
func readEvents(r io.Reader, each func(event string, data []byte) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxAnswer)
	var event string
	var data []byte
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			if event != "" && !each(event, data) {
				return nil
			}
			event, data = "", nil
			continue
		}
		switch name, value, _ := strings.Cut(line, ":"); name { // before it is nothing in a comment
		case "event":
			event = strings.TrimPrefix(value, " ")
		case "data":
			data = append(data, strings.TrimPrefix(value, " ")...)
		}
	}
	return lines.Err()
}
