package accesslog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	sweepsName = "sweeps"
	// sweepEvery is how long the log may go without a look for what is too old; each
	// segment has its own moment besides.
	sweepEvery = 15 * time.Minute
	// jumpAlarm is how long a jump of the clock is an alarm.
	jumpAlarm = 24 * time.Hour
)

// errRecord: a sweep was done and its record could not be written.
var errRecord = errors.New("the record of a sweep cannot be written")

// ErrChain: the records of deletions are not as they were written.
var ErrChain = errors.New("the chain of sweeps is broken")

// Sweep is the record of one search for what is too old. Each has the hash of the one
// before: SHA-256 of its JSON with an empty hash.
type Sweep struct {
	Time    time.Time `json:"time"` // by the log's clock, UTC
	Service string    `json:"service"`
	Found   int       `json:"found"`   // segments
	Deleted int       `json:"deleted"` // of these
	// Oldest is the hour of the oldest segment that is left; zero: none is.
	Oldest time.Time `json:"oldest,omitzero"`
	// Note says what was unusual.
	Note string `json:"note,omitempty"`
	Prev string `json:"prev"`
	Hash string `json:"hash"`
}

func (s Sweep) hash() (string, error) {
	s.Hash = ""
	text, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// sweeper deletes what is too old. Owned by the worker.
type sweeper struct {
	dir, service string
	fault        func(string) error
	chain        monthly
	prev         string // hash of the last record
}

func newSweeper(dir, service string, fault func(string) error) (*sweeper, error) {
	s := &sweeper{dir: dir, service: service, fault: fault, chain: monthly{dir, sweepsName}}
	line, err := s.chain.last()
	if err != nil || line == nil {
		return s, err
	}
	var last Sweep
	if err := json.Unmarshal(line, &last); err == nil {
		s.prev = last.Hash // else whoever checks the chain finds where it breaks
	}
	return s, nil
}

// sweep deletes the keys of what is too old, then the files, then files without a key,
// which an interrupted sweep has left.
func (s *sweeper) sweep(st *state, now time.Time, note string) error {
	names, err := segments(s.dir)
	if err != nil {
		return err
	}
	found := len(names)
	keep := slices.DeleteFunc(slices.Clone(st.ring), func(k key) bool { return !now.Before(k.expires) })
	var keyErr error
	if len(keep) < len(st.ring) {
		// Where the keys cannot be deleted, the files still can.
		keyErr = st.save(keep)
	}
	deleted, err := s.remove(names, keep)
	if keyErr != nil {
		keyErr = st.save(keep)
	}
	err = errors.Join(err, keyErr)
	r := Sweep{Time: now, Service: s.service, Found: found, Deleted: deleted, Note: note, Prev: s.prev}
	if err != nil {
		r.Note = strings.TrimPrefix(r.Note+"; "+err.Error(), "; ")
	}
	if len(keep) > 0 {
		r.Oldest = slices.MinFunc(keep, byStart).start
	}
	if err != nil {
		_ = s.record(r) // the other error is the graver one
		return err
	}
	return s.record(r)
}

// remove deletes the files of segments whose keys are not among those to keep.
func (s *sweeper) remove(names []string, keep ring) (deleted int, err error) {
	for _, name := range names {
		if id, ok := segmentOf(name); ok {
			if _, ok := keep.find(id); ok {
				continue
			}
		}
		e := s.fault("remove")
		if e == nil {
			e = removeFile(filepath.Join(s.dir, name))
		}
		if err = errors.Join(err, e); e == nil {
			deleted++
		}
	}
	if deleted > 0 {
		err = errors.Join(err, syncDir(s.dir))
	}
	return deleted, err
}

// record appends to the chain.
func (s *sweeper) record(r Sweep) error {
	err := s.fault("sweeps")
	if err == nil {
		r.Hash, err = r.hash()
	}
	var text []byte
	if err == nil {
		text, err = lines([]Sweep{r})
	}
	if err == nil {
		err = s.chain.append(r.Time, text, false)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	s.prev = r.Hash
	return nil
}

// segments lists the names of the files of segments.
func segments(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if filepath.Ext(e.Name()) == segmentExt {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Sweeps gives the records of all deletions, oldest first, and an error that wraps
// [ErrChain] where one was changed or is missing.
func Sweeps(dir string) iter.Seq2[Sweep, error] {
	return func(yield func(Sweep, error) bool) {
		prev := ""
		for s, err := range readMonthly[Sweep](monthly{dir, sweepsName}, time.Time{}, time.Time{}) {
			if err == nil {
				err = s.follows(prev)
			}
			prev = s.Hash
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
}

// follows checks a record and its place behind another one.
func (s Sweep) follows(prev string) error {
	hash, err := s.hash()
	switch {
	case err != nil:
		return err
	case hash != s.Hash:
		return fmt.Errorf("%w: the record of %s was changed", ErrChain, s.Time)
	case s.Prev != prev:
		return fmt.Errorf("%w: one before that of %s is missing", ErrChain, s.Time)
	}
	return nil
}
