package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

// File and fileNew are the names of the state file, and of the next one while it is
// being written.
const (
	File    = "state.json"
	fileNew = "state.json.new"
)

// Store keeps a [State] on a [Disk]. Its methods are safe for concurrent use.
type Store struct {
	disk Disk

	writing sync.Mutex // held while a new state is made and written
	mu      sync.Mutex // guards current; taken after writing
	current *State     // never changed once it is here
}

// Open reads the state, or takes that of first and writes it where there is none. It
// does what [State.Boot] says.
func Open(disk Disk, first func() (*State, error)) (*Store, error) {
	s := &Store{disk: disk}
	data, err := disk.Read(File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		fresh, err := first()
		if err != nil {
			return nil, err
		}
		s.current = fresh
		return s, s.Update(func(*State) error { return nil })
	case err != nil:
		return nil, fmt.Errorf("state of the PBX: %w", err)
	}
	if s.current, err = decode(data); err != nil {
		return nil, fmt.Errorf("%s: %w", File, err)
	}
	next := s.current.Clone()
	if next.Boot(time.Now()) {
		return s, s.write(next)
	}
	s.current = next
	return s, nil
}

// View gives the state of now. It must not be changed.
func (s *Store) View() *State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// Update changes the state: f gets a copy, which is written and then becomes the state
// of now. If f or the writing fails, nothing changes for readers; after a failed
// write, the file may be the new one nevertheless, and the next Update replaces it.
func (s *Store) Update(f func(*State) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	next := s.View().Clone()
	if err := f(next); err != nil {
		return err
	}
	return s.write(next)
}

// write makes next the state. writing is held, or nobody else knows the store.
func (s *Store) write(next *State) error {
	next.Format = Format
	next.Version = max(next.Version+1, time.Now().UnixMilli())
	if c := next.Completing; c != nil && c.Version == 0 {
		c.Version = next.Version
	}
	if err := next.check(); err != nil {
		return fmt.Errorf("state of the PBX: %w", err)
	}
	data, err := json.MarshalIndent(next, "", "\t")
	if err != nil {
		return err
	}
	if err := s.disk.Write(fileNew, data); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	if err := s.disk.Rename(fileNew, File); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	if err := s.disk.Sync(); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	s.mu.Lock()
	s.current = next
	s.mu.Unlock()
	return nil
}
