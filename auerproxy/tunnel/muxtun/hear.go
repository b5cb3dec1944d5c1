package muxtun

import "github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"

// readSignals acts on the peer's signals until the session ends.
func (s *session) readSignals() {
	buf := make([]byte, signalHeader+maxReason)
	have := 0
	for {
		n, err := s.signals.Read(buf[have:])
		have += n
		at := 0
		for {
			sig, size, perr := parseSignal(buf[at:have])
			if perr == nil && size > 0 {
				perr = s.act(sig)
			}
			if perr != nil {
				s.end(perr)
				return
			}
			if size == 0 {
				break
			}
			at += size
		}
		have = copy(buf, buf[at:have])
		s.hasHeard(n)
		if err != nil {
			s.end(s.lost(err))
			return
		}
	}
}

// act acts on a signal. An error ends the session.
func (s *session) act(sig signal) error {
	switch sig.kind {
	case signalReset, signalStop:
		return s.signalled(sig)
	case signalClose:
		return &tunnel.Error{Code: sig.code, Message: sig.reason, Remote: true}
	default:
		return nil
	}
}

func (s *session) hasHeard(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard += int64(n)
	if s.hearing != nil {
		close(s.hearing)
		s.hearing = nil
	}
}

// catchUp waits until the signals have been acted on that have arrived. A FIN
// arrives behind the reset that it belongs to, but in another goroutine: without
// this a flow that was cut could look complete.
func (s *session) catchUp() {
	arrived := s.conn.guard.signals.Load()
	for {
		s.mu.Lock()
		if s.heard >= arrived {
			s.mu.Unlock()
			return
		}
		if s.hearing == nil {
			s.hearing = make(chan struct{})
		}
		hearing := s.hearing
		s.mu.Unlock()
		select {
		case <-hearing:
		case <-s.done:
			return
		}
	}
}
