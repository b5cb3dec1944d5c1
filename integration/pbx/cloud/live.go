package cloud

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// Live are the events of a page that is open: all that this person sees change.
type Live struct {
	stop   func() // ends the stream, and returns when it has ended
	events atomic.Int64

	mu      sync.Mutex
	state   map[string]store.State   // guarded by mu; by system
	waiting map[string]chan struct{} // guarded by mu; closed when one changes
	err     error                    // guarded by mu; why there are no more events
}

// errStopped: nobody follows any more.
var errStopped = errors.New("the stream was stopped")

// Follow opens the stream of live events (WHATWG HTML §9.2). Stop has to be called.
func (c *Client) Follow(ctx context.Context) (*Live, error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := c.request(ctx, http.MethodGet, "/events", nil)
	if err != nil {
		cancel()
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		err = fmt.Errorf("live events: %s", resp.Status)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	l := &Live{state: make(map[string]store.State), waiting: make(map[string]chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() { _ = resp.Body.Close() }()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		event := ""
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case field == "event":
				event = value
				l.events.Add(1)
			case field == "data" && event == "system":
				var s api.System
				if err := json.Unmarshal([]byte(value), &s); err == nil {
					l.note(s)
				}
			case field == "data" && event == "reset":
				l.end(errors.New("the stream was too slow"))
			}
		}
		err := lines.Err()
		if err == nil {
			err = errors.New("the control centre has ended it")
		}
		l.end(fmt.Errorf("the stream of events: %w", err))
	})
	l.stop = func() { l.end(errStopped); cancel(); wg.Wait() }
	return l, nil
}

// Events is how many there have been.
func (l *Live) Events() int64 { return l.events.Load() }

// Stop ends the stream. Who waits gets an error.
func (l *Live) Stop() { l.stop() }

func (l *Live) note(s api.System) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state[s.ID] = s.State
	if w := l.waiting[s.ID]; w != nil {
		close(w)
		delete(l.waiting, s.ID)
	}
}

func (l *Live) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	for id, w := range l.waiting {
		close(w)
		delete(l.waiting, id)
	}
}

// Await waits until the page shows a system in a state. What it showed before Follow is
// not known.
func (l *Live) Await(ctx context.Context, id string, want store.State) error {
	for {
		l.mu.Lock()
		if l.state[id] == want {
			l.mu.Unlock()
			return nil
		}
		if l.err != nil {
			defer l.mu.Unlock()
			return fmt.Errorf("it is %q: %w", l.state[id], l.err)
		}
		w := l.waiting[id]
		if w == nil {
			w = make(chan struct{})
			l.waiting[id] = w
		}
		l.mu.Unlock()
		select {
		case <-w:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
