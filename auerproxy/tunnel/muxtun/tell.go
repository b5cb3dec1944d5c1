package muxtun

import (
	"time"

	"github.com/hashicorp/yamux"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/stack"
)

// notice is something to be said to the peer besides a stream's bytes: a signal,
// or a FIN.
type notice struct {
	signal *signal
	fin    *yamux.Stream
	told   chan<- struct{} // closed when it has been said; may be nil
}

const (
	// maxNotices bounds what waits to be said. So much waits only where the
	// connection is stuck.
	maxNotices = 16 << 10

	// defaultSignalTimeout is how long the peer may leave its signals unread once
	// the window of the signalling stream is full.
	defaultSignalTimeout = 5 * time.Second
)

// say queues a notice for the teller, a goroutine that runs while there is
// something to say. So Close and Reset never wait for the connection.
func (s *session) say(n notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	if len(s.notices) >= maxNotices {
		err := &tunnel.Error{Code: tunnel.CodeHeartbeatLost, Message: "the connection takes no data"}
		s.work.Go(func() { s.end(err) })
		return
	}
	s.notices = append(s.notices, n)
	if !s.telling {
		s.telling = true
		s.work.Go(s.tell)
	}
}

// tell says what is queued, in order.
func (s *session) tell() {
	stack.Grow()
	for {
		s.mu.Lock()
		batch := s.notices
		s.notices = nil
		if len(batch) == 0 {
			s.telling = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		for _, n := range batch {
			if err := s.tellOne(n); err != nil {
				s.end(err)
				return
			}
		}
	}
}

func (s *session) tellOne(n notice) error {
	if n.fin != nil {
		// An error means that the session ends.
		_ = n.fin.Close()
	}
	if n.signal != nil {
		if err := s.signals.SetWriteDeadline(time.Now().Add(s.signalTimeout)); err != nil {
			return err
		}
		if _, err := s.write(s.signals, n.signal.encode()); err != nil {
			if s.mux.IsClosed() {
				return s.lost(err)
			}
			return &tunnel.Error{Code: tunnel.CodeProtocol, Message: "the peer reads no signals", Cause: err}
		}
	}
	if n.told != nil {
		close(n.told)
	}
	return nil
}
