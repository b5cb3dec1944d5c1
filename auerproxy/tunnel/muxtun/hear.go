package muxtun

import "github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"

// hear acts on signals that have arrived, in a goroutine that runs while there are
// any: one that waits for them would cost each idle session its stack. It is called
// by yamux' receive loop, which delivers to the goroutine what the guard has seen.
func (s *session) hear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.hears || s.signals == nil || s.heard >= s.conn.guard.signals.Load() {
		return
	}
	s.hears = true
	s.work.Go(s.readSignals)
}

// silent reports whether all signals that have arrived have been acted on; then
// nobody hears any more, until the next one.
func (s *session) silent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heard < s.conn.guard.signals.Load() {
		return false
	}
	s.hears = false
	return true
}

// readSignals acts on the peer's signals until there are no more of them.
func (s *session) readSignals() {
	buf := make([]byte, signalHeader+maxReason)
	have := copy(buf, s.begun)
	for !s.silent() {
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
		s.begun = append(s.begun[:0], buf[:have]...)
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
