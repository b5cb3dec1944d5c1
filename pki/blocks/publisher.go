package blocks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Path is where the PKI serves the feed.
const Path = "/v1/blocks/stream"

// DefaultHeartbeat is the time between two heartbeats of the feed.
const DefaultHeartbeat = 5 * time.Second

const (
	recentMost   = 1024             // deltas kept for subscribers that come back
	writeTimeout = 10 * time.Second // for one line; a subscriber that reads slower is cut
)

// Publisher serves the feed of one list to any number of subscribers. A slow
// subscriber holds up nobody: each reads the list and the recent changes for
// itself, and nothing is queued for it.
type Publisher struct {
	heartbeat time.Duration

	mu      sync.Mutex // guards what follows; held for a few copies only
	list    List
	recent  []Event       // the last deltas, oldest first
	changed chan struct{} // closed and replaced at each change
}

// NewPublisher starts with a list, e.g. the stored one. A heartbeat of zero
// means [DefaultHeartbeat].
func NewPublisher(list List, heartbeat time.Duration) *Publisher {
	if heartbeat <= 0 {
		heartbeat = DefaultHeartbeat
	}
	return &Publisher{heartbeat: heartbeat, list: list, changed: make(chan struct{})}
}

// List is the list in force.
func (p *Publisher) List() List {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.list
}

// Watch gives the list in force and a channel that closes at the next change.
func (p *Publisher) Watch() (List, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.list, p.changed
}

// Publish changes the list and tells every subscriber. The epoch must be above
// the list's; otherwise nothing changes and the error wraps [ErrRollback].
func (p *Publisher) Publish(epoch uint64, block, unblock []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := Event{Type: TypeDelta, Epoch: epoch, Block: block, Unblock: unblock}
	if epoch <= p.list.epoch {
		return fmt.Errorf("%w: epoch %d after %d", ErrRollback, epoch, p.list.epoch)
	}
	p.list = p.list.with(epoch, block, unblock)
	e.Digest = p.list.Digest()
	if len(p.recent) == recentMost {
		p.recent = append(p.recent[:0:0], p.recent[1:]...) // subscribers may hold the old array
	}
	p.recent = append(p.recent, e)
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

// Update publishes the difference to another list, e.g. one that was read from the
// store. A list that is not newer changes nothing.
func (p *Publisher) Update(list List) error {
	now := p.List()
	if list.epoch <= now.epoch {
		return nil
	}
	return p.Publish(list.epoch, list.without(now), now.without(list))
}

// after gives the events that bring a subscriber from an epoch to now, the epoch
// it then has, and a channel that closes at the next change.
func (p *Publisher) after(since uint64, began bool) (events []Event, now Event, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = Event{Type: TypeHeartbeat, Epoch: p.list.epoch, Digest: p.list.Digest()}
	if since == p.list.epoch && (began || since != 0) {
		return nil, now, p.changed
	}
	for i, e := range p.recent {
		if e.Epoch == since {
			return p.recent[i+1:], now, p.changed
		}
	}
	return []Event{p.list.snapshot()}, now, p.changed
}

// ServeHTTP writes the feed until the request ends. Who may read it is for the
// caller to check.
func (p *Publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	since, err := strconv.ParseUint(r.URL.Query().Get("since"), 10, 64)
	if err != nil && r.URL.Query().Has("since") {
		http.Error(w, "since: want an epoch", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Cache-Control", "no-store")
	// An error means that the subscriber is gone or too slow; it comes back by
	// itself, and there is nobody to tell.
	_ = p.stream(r.Context(), w, since)
}

func (p *Publisher) stream(ctx context.Context, w http.ResponseWriter, since uint64) error {
	control, encode := http.NewResponseController(w), json.NewEncoder(w)
	tick := time.NewTicker(p.heartbeat)
	defer tick.Stop()
	for began := false; ; began = true {
		events, now, changed := p.after(since, began)
		if err := control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		for _, e := range events {
			if err := encode.Encode(e); err != nil {
				return err
			}
		}
		if err := errors.Join(encode.Encode(now), control.Flush()); err != nil {
			return err
		}
		since = now.Epoch
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-tick.C:
		}
	}
}
