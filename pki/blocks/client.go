package blocks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Config of a [Client]. URL and Credentials are needed; zero durations mean the
// defaults.
type Config struct {
	// URL is where the PKI listens, e.g. "https://pki.example.com:8443".
	URL string `yaml:"url"`
	// CacheFile keeps the last list for a start without the PKI. Empty keeps
	// none: until the PKI answers, nobody is blocked then.
	CacheFile string `yaml:"cache_file"`
	// Silence is how long the feed may be without a line before the client
	// connects anew. Default: three heartbeats, 15 s.
	Silence time.Duration `yaml:"silence"`
	// RetryMin and RetryMax bound the wait before the client connects anew;
	// it doubles from one to the other and is drawn between nothing and that.
	// Default: 250 ms and 5 s.
	RetryMin time.Duration `yaml:"retry_min"`
	RetryMax time.Duration `yaml:"retry_max"`

	// Credentials are a relay's or a service's; devices may not read the feed.
	Credentials *enrol.Credentials `yaml:"-"`
	// Logger; nil means silence.
	Logger hclog.Logger `yaml:"-"`
	// OnError receives every failure of the feed, e.g. for an alarm on
	// [ErrRollback]. It must not block. Nil drops them; they are in the log.
	OnError func(error) `yaml:"-"`
}

// Defaults of [Config].
const (
	DefaultSilence  = 3 * DefaultHeartbeat
	DefaultRetryMin = 250 * time.Millisecond
	DefaultRetryMax = 5 * time.Second
)

// Status is how well a [Client] is informed.
type Status struct {
	// Epoch of the list in force.
	Epoch uint64 `json:"epoch"`
	// Blocked is the number of blocked identities.
	Blocked int `json:"blocked"`
	// Heard is when the PKI last confirmed that list; zero if it never did.
	Heard time.Time `json:"heard"`
	// Error is the last failure of the feed; empty while it works.
	Error string `json:"error,omitempty"`
}

// Client follows the feed. Make it with [New], and call Run once.
type Client struct {
	cfg    Config
	fetch  func(ctx context.Context, since uint64) (io.ReadCloser, error)
	loaded chan struct{} // closed after the first apply

	list     List // owned by Run
	failures int  // owned by Run; since the last line
	resync   bool // owned by Run; the next connection asks for a snapshot

	mu     sync.Mutex // guards status
	status Status
}

// New checks the configuration.
func New(cfg Config) (*Client, error) {
	if cfg.URL == "" || cfg.Credentials == nil {
		return nil, errors.New("block list client: URL and credentials are needed")
	}
	if cfg.Silence <= 0 {
		cfg.Silence = DefaultSilence
	}
	if cfg.RetryMin <= 0 {
		cfg.RetryMin = DefaultRetryMin
	}
	if cfg.RetryMax < cfg.RetryMin {
		cfg.RetryMax = max(cfg.RetryMin, DefaultRetryMax)
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	c := &Client{cfg: cfg, loaded: make(chan struct{})}
	c.fetch = c.fetchHTTP
	return c, nil
}

// Status tells how fresh the list is. A relay raises an alarm, and may refuse
// new tunnels, by it.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Loaded is closed when Run has applied the list from disk. A relay accepts
// nobody before that.
func (c *Client) Loaded() <-chan struct{} { return c.loaded }

// Run loads the list from disk, then follows the feed until ctx ends; it returns
// ctx's cause. It calls apply with the list from disk before anything else (with
// the empty list where there is none), and after every change, always from one
// goroutine. apply must cut what is newly blocked and return soon.
func (c *Client) Run(ctx context.Context, apply func(List)) error {
	if err := c.load(); err != nil {
		c.report(err)
	}
	apply(c.list)
	close(c.loaded)
	for {
		err := c.follow(ctx, apply)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.failures++
		c.resync = errors.Is(err, ErrDiverged)
		c.report(err)
		if err := c.pause(ctx); err != nil {
			return err
		}
	}
}

// follow reads one connection until it fails; the error is never nil.
func (c *Client) follow(ctx context.Context, apply func(List)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(c.cfg.Silence, func() { cancel(ErrSilent) })
	defer silence.Stop()

	since := c.list.epoch
	if c.resync {
		since = 0
	}
	body, err := c.fetch(ctx, since)
	if err != nil {
		return orCause(ctx, err)
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for lines.Scan() {
		silence.Reset(c.cfg.Silence)
		e, err := ParseEvent(lines.Bytes())
		if err != nil {
			return err
		}
		next, err := c.list.apply(e)
		if err != nil {
			return err
		}
		c.heard(next)
		if next.epoch == c.list.epoch && next.Digest() == c.list.Digest() {
			continue
		}
		c.list = next
		apply(next) // before the disk: a block must cut first
		if err := c.save(); err != nil {
			c.report(err)
		}
	}
	if err := lines.Err(); err != nil {
		return orCause(ctx, fmt.Errorf("block list feed: %w", err))
	}
	return orCause(ctx, fmt.Errorf("block list feed: %w", io.ErrUnexpectedEOF))
}

// fetchHTTP opens the feed over a connection of its own, with the certificate
// and the roots of now.
func (c *Client) fetchHTTP(ctx context.Context, since uint64) (io.ReadCloser, error) {
	pki := identity.Service(c.cfg.Credentials.ID().TrustDomain, enrol.ServiceName)
	url := strings.TrimSuffix(c.cfg.URL, "/") + Path
	if since > 0 {
		url += "?since=" + strconv.FormatUint(since, 10)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		TLSClientConfig:   c.cfg.Credentials.ClientConfig(pki.DNSName(), identity.Exactly(pki)),
		DisableKeepAlives: true, // the connection ends with the body
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("block list feed: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, fmt.Errorf("block list feed: %w", enrol.ReadProblem(resp))
	}
	return resp.Body, nil
}

// orCause prefers the reason why the connection was given up.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// heard notes that the PKI has confirmed the list.
func (c *Client) heard(l List) {
	c.failures = 0
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = Status{Epoch: l.epoch, Blocked: l.Len(), Heard: time.Now()}
}

func (c *Client) report(err error) {
	c.mu.Lock()
	c.status.Epoch, c.status.Blocked, c.status.Error = c.list.epoch, c.list.Len(), err.Error()
	c.mu.Unlock()
	c.cfg.Logger.Warn("block list", "epoch", c.list.epoch, "error", err)
	if c.cfg.OnError != nil {
		c.cfg.OnError(err)
	}
}

func (c *Client) pause(ctx context.Context) error {
	ceiling := c.cfg.RetryMax
	if shift := c.failures - 1; shift < 16 {
		ceiling = min(ceiling, c.cfg.RetryMin<<shift)
	}
	timer := time.NewTimer(time.Duration(rand.Int64N(int64(ceiling) + 1)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
