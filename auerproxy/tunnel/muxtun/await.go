package muxtun

import (
	"errors"

	"github.com/hashicorp/yamux"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

var _ tunnel.Awaiter = (*stream)(nil)

// waiter is what waits for a stream's next byte. It is guarded by the session's mu.
type waiter struct {
	call   func() // nil while nothing waits
	asking bool   // Await has not returned yet, so that nothing is called
	missed bool   // there was something to call for meanwhile
}

// Await implements tunnel.Awaiter.
//
// yamux says nothing about what it delivers, but the guard sees each frame before
// yamux does, and calls arrived. A frame that it saw before f was registered is found
// by a look into yamux' buffer afterwards, provided that yamux has nothing in its
// hands: it has delivered all that it got when it asks the connection for more. So
// Await gives up where yamux does not wait for the connection just then.
func (s *stream) Await(f func()) bool {
	if !s.register(f) {
		return false
	}
	idle := s.session.conn.receiving.Load() && !s.readable()
	if idle {
		s.mux.Shrink()
	}
	return s.session.registered(s, idle)
}

// register has f wait, but not called yet; false where Read fails anyway.
func (s *stream) register(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readErr != nil {
		return false
	}
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	if s.session.over {
		return false
	}
	s.waiter = waiter{call: f, asking: true}
	s.session.conn.guard.awaiting.Add(1)
	return true
}

// registered lets what waits for the stream be called from now on, or takes it back.
func (s *session) registered(st *stream, idle bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.waiter.asking = false
	if !idle || st.waiter.missed {
		s.takeWaiterLocked(st)
		return false
	}
	return true
}

func (s *session) takeWaiterLocked(st *stream) (call func()) {
	call = st.waiter.call
	st.waiter = waiter{}
	s.conn.guard.awaiting.Add(-1)
	return call
}

// readable looks whether yamux has something for Read.
func (s *stream) readable() bool {
	_ = s.mux.SetReadDeadline(past)
	_, err := s.mux.Read(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readErr == nil {
		_ = s.mux.SetReadDeadline(s.readDeadline)
	}
	return !errors.Is(err, yamux.ErrTimeout)
}

// arrived is called by the guard, in yamux' receive loop, when a frame is about to
// say something to a stream's reader.
func (s *session) arrived(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[id]; st != nil {
		s.stirLocked(st)
	}
}

// stir calls what waits for the stream, if anything does.
func (s *session) stir(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stirLocked(st)
}

func (s *session) stirLocked(st *stream) {
	switch {
	case st.waiter.call == nil:
	case st.waiter.asking:
		st.waiter.missed = true
	default:
		go s.takeWaiterLocked(st)()
	}
}
