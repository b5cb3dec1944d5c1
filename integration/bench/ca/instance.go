package ca

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/procfs"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/process"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

const (
	host = "127.0.0.1"
	// startPatience bounds the start of a server with a large store.
	startPatience = 5 * time.Minute
	// patience bounds one request. The first ones after a start may wait for what
	// the server does with a large store.
	patience = 2 * time.Minute
	// maxAnswer bounds an answer; a list of a million revocations has 40 MB.
	maxAnswer = 256 << 20
)

// instance is a contestant that runs.
type instance struct {
	contestant contestant
	process    *process.Process
	base       string // URL
	tls        *tls.Config
	begun      time.Time     // start of the program
	started    time.Duration // to the first answer
}

// start starts a contestant and waits for its first answer.
func start(ctx context.Context, c contestant) (*instance, error) {
	port, err := process.FreePort(host)
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort(host, strconv.Itoa(port))
	s := &instance{contestant: c, base: "https://" + address}
	if s.tls, err = c.client(); err != nil {
		return nil, err
	}
	cmd, err := c.command(address)
	if err != nil {
		return nil, err
	}
	s.begun = time.Now()
	if s.process, err = process.Start(cmd, "server"); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.get(ctx, c.health())
		if err == nil {
			s.started = time.Since(s.begun)
			return s, nil
		}
		select {
		case <-tick.C:
			continue
		case <-s.process.Ended():
		case <-ctx.Done():
		}
		s.process.Stop()
		return nil, fmt.Errorf("it does not start: %w%s", err, s.process.Said())
	}
}

// get asks for a path over a connection of its own.
func (s *instance) get(ctx context.Context, path string) error {
	c := s.client()
	defer c.CloseIdleConnections()
	_, err := s.do(ctx, c, http.MethodGet, path, nil)
	return err
}

// client has connections of its own, which stay.
func (s *instance) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{TLSClientConfig: s.tls, MaxConnsPerHost: 1, DisableCompression: true},
		Timeout:   patience,
	}
}

// statusError is an answer that is none of success.
type statusError struct {
	status int
	text   string
}

func (e statusError) Error() string {
	return fmt.Sprintf("%d %s: %s", e.status, http.StatusText(e.status), e.text)
}

// do makes a request; in the answer everything but a success is a [statusError].
func (s *instance) do(ctx context.Context, c *http.Client, method, path string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	err = errors.Join(err, resp.Body.Close())
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		const most = 300
		return nil, statusError{resp.StatusCode, string(text[:min(len(text), most)])}
	}
	return text, nil
}

// usage is that of the server, and of its database on this machine.
func (s *instance) usage() (load.Usage, error) {
	u, err := s.process.Usage()
	if err != nil {
		return u, err
	}
	if pid := s.contestant.backend(); pid != 0 {
		spent, err := score.ReadSpent(procfs.DefaultMountPoint, pid)
		if err != nil {
			return u, err
		}
		u.CPU += spent.Ours
	}
	return u, nil
}

// settle waits until the server has nothing to do any more: not more than a tick of
// processor time in a while.
func (s *instance) settle(ctx context.Context) error {
	const while, tick = 300 * time.Millisecond, 10 * time.Millisecond
	before, err := s.process.Usage()
	for end := time.Now().Add(startPatience); err == nil && time.Now().Before(end); {
		t := time.NewTimer(while)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		var now load.Usage
		if now, err = s.process.Usage(); now.CPU-before.CPU <= tick {
			break
		}
		before = now
	}
	return err
}
