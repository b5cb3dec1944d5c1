package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
)

// Prefix is where the API is, below the server's address.
const Prefix = "/api/v1"

// Config says how to reach a control centre. Only URL is needed.
type Config struct {
	// URL is the address of the control centre, https://ccc.example.com. Plain http is for
	// a loopback address only, since a password or a token would be readable on the way.
	URL string
	// Token is an API token. Empty: requests carry the cookies of HTTP.
	Token string
	// Tenant is the id of the tenant that requests are about. Empty: the own one.
	Tenant string
	// HTTP makes the requests. Nil: one with a jar for the session's cookie. One that is
	// given needs a jar only where there is no Token.
	HTTP *http.Client
	// Retries is how often a request is repeated that can be. Default: 3; negative: never.
	Retries int
	// Timeout bounds one request that is no stream, and does not send one. Default: 30 s.
	Timeout time.Duration
	// MaxAnswer bounds the bytes of an answer that is read as a whole. Default: 16 MiB.
	MaxAnswer int64
	// UserAgent names the program. Default: comtrexx-client.
	UserAgent string
}

// Client talks to a control centre. It can be used by several goroutines at once. Make
// it with [New].
type Client struct {
	cfg  Config
	base string // with Prefix
}

// New makes a client; it asks nothing yet.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("%q is not the address of a server, such as https://ccc.example.com", cfg.URL)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the address has more than a scheme, a host and a path")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("%s: plain http is for this machine only; a password would be readable on the way", cfg.URL)
	}
	cfg.Retries = cmp.Or(cfg.Retries, 3)
	cfg.Timeout = cmp.Or(cfg.Timeout, 30*time.Second)
	cfg.MaxAnswer = cmp.Or(cfg.MaxAnswer, 16<<20)
	cfg.UserAgent = cmp.Or(cfg.UserAgent, "comtrexx-client")
	if cfg.HTTP == nil {
		jar, err := cookiejar.New(nil)
		if err != nil {
			return nil, err
		}
		cfg.HTTP = &http.Client{Jar: jar}
	}
	return &Client{cfg: cfg, base: strings.TrimSuffix(cfg.URL, "/") + Prefix}, nil
}

// loopback tells whether a host is this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// In gives a client that shares everything with c, and whose requests are about another
// tenant; empty: the own one.
func (c *Client) In(tenant string) *Client {
	other := *c
	other.cfg.Tenant = tenant
	return &other
}

// ETag gives the value for If-Match of a version.
func ETag(version int64) string { return fmt.Sprintf("%q", fmt.Sprint(version)) }

type keyOfOnce struct{}

// WithIdempotencyKey has the next request that is made with the context, and takes a key,
// use this one. Without, each request gets one of its own, which its repeats share.
// A key is for one request: the same one with another body is refused.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyOfOnce{}, key)
}
