package enrol

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// post sends JSON and reads JSON. creds are those in cfg, nil if there are none.
func (c *Client) post(ctx context.Context, cfg *tls.Config, creds *Credentials, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.do(ctx, cfg, c.URL, http.MethodPost, path, body,
		func(r *http.Request) {
			trusts(r, creds)
			r.Header.Set("Content-Type", mediaTypeJSON)
		}, into(path, out))
}

// est sends a certificate request (PEM) by EST, and asks for our form of the answer.
// more, which may be nil, completes the request.
func (c *Client) est(ctx context.Context, cfg *tls.Config, base, path string, csr []byte, more func(*http.Request), out *Issued) error {
	block, _ := pem.Decode(csr)
	body := []byte(base64.StdEncoding.EncodeToString(block.Bytes))
	return c.do(ctx, cfg, base, http.MethodPost, path, body, func(r *http.Request) {
		r.Header.Set("Content-Type", "application/pkcs10")
		r.Header.Set("Accept", mediaTypeJSON+", "+ProblemMediaType)
		if more != nil {
			more(r)
		}
	}, into(path, out))
}

const mediaTypeJSON = "application/json"

// into reads an answer in JSON; nil out ignores it.
func into(path string, out any) func([]byte) error {
	return func(answer []byte) error {
		if out == nil {
			return nil
		}
		if err := json.Unmarshal(answer, out); err != nil {
			return fmt.Errorf("%w: answer of %s: %w", ErrServer, path, err)
		}
		return nil
	}
}

// call is one HTTP request. head, which may be nil, completes it; read gets the
// answer.
type call struct {
	base, method, path string
	body               []byte
	head               func(*http.Request)
	read               func([]byte) error
}

// do makes one call over a connection of its own, because each call may have
// other credentials. Where a certificate of the PKI shows that the clock is behind,
// it makes another; where the PKI cannot be reached, it goes through Through.
func (c *Client) do(ctx context.Context, cfg *tls.Config, base, method, path string, body []byte, head func(*http.Request), read func([]byte) error) error {
	one := call{base, method, path, body, head, read}
	through := c.Through
	if base != c.URL {
		through = nil
	}
	if through != nil && c.OnlyThrough {
		return c.tryTwice(ctx, cfg, one, through)
	}
	err := c.tryTwice(ctx, cfg, one, nil)
	if _, failed := errors.AsType[*url.Error](err); failed && through != nil && ctx.Err() == nil {
		if err2 := c.tryTwice(ctx, cfg, one, through); err2 != nil {
			return fmt.Errorf("%w; through the tunnel: %w", err, err2)
		}
		return nil
	}
	return err
}

func (c *Client) tryTwice(ctx context.Context, cfg *tls.Config, one call, through func(context.Context) (net.Conn, error)) error {
	err := c.try(ctx, cfg, one, through)
	if cfg.RootCAs != nil && c.Clock.Learn(err, cfg.RootCAs) {
		err = c.try(ctx, cfg, one, through)
	}
	return err
}

func (c *Client) try(ctx context.Context, cfg *tls.Config, one call, through func(context.Context) (net.Conn, error)) error {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, one.method, strings.TrimSuffix(one.base, "/")+one.path, bytes.NewReader(one.body))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if one.head != nil {
		one.head(req)
	}
	if c.Clock != nil {
		cfg.Time = c.Clock.Now
	}
	transport := &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}
	if through != nil {
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return through(ctx) }
	}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, CheckRedirect: noRedirect}).Do(req)
	if err != nil {
		return fmt.Errorf("PKI: %w", err)
	}
	defer resp.Body.Close()
	c.learnDate(resp)
	if resp.StatusCode == http.StatusNotModified {
		return errNotModified
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return ReadProblem(resp)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody))
	if err != nil {
		return fmt.Errorf("PKI: read the answer: %w", err)
	}
	return one.read(answer)
}

// errNotModified: the caller has what it asks for.
var errNotModified = errors.New("not modified")

// learnDate takes the time of a verified PKI, as far as its certificate goes.
func (c *Client) learnDate(resp *http.Response) {
	if resp.TLS == nil || len(resp.TLS.VerifiedChains) == 0 {
		return
	}
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil || date.After(resp.TLS.VerifiedChains[0][0].NotAfter) {
		return
	}
	c.Clock.Saw(date)
}

// noRedirect keeps a token from following a redirect to somebody else.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
