package blocks

import (
	"encoding/json"
	"errors"
	"fmt"
)

// The types of an [Event].
const (
	TypeSnapshot  = "snapshot"
	TypeDelta     = "delta"
	TypeHeartbeat = "heartbeat"
)

// Bounds of the feed. A publisher's list is far below them.
const (
	maxLine = 16 << 20 // bytes of one line
	maxPath = 128      // bytes of one identity path
)

// Errors that a [Client] reports. Compare with errors.Is.
var (
	// ErrMalformed: a line of the feed, or the file, is not an event.
	ErrMalformed = errors.New("malformed block list event")
	// ErrRollback: the PKI offers an older list than was seen before, as after
	// a restore from a backup. The newer list stays in force.
	ErrRollback = errors.New("the PKI's block list went back")
	// ErrDiverged: list and digest differ. A snapshot is fetched.
	ErrDiverged = errors.New("the block list differs from the PKI's")
	// ErrSilent: no heartbeat came in time. The last list stays in force.
	ErrSilent = errors.New("the block list feed is silent")
	// errMissed: a heartbeat is ahead; the feed is fetched from where it was.
	errMissed = errors.New("a change of the block list was missed")
)

// Event is one line of the feed.
type Event struct {
	// Type is one of the Type constants; others are ignored.
	Type string `json:"type"`
	// Epoch is the list's epoch after this event.
	Epoch uint64 `json:"epoch"`
	// Block and Unblock are identity paths. A snapshot has the whole list in
	// Block.
	Block   []string `json:"block,omitempty"`
	Unblock []string `json:"unblock,omitempty"`
	// Digest is [List.Digest] after this event.
	Digest string `json:"digest"`
}

// ParseEvent reads one line. Errors wrap [ErrMalformed].
func ParseEvent(line []byte) (Event, error) {
	var e Event
	if len(line) > maxLine {
		return e, fmt.Errorf("%w: %d bytes", ErrMalformed, len(line))
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return e, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if e.Type == "" {
		return e, fmt.Errorf("%w: no type", ErrMalformed)
	}
	for _, paths := range [][]string{e.Block, e.Unblock} {
		for _, p := range paths {
			if p == "" || len(p) > maxPath {
				return e, fmt.Errorf("%w: an identity of %d bytes", ErrMalformed, len(p))
			}
		}
	}
	return e, nil
}

// snapshot gives the event that carries the whole list.
func (l List) snapshot() Event {
	return Event{Type: TypeSnapshot, Epoch: l.epoch, Block: l.Paths(), Digest: l.Digest()}
}

// apply gives the list after the event. The list given stays in force where
// there is an error.
func (l List) apply(e Event) (List, error) {
	if e.Epoch < l.epoch {
		return l, fmt.Errorf("%w: epoch %d after %d", ErrRollback, e.Epoch, l.epoch)
	}
	next := l
	switch e.Type {
	case TypeSnapshot:
		next = NewList(e.Epoch, e.Block...)
	case TypeDelta:
		if e.Epoch == l.epoch {
			return l, fmt.Errorf("%w: a change without a new epoch after %d", ErrRollback, l.epoch)
		}
		next = l.with(e.Epoch, e.Block, e.Unblock)
	case TypeHeartbeat:
		if e.Epoch > l.epoch {
			return l, errMissed
		}
	default:
		return l, nil
	}
	if next.Digest() != e.Digest {
		return l, fmt.Errorf("%w: at epoch %d", ErrDiverged, e.Epoch)
	}
	return next, nil
}
