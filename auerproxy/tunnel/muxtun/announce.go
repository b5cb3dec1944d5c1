package muxtun

import "github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"

var _ tunnel.Announcer = (*session)(nil)

// Announce implements tunnel.Announcer.
func (s *session) Announce(f func()) {
	s.mu.Lock()
	s.announce = f
	waits := s.came > s.taken
	s.mu.Unlock()
	if waits {
		f()
	}
}

// Unaccepted implements tunnel.Announcer. The guard sees a stream before yamux
// does, so that Accept has it in a moment. A stream that yamux refuses, beyond the
// accept backlog, stays among them.
func (s *session) Unaccepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.came - s.taken)
}

// opened is called by yamux' receive loop when the peer opens a stream.
func (s *session) opened() {
	s.mu.Lock()
	s.came++
	f := s.announce
	s.mu.Unlock()
	if f != nil {
		f()
	}
}
