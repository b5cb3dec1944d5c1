package agent

import (
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
)

// The bounds within which a relay may set the heartbeat, and its jitter.
const (
	minHeartbeat    = time.Second
	maxHeartbeat    = 5 * time.Minute
	heartbeatJitter = 0.1
)

// A heartbeat over QUIC that has no answer is sent again, so often and each so small a
// part of the interval after the one before. A relay that came back answers what
// belonged to its predecessor with a reset, but not more at once than it has time
// for, and QUIC itself waits twice as long before each next try.
const (
	askAgain     = 4
	askAgainPart = 10
)

// heartbeatPadding makes the frame longer than 40 bytes: a relay that was
// restarted answers a QUIC packet of that size with a stateless reset (RFC 9000
// §10.3), so the device knows after one heartbeat instead of the idle timeout.
var heartbeatPadding = make([]byte, 40)

// pulse is what the two heartbeat loops of a link share.
type pulse struct {
	every time.Duration // 0: the relay wants none

	mu   sync.Mutex // guards what follows
	seq  uint64
	sent time.Time
	back bool // the last one was answered
}

func newPulse(w *tunnel.Welcome) *pulse {
	every := time.Duration(w.GetHeartbeatMs()) * time.Millisecond
	if every > 0 {
		every = min(max(every, minHeartbeat), maxHeartbeat)
	}
	return &pulse{every: every, back: true}
}

// begin begins the next heartbeat, and reports whether the last one was answered.
func (p *pulse) begin() (answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answered = p.back
	p.seq, p.sent, p.back = p.seq+1, time.Now(), false
	return answered
}

// last gives the number of the heartbeat that was begun last, and when that was.
func (p *pulse) last() (seq uint64, sent time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seq, p.sent
}

func (p *pulse) answered() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.back
}

// patience is how long nothing may come back: two heartbeats went unanswered,
// with half a heartbeat for jitter and the way.
func (p *pulse) patience() time.Duration { return p.every * 5 / 2 }

// beat sends heartbeats until the session ends.
func (l *link) beat() {
	p := l.pulse
	if p.every == 0 {
		return
	}
	t := time.NewTimer(rand.N(p.every)) // a fleet that connects at once beats spread out
	defer t.Stop()
	again := 0
	if l.session.Transport() == tunnel.QUIC {
		again = askAgain
	}
	for l.elapsed(t) {
		next := time.Now().Add(jitter(p.every, heartbeatJitter))
		if !p.begin() {
			select {
			case l.doubt <- struct{}{}:
			default: // the slot has not looked at the one before yet
			}
		}
		if !l.ask() {
			return
		}
		for range again {
			t.Reset(p.every / askAgainPart)
			if !l.elapsed(t) {
				return
			}
			if p.answered() {
				break
			}
			if !l.ask() {
				return
			}
		}
		t.Reset(time.Until(next))
	}
}

// elapsed waits for the timer, and reports false where the session ended before.
func (l *link) elapsed(t *time.Timer) bool {
	select {
	case <-l.session.Done():
		return false
	case <-t.C:
		return true
	}
}

// ask sends the heartbeat that was begun last, and ends the session where it cannot.
func (l *link) ask() bool {
	seq, sent := l.pulse.last()
	err := l.control.Send(&tunnel.Frame{Frame: &tunnelpb.Control_Heartbeat{Heartbeat: &tunnelpb.Heartbeat{
		Seq: seq, SentUnixNs: sent.UnixNano(),
		RttUs:   uint32(min(time.Duration(l.rtt.Load()).Microseconds(), 1<<32-1)), //nolint:gosec // bounded in the same line
		Path:    tunnel.PathOf(l.session),
		Padding: heartbeatPadding,
	}}})
	if err != nil {
		l.lost(err)
	}
	return err == nil
}

// listen answers the control stream until the session ends. Silence ends it.
func (l *link) listen() {
	for {
		if l.pulse.every > 0 {
			if err := l.control.SetReadDeadline(time.Now().Add(l.pulse.patience())); err != nil {
				l.lost(err)
				return
			}
		}
		f, err := l.control.Receive()
		if err == nil {
			err = l.onFrame(f)
		}
		if err != nil {
			l.lost(err)
			return
		}
	}
}

// measure looks at the path, of which the relay has told its side.
func (l *link) measure(down tunnel.Path) {
	m, ok := l.session.(tunnel.Measurer)
	if !ok {
		return
	}
	up, ok := m.Path()
	if !ok {
		return
	}
	v := view{up: up, down: down}
	l.mu.Lock()
	l.seen = &v
	l.mu.Unlock()
	select {
	case <-l.views: // the slot has not looked at the one before
	default:
	}
	l.views <- v // listen alone sends
}

// lost ends the session after an error of its control stream.
func (l *link) lost(err error) {
	code := tunnel.CodeProtocol
	if errors.Is(err, os.ErrDeadlineExceeded) {
		code = tunnel.CodeHeartbeatLost
	}
	_ = l.session.CloseWithError(code, "control stream: "+code.Info().Name) // counts only if it has not ended
}

func (l *link) onFrame(f *tunnel.Frame) error {
	switch f := f.GetFrame().(type) {
	case *tunnelpb.Control_HeartbeatAck:
		p := l.pulse
		p.mu.Lock()
		if f.HeartbeatAck.GetSeq() == p.seq && p.seq > 0 {
			l.rtt.Store(int64(max(time.Since(p.sent), 1)))
			p.back = true
		}
		p.mu.Unlock()
		l.measure(tunnel.PathFrom(f.HeartbeatAck.GetPath()))
	case *tunnelpb.Control_GoAway:
		select {
		case l.goaway <- f.GoAway:
		default: // the slot has not looked at the one before yet
		}
	case *tunnelpb.Control_Probe:
		return l.control.Send(&tunnel.Frame{Frame: &tunnelpb.Control_ProbeAck{ProbeAck: &tunnelpb.ProbeAck{Nonce: f.Probe.GetNonce()}}})
	}
	return nil
}
