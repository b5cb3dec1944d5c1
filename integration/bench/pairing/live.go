package pairing

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// live are the events of a page that is open: all that this person sees change.
type live struct {
	c    *client
	stop func() // ends the stream, and returns when it has ended

	mu      sync.Mutex
	state   map[string]store.State   // guarded by mu; by system
	waiting map[string]chan struct{} // guarded by mu; closed when one is paired
	err     error                    // guarded by mu; why there are no more events
}

// follow opens the stream of live events (WHATWG HTML §9.2).
func (c *client) follow(ctx context.Context) (*live, error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/events", nil)
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
	l := &live{c: c, state: make(map[string]store.State), waiting: make(map[string]chan struct{})}
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
			case field == "data" && event == "system":
				var s api.System
				if err := json.Unmarshal([]byte(value), &s); err == nil {
					l.note(s)
				}
			case field == "data" && event == "reset":
				l.end(fmt.Errorf("the stream was too slow"))
			}
		}
		l.end(fmt.Errorf("the stream has ended: %w", lines.Err()))
	})
	l.stop = func() { cancel(); wg.Wait() }
	return l, nil
}

func (l *live) note(s api.System) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state[s.ID] = s.State
	if w := l.waiting[s.ID]; w != nil && s.State == store.StatePaired {
		close(w)
		delete(l.waiting, s.ID)
	}
}

func (l *live) end(err error) {
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

// await waits until the page shows a system as paired.
func (l *live) await(ctx context.Context, id string) error {
	l.mu.Lock()
	if l.state[id] == store.StatePaired {
		l.mu.Unlock()
		return nil
	}
	w := make(chan struct{})
	l.waiting[id] = w
	err := l.err
	l.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-w:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state[id] != store.StatePaired {
		return fmt.Errorf("it is %s: %w", l.state[id], l.err)
	}
	return nil
}
