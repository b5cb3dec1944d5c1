package servercert

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/caddyserver/certmagic"
)

// storage keeps files as certmagic does, but locks within this process only, which
// is the only one that uses them. certmagic's lock files make a server that was
// killed wait at its next start. And it has an end, after which nothing is written.
type storage struct {
	certmagic.FileStorage

	gate   sync.RWMutex // held for reading while something is written
	closed bool         // guarded by gate

	mu      sync.Mutex
	locks   map[string]chan struct{} // guarded by mu; closed when the lock is free
	closing bool                     // guarded by mu; nothing is locked any more
}

var errClosed = errors.New("servercert: the server has ended")

var _ certmagic.Storage = (*storage)(nil)

func newStorage(dir string) *storage {
	return &storage{FileStorage: certmagic.FileStorage{Path: dir}, locks: make(map[string]chan struct{})}
}

// Lock waits until name is free.
func (s *storage) Lock(ctx context.Context, name string) error {
	for {
		s.mu.Lock()
		if s.closing {
			s.mu.Unlock()
			return errClosed
		}
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

// close waits for what is done under a lock, and lets nothing be written from then
// on. certmagic's jobs cannot be waited for; they end with their context.
func (s *storage) close() {
	s.mu.Lock()
	s.closing = true
	for len(s.locks) > 0 {
		for _, held := range s.locks {
			s.mu.Unlock()
			<-held
			s.mu.Lock()
			break
		}
	}
	s.mu.Unlock()
	s.gate.Lock()
	s.closed = true
	s.gate.Unlock()
}

// Store writes a file.
func (s *storage) Store(ctx context.Context, key string, value []byte) error {
	return s.write(func() error { return s.FileStorage.Store(ctx, key, value) })
}

// Delete removes a file or a directory.
func (s *storage) Delete(ctx context.Context, key string) error {
	return s.write(func() error { return s.FileStorage.Delete(ctx, key) })
}

func (s *storage) write(f func() error) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return errClosed
	}
	return f()
}

// String is for certmagic's messages.
func (s *storage) String() string { return s.FileStorage.String() }
