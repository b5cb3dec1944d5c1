// Package statistics gathers the anonymous counts of accesses of all servers, so that
// operators see them in one place. No address and no network is among them: they are an
// [accesslog.Summary] of each server, this one's from its own log and the others' from
// their admin listeners.
package statistics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
)

const (
	// timeout bounds the answer of one server, which reads up to a year of counts.
	timeout = 10 * time.Second
	// maxAnswer bounds it in bytes: a month by the hour is about 250 KB.
	maxAnswer = 4 << 20
	// maxSources is how many servers there may be.
	maxSources = 64
	unix       = "unix:"
	path       = "/access-log/statistics"
)

// Config of a [Gatherer]. The zero value has this server's counts alone.
type Config struct {
	// Sources are the other servers. Default: none.
	Sources []Source `yaml:"sources"`

	// Own is this server's log, shown first as Name; nil: none.
	Own  *accesslog.Log `yaml:"-"`
	Name string         `yaml:"-"`
	// Logger; nil means silence.
	Logger hclog.Logger `yaml:"-"`
}

// Source is another server's admin listener.
type Source struct {
	// Name is how it is shown, as in relay-1.
	Name string `yaml:"name"`
	// URL is that of the admin listener, http://127.0.0.1:9090 or unix:PATH.
	URL string `yaml:"url"`
}

// Validate checks what a file can set, each error a [configs.KeyError] with the key below
// this struct.
func (c Config) Validate() error {
	var all []error
	wrong := func(format string, args ...any) {
		all = append(all, &configs.KeyError{Key: "sources", Problem: fmt.Sprintf(format, args...), Hint: "each has a name and the url of an admin listener, http://127.0.0.1:9090 or unix:/run/program/admin.sock"})
	}
	if len(c.Sources) > maxSources {
		wrong("has more than %d servers", maxSources)
	}
	seen := map[string]bool{c.Name: c.Name != ""}
	for _, s := range c.Sources {
		if strings.TrimSpace(s.Name) == "" || len(s.Name) > 64 {
			wrong("has a name that is empty or longer than 64 bytes")
		} else if seen[s.Name] {
			wrong("has %s twice", s.Name)
		}
		seen[s.Name] = true
		u, err := url.Parse(s.URL)
		switch {
		case strings.HasPrefix(s.URL, unix) && len(s.URL) > len(unix):
		case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", strings.Trim(u.Path, "/") != "", u.RawQuery != "", u.User != nil:
			wrong("has %s, which has no address of an admin listener", s.Name)
		}
	}
	return errors.Join(all...)
}

// Failure says why there is nothing of a server.
type Failure string

// The failures.
const (
	Unreachable Failure = "unreachable" // it does not run, or does not answer in time
	Unreadable  Failure = "unreadable"  // what it says is no summary, e.g. of an older program
)

// Server is what one server has counted.
type Server struct {
	Name    string
	Failure Failure // empty: none
	Summary accesslog.Summary
}

// Gatherer asks all servers. Make it with [New]; Gather may be called from several
// goroutines.
type Gatherer struct {
	cfg Config
	log hclog.Logger
}

// New checks the configuration. It asks nobody.
func New(cfg Config) (*Gatherer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	g := &Gatherer{cfg: cfg, log: cfg.Logger}
	if g.log == nil {
		g.log = hclog.NewNullLogger()
	}
	return g, nil
}

// Gather gives the counts of the last days, by the day or by the hour, of each server, in
// the order of the configuration. A server that fails is among them.
func (g *Gatherer) Gather(ctx context.Context, days int, byDay bool) []Server {
	var all []Server
	if g.cfg.Own != nil {
		s, err := g.cfg.Own.Summarise(ctx, days, byDay)
		own := Server{Name: g.cfg.Name, Summary: s}
		if err != nil {
			g.log.Warn("the counts of accesses cannot be read", "error", err)
			own = Server{Name: g.cfg.Name, Failure: Unreadable}
		}
		all = append(all, own)
	}
	first := len(all)
	all = append(all, make([]Server, len(g.cfg.Sources))...)
	var asked sync.WaitGroup
	for i, source := range g.cfg.Sources {
		asked.Go(func() {
			all[first+i] = Server{Name: source.Name}
			s, err := source.ask(ctx, days, byDay)
			if err == nil {
				all[first+i].Summary = s
				return
			}
			all[first+i].Failure = Unreachable
			if errors.Is(err, errUnreadable) {
				all[first+i].Failure = Unreadable
			}
			g.log.Warn("a server does not say how many accesses it has counted", "server", source.Name, "error", err)
		})
	}
	asked.Wait()
	return all
}

var errUnreadable = errors.New("the answer is no summary")

// ask asks one server.
func (s Source) ask(ctx context.Context, days int, byDay bool) (out accesslog.Summary, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	by, base := "hour", s.URL
	if byDay {
		by = "day"
	}
	tr := &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: timeout}
	if socket, ok := strings.CutPrefix(s.URL, unix); ok {
		base = "http://localhost"
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}
	}
	client := &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	at := strings.TrimSuffix(base, "/") + path + "?" + url.Values{"by": {by}, "days": {strconv.Itoa(days)}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return out, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return out, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return out, err
	}
	if resp.StatusCode != http.StatusOK || len(text) > maxAnswer {
		return out, fmt.Errorf("%w: status %d, %d bytes", errUnreadable, resp.StatusCode, len(text))
	}
	return Parse(text)
}

// Parse reads what a server says. Columns that this program does not know are left out, so
// that servers of another version can be asked.
func Parse(text []byte) (s accesslog.Summary, err error) {
	if err := json.Unmarshal(text, &s); err != nil {
		return accesslog.Summary{}, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	for _, t := range s.Totals {
		if t.Time.IsZero() || t.Class == 0 || t.Other > t.Count {
			return accesslog.Summary{}, errUnreadable
		}
	}
	if s.Kept && s.To.IsZero() || s.RawFor < 0 {
		return accesslog.Summary{}, errUnreadable
	}
	return s, nil
}
