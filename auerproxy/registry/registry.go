// Package registry says which relay holds which endpoint's session.
//
// It is a hint, never a safety mechanism: every relay is the only authority for
// its own sessions, and checks the target again when a stream is opened. A wrong,
// stale or lost route costs one refused open; it can never deliver a call to the
// wrong device. So a relay keeps serving when its registry fails, and publishes
// its sessions again after the registry has lost them.
//
// A route is replaced, never renewed: there is no lease and no time limit per
// session. Whether the relay of a route lives is known by its incarnation.
//
// [Local] is the registry of one process. The contract suite for every engine is
// package registrytest.
package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Errors that engines wrap.
var (
	// ErrUnavailable: the engine did not answer. Whether the operation took effect
	// is not known; every operation may be repeated.
	ErrUnavailable = errors.New("route registry unavailable")
	// ErrKey: the key can never be stored.
	ErrKey = errors.New("unusable registry key")
)

// SessionID names one session in routes, records and logs: the lower-case hex
// form of Welcome.session, 32 characters.
type SessionID string

// MaxSlotLen is the most characters of a slot's name.
const MaxSlotLen = 64

// Key names what one session at a time may hold.
type Key struct {
	// Endpoint is the session's verified peer.
	Endpoint identity.ID
	// Slot tells the endpoint's parallel sessions apart: 1 to [MaxSlotLen] of
	// A-Z, a-z, 0-9, '-' and '_'.
	Slot string
}

// Validate checks that the key can be stored; the error wraps [ErrKey].
func (k Key) Validate() error {
	if err := k.Endpoint.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if k.Slot == "" || len(k.Slot) > MaxSlotLen || strings.Trim(k.Slot, letters) != "" {
		return fmt.Errorf("%w: slot of %d characters, want 1 to %d of letters, digits, '-' and '_'", ErrKey, len(k.Slot), MaxSlotLen)
	}
	return nil
}

// String gives the key as "<endpoint path>.<slot>", for logs.
func (k Key) String() string { return k.Endpoint.Path() + "." + k.Slot }

// Route says where a session is.
type Route struct {
	// Relay is the id of the relay that holds the session.
	Relay string `json:"relay"`
	// Incarnation is random per start of that relay. A route whose incarnation is
	// not among the living relays' is void.
	Incarnation string `json:"incarnation"`
	// Session is the session's id there.
	Session SessionID `json:"session"`
	// Epoch is the fencing number that Claim gave: of two sessions with one key
	// the one with the lower epoch is void.
	Epoch uint64 `json:"epoch"`
	// Services are the names that the endpoint offered in its hello.
	Services []string `json:"services,omitempty"`
	// Since is when the session began, by the clock of its relay.
	Since time.Time `json:"since"`
}

// Registry is the contract of an engine. All methods may be called at the same
// time from several goroutines, return soon after ctx has ended, and fail with
// [ErrKey], [ErrUnavailable] or the context's error.
//
// Ownership: what is passed in and what is returned belongs to the caller; an
// engine keeps copies.
//
// Permanence: a route lasts until it is released or replaced. An engine may lose
// routes (a restart, a failover); it never makes up or revives one.
type Registry interface {
	// Claim makes r the route of the key, whatever was there: the newest wins. It
	// ignores r.Epoch and gives the epoch of the new route, at least one more than
	// that of every route the key had before and at least the engine's time in
	// milliseconds since 1970. prev is the route that was replaced, nil without
	// one.
	//
	// A claim whose answer was lost may be repeated: it gets a higher epoch, and
	// prev then is the caller's own first attempt, known by its Session.
	Claim(ctx context.Context, k Key, r Route) (epoch uint64, prev *Route, err error)

	// Release removes the key's route if its epoch is the given one, in one step,
	// and says whether it did. A late release of an ended session therefore never
	// removes its successor. False is no error: the route was replaced, released
	// before, or lost. It may be repeated.
	Release(ctx context.Context, k Key, epoch uint64) (bool, error)

	// Lookup gives the routes of an endpoint, one per slot, highest epoch first;
	// none is no error. The answer may be a little old. It may be repeated.
	Lookup(ctx context.Context, endpoint identity.ID) ([]Route, error)
}
