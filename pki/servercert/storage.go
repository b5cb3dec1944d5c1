package servercert

import (
	"context"
	"fmt"
	"sync"

	"github.com/caddyserver/certmagic"
)

// storage keeps files as certmagic does, but locks within this process only, which
// is the only one that uses them. certmagic's lock files make a server that was
// killed wait at its next start.
type storage struct {
	certmagic.FileStorage

	mu    sync.Mutex
	locks map[string]chan struct{} // guarded by mu; closed when the lock is free
}

var _ certmagic.Storage = (*storage)(nil)

func newStorage(dir string) *storage {
	return &storage{FileStorage: certmagic.FileStorage{Path: dir}, locks: make(map[string]chan struct{})}
}

// Lock waits until name is free.
func (s *storage) Lock(ctx context.Context, name string) error {
	for {
		s.mu.Lock()
		held := s.locks[name]
		if held == nil {
			s.locks[name] = make(chan struct{})
		}
		s.mu.Unlock()
		if held == nil {
			return nil
		}
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Unlock frees name, which must be locked.
func (s *storage) Unlock(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.locks[name]
	if held == nil {
		return fmt.Errorf("servercert: %s is not locked", name)
	}
	delete(s.locks, name)
	close(held)
	return nil
}

// String is for certmagic's messages.
func (s *storage) String() string { return s.FileStorage.String() }
