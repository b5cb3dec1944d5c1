package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// Format is the version of the file's layout. A reader refuses another one.
const Format = 1

// File and fileNew are the names of the file, and of the next one while it is written.
const (
	File    = "remote.json"
	fileNew = "remote.json.new"
)

const (
	maxOver     = 32  // sessions that are over and still known; the oldest go
	maxMessages = 100 // the oldest go
)

// Event is what a system message tells of.
type Event string

// The events.
const (
	Started  Event = "started"
	Extended Event = "extended"
	Over     Event = "over" // or refused, or expired; see Message.State
)

// Message is a system message. It has no content of a session.
type Message struct {
	At    time.Time `json:"at"`
	Event Event     `json:"event"`
	// The rest is as in the session of then.
	Session grant.SessionID `json:"session"`
	Tenant  string          `json:"tenant"`
	User    string          `json:"user"`
	Reason  string          `json:"reason"`
	Service grant.Service   `json:"service"`
	Target  string          `json:"target,omitempty"`
	State   grant.State     `json:"state"`
	Cause   grant.Cause     `json:"cause,omitempty"`
	Consent wire.Consent    `json:"consent,omitempty"`
	Until   time.Time       `json:"until,omitzero"`
	In      int64           `json:"bytes_in"`
	Out     int64           `json:"bytes_out"`
}

// Queued is a report that the CCC has not acknowledged. Seq tells it from others, and
// grows.
type Queued struct {
	Seq    int64             `json:"seq"`
	Report wire.RemoteReport `json:"report"`
}

// book is what is remembered: its fields are the keys of the file. Its methods are the
// steps; each can be done to a copy first.
type book struct {
	Format int `json:"format"`
	// Installed tells whose book it is: another PBX after a factory reset.
	Installed time.Time `json:"installed"`
	Seq       int64     `json:"seq"`
	Sessions  []Session `json:"sessions,omitempty"` // oldest first
	Reports   []Queued  `json:"reports,omitempty"`  // in order
	Messages  []Message `json:"messages,omitempty"` // oldest first
}

func (b *book) clone() *book {
	c := *b
	c.Sessions, c.Reports, c.Messages = slices.Clone(b.Sessions), slices.Clone(b.Reports), slices.Clone(b.Messages)
	return &c
}

// find gives the session to read or change, nil if there is none.
func (b *book) find(id grant.SessionID) *Session {
	for i := range b.Sessions {
		if b.Sessions[i].ID == id {
			return &b.Sessions[i]
		}
	}
	return nil
}

func (b *book) count(state grant.State) (n int) {
	for _, s := range b.Sessions {
		if s.State == state {
			n++
		}
	}
	return n
}

// add takes a pending session.
func (b *book) add(s Session) {
	s.State = grant.Pending
	b.Sessions = append(b.Sessions, s)
	over := len(b.Sessions) - b.count(grant.Pending) - b.count(grant.Active)
	b.Sessions = slices.DeleteFunc(b.Sessions, func(s Session) bool {
		if !s.State.Final() || over <= maxOver {
			return false
		}
		over--
		return true
	})
}

// consent lets a pending session in.
func (b *book) consent(id grant.SessionID, how wire.Consent, life time.Duration, now time.Time) error {
	s := b.find(id)
	switch {
	case s == nil:
		return ErrUnknown
	case s.State != grant.Pending || !now.Before(s.Expires):
		return ErrState
	}
	s.State, s.Consent, s.Started, s.Until = grant.Active, how, now, now.Add(life)
	b.tell(*s, Started, now)
	return nil
}

// extend gives an active session that has asked for it more time.
func (b *book) extend(id grant.SessionID, life time.Duration, now time.Time) error {
	s := b.find(id)
	switch {
	case s == nil:
		return ErrUnknown
	case s.State != grant.Active || s.Extension == 0 || !now.Before(s.Until):
		return ErrState
	}
	s.Extension, s.ExtensionRefused = 0, false
	if until := now.Add(life); until.After(s.Until) {
		s.Until = until
	}
	b.tell(*s, Extended, now)
	return nil
}

// finish ends a session where the cause can; done tells.
func (b *book) finish(id grant.SessionID, why grant.Cause, now time.Time) (done bool) {
	s := b.find(id)
	if s == nil {
		return false
	}
	to, ok := final(s.State, why)
	if !ok {
		return false
	}
	s.State, s.Cause, s.Ended, s.Extension = to, why, now, 0
	b.tell(*s, Over, now)
	return true
}

// tell queues a report and makes a system message.
func (b *book) tell(s Session, e Event, now time.Time) {
	b.Seq++
	b.Reports = append(b.Reports, Queued{b.Seq, s.report(now)})
	b.Messages = append(b.Messages, Message{
		At: now, Event: e, Session: s.ID, Tenant: s.Tenant, User: s.User, Reason: s.Reason, Service: s.Service, Target: s.Target,
		State: s.State, Cause: s.Cause, Consent: s.Consent, Until: s.Until, In: s.In, Out: s.Out,
	})
	b.Messages = slices.Delete(b.Messages, 0, max(0, len(b.Messages)-maxMessages))
}

// told removes a report that was acknowledged.
func (b *book) told(seq int64) {
	b.Reports = slices.DeleteFunc(b.Reports, func(q Queued) bool { return q.Seq == seq })
}

// forget begins a new book, of which the CCC has yet to hear what it has to know.
func (b *book) forget(installed time.Time) {
	b.Installed, b.Sessions, b.Messages = installed, nil, nil
}

// boot ends what a restart, or a factory reset that it has interrupted, ends. It tells
// whether there was anything to do.
func (b *book) boot(installed, now time.Time) (changed bool) {
	why, other := grant.CauseRestart, !b.Installed.Equal(installed)
	if other {
		why = grant.CauseReset
	}
	for _, s := range b.Sessions {
		changed = b.finish(s.ID, why, now) || changed
	}
	if other {
		changed = changed || len(b.Sessions)+len(b.Messages) > 0
		b.forget(installed)
	}
	return changed
}

// ErrCorrupt: the file does not hold what this package writes.
var ErrCorrupt = errors.New("not a file about remote access of a PBX")

// disk is a directory for a few small files. state.Dir and state.Memory are some, and
// state.Disk says what each method does.
type disk interface {
	Read(name string) ([]byte, error)
	Write(name string, data []byte) error
	Rename(from, to string) error
	Remove(name string) error
	List() ([]string, error)
	Sync() error
}

// read gives the book, an empty one of the PBX installed then where there is no file.
func read(d disk, installed time.Time) (*book, error) {
	data, err := d.Read(File)
	if errors.Is(err, fs.ErrNotExist) {
		return &book{Format: Format, Installed: installed}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("remote access: %w", err)
	}
	b := new(book)
	if err := json.Unmarshal(data, b); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", File, ErrCorrupt, err)
	}
	if b.Format != Format {
		return nil, fmt.Errorf("%s: %w: format %d, want %d", File, ErrCorrupt, b.Format, Format)
	}
	for _, s := range b.Sessions {
		if !s.ID.Valid() || !s.State.Valid() || s.State == grant.Requested {
			return nil, fmt.Errorf("%s: %w: session %q in state %q", File, ErrCorrupt, s.ID, s.State)
		}
	}
	return b, nil
}

// write replaces the file.
func write(d disk, b *book) error {
	data, err := json.MarshalIndent(b, "", "\t")
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return d.Write(fileNew, data) },
		func() error { return d.Rename(fileNew, File) },
		d.Sync,
	} {
		if err := step(); err != nil {
			return fmt.Errorf("write about remote access: %w", err)
		}
	}
	return nil
}
