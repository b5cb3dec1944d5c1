package agent

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// renewalSpread is the longest wait before a session moves to a new certificate.
const renewalSpread = time.Minute

// plan is a wish for a successor of the session that a slot holds.
type plan struct {
	timer *time.Timer // nil: no successor is wanted
	avoid string      // relay to try last
	until time.Time   // when the old session's calls must have ended; zero: Timing.Retire
}

func (p *plan) due() <-chan time.Time {
	if p.timer == nil {
		return nil
	}
	return p.timer.C
}

func (p *plan) at(d time.Duration) {
	p.stop()
	p.timer = time.NewTimer(d)
}

func (p *plan) stop() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// hold keeps a session, and replaces it by a better one before it ends, until the
// current one ends. It gives the reason. On return no session is current; those
// that were replaced end by themselves.
func (s *slot) hold(ctx context.Context, l *link) error {
	a := s.agent
	var next plan
	defer next.stop()
	probe := newReprobe(a.cfg, l)
	defer func() { probe.stop() }()
	stable := time.NewTimer(a.cfg.Timing.Stable)
	defer stable.Stop()
	renewed := a.cfg.Credentials.Changed()

	// adopt takes the successor and lets the old session's calls end.
	adopt := func(n *link) {
		old := l
		l = n
		s.use(l)
		old.retire(a.retireBy(next.until))
		next.stop()
		probe.stop()
		probe = newReprobe(a.cfg, l)
		stable.Reset(a.cfg.Timing.Stable)
		s.set(StateOnline, nil)
	}

	s.use(l)
	s.set(StateOnline, nil)
	for {
		select {
		case <-ctx.Done():
			<-l.done
			s.use(nil)
			return ctx.Err()

		case <-l.done:
			s.use(nil)
			err := l.err()
			if tunnel.CodeOf(err) == tunnel.CodeHeartbeatLost && l.session.Transport() == tunnel.QUIC {
				s.hurry, s.udpDoubt = s.failures == 0, true
			}
			return err

		case <-stable.C:
			s.failures = 0
			s.set(s.state(), func(st *SlotStatus) { st.Failures = 0 })

		case g := <-l.goaway:
			wait := time.Duration(0)
			if spread := time.Duration(g.GetSpreadMs()) * time.Millisecond; spread > 0 {
				wait = rand.N(spread)
			}
			if time.Since(l.since) < a.cfg.Timing.Stable {
				// A relay that welcomes and sends away at once must not make a loop.
				wait = max(wait, s.delay(nil))
				stable.Stop()
			}
			next.avoid, next.until = l.addr, time.Time{}
			if d := time.Duration(g.GetDeadlineMs()) * time.Millisecond; d > 0 {
				next.until = time.Now().Add(d)
			}
			next.at(wait)
			a.log.Info("relay asks to move", "slot", s.index, "relay", l.addr, "reason", g.GetReason(), "in", wait)
			s.set(StateMoving, func(st *SlotStatus) { st.NextAttempt = time.Now().Add(wait) })

		case <-renewed:
			renewed = a.cfg.Credentials.Changed()
			if next.timer == nil {
				next.avoid, next.until = "", time.Time{}
				next.at(rand.N(renewalSpread))
			}

		case <-next.due():
			n, err := s.round(ctx, next.avoid)
			if err != nil {
				wait := s.delay(err)
				next.at(wait)
				s.set(StateMoving, func(st *SlotStatus) {
					st.note(err, s.failures)
					st.NextAttempt = time.Now().Add(wait)
				})
				continue
			}
			adopt(n)

		case <-probe.due():
			if n, err := s.connect(ctx, l.addr, []leg{{tunnel.QUIC, a.quicDialer(), 0}}); err != nil {
				probe.failed()
			} else {
				s.udpDoubt = false
				adopt(n)
			}
		}
	}
}

func (s *slot) state() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.State
}

// retireBy gives the time at which a replaced session is closed at the latest.
func (a *Agent) retireBy(until time.Time) time.Time {
	if until.IsZero() {
		return time.Now().Add(a.cfg.Timing.Retire)
	}
	return until
}

// reprobe times the tries of QUIC while a session runs over TCP.
type reprobe struct {
	timer    *time.Timer // nil: nothing to try
	interval time.Duration
	most     time.Duration
}

const reprobeJitter = 0.2

func newReprobe(cfg Config, l *link) *reprobe {
	r := &reprobe{interval: cfg.Timing.ReprobeMin, most: cfg.Timing.ReprobeMax}
	if cfg.Transport == TransportAuto && l.session.Transport() == tunnel.TCP {
		r.timer = time.NewTimer(jitter(r.interval, reprobeJitter))
	}
	return r
}

func (r *reprobe) due() <-chan time.Time {
	if r.timer == nil {
		return nil
	}
	return r.timer.C
}

// failed sets the next try, twice as far away.
func (r *reprobe) failed() {
	r.interval = min(2*r.interval, r.most)
	r.timer.Reset(jitter(r.interval, reprobeJitter))
}

func (r *reprobe) stop() {
	if r.timer != nil {
		r.timer.Stop()
	}
}
