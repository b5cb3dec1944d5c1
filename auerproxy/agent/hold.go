package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
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
	var next, turn plan // turn is that of the other transport
	defer next.stop()
	defer turn.stop()
	s.begin(l, &turn)
	stable := time.NewTimer(a.cfg.Timing.Stable)
	defer stable.Stop()
	renewed := a.cfg.Credentials.Changed()

	// adopt takes the successor and lets the old session's calls end.
	adopt := func(n *link, until time.Time) {
		old := l
		l = n
		s.use(l)
		old.retire(until)
		next.stop()
		s.begin(l, &turn)
		stable.Reset(a.cfg.Timing.Stable)
		s.set(StateOnline, nil)
	}
	// move makes a successor at the same relay over another transport.
	move := func(way leg, why tunnelpb.Choice, until time.Time) error {
		if next.timer != nil {
			return errLeaving
		}
		n, err := s.connect(ctx, l.addr, []leg{way}, func(tunnel.Transport) tunnelpb.Choice { return why })
		if err != nil {
			a.log.Debug("other transport not reached", "slot", s.index, "relay", l.addr, "transport", way.transport, "error", err)
			return err
		}
		a.log.Info("transport changes", "slot", s.index, "from", l.session.Transport(), "to", way.transport, "why", tunnel.ChoiceName(why))
		adopt(n, until)
		return nil
	}
	toQUIC := func(why tunnelpb.Choice) error {
		return move(leg{tunnel.QUIC, a.quicDialer(), 0}, why, time.Now().Add(moveTime))
	}
	toTCP := func(why tunnelpb.Choice, until time.Time) error {
		return move(leg{tunnel.TCP, a.tcpDialer(), 0}, why, until)
	}

	// endTrial goes back to QUIC.
	endTrial := func(why tunnelpb.Choice) {
		err := toQUIC(why)
		wait := s.chooser.judged(time.Now())
		if err != nil {
			s.chooser.trial = false
			turn.at(jitter(wait, reprobeJitter))
		}
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
				s.hurry = s.failures == 0
				s.fellSilent(l)
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
			adopt(n, a.retireBy(next.until))

		case <-l.doubt:
			// Calls that come now shall not wait until the session is given up. If it
			// comes back, what runs in it goes on.
			if s.auto() && l.session.Transport() == tunnel.QUIC {
				old := l
				if toTCP(tunnelpb.Choice_CHOICE_SILENT, a.retireBy(time.Time{})) == nil {
					s.fellSilent(old)
					s.begin(l, &turn)
				}
			}

		case v := <-l.views:
			// Behind a proxy TCP would measure the way to the proxy.
			if !s.auto() || a.cfg.Proxy != "" {
				continue
			}
			switch s.chooser.see(time.Now(), l.session.Transport(), v) {
			case stay:
			case tryTCP:
				a.log.Info("QUIC loses packets: TCP is tried", "slot", s.index, "loss", s.chooser.quic.loss, "bytes_per_second", s.chooser.quic.rate)
				if toTCP(tunnelpb.Choice_CHOICE_TRIAL, time.Now().Add(moveTime)) != nil {
					s.chooser.judged(time.Now())
				}
			case keepTCP:
				l.choice = tunnelpb.Choice_CHOICE_MEASURED
				turn.at(jitter(s.chooser.judged(time.Now()), reprobeJitter))
				s.compared(l)
			case backToQUIC:
				s.compared(l)
				endTrial(tunnelpb.Choice_CHOICE_MEASURED)
			}

		case <-turn.due():
			switch {
			case s.chooser.trial: // too little to compare
				endTrial(tunnelpb.Choice_CHOICE_PREFERRED)
			case toQUIC(tunnelpb.Choice_CHOICE_PREFERRED) != nil:
				s.quicWait = min(2*s.quicWait, a.cfg.Timing.ReprobeMax)
				turn.at(jitter(s.quicWait, reprobeJitter))
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

const reprobeJitter = 0.2

// errLeaving: the relay wants to be left, which goes before the transport.
var errLeaving = errors.New("the session is about to move to another relay")

// auto reports whether the slot may choose its transport.
func (s *slot) auto() bool { return s.agent.cfg.Transport == TransportAuto }

// begin starts to judge a session, and sets the turn of QUIC while another one runs.
func (s *slot) begin(l *link, turn *plan) {
	trial := l.choice == tunnelpb.Choice_CHOICE_TRIAL
	s.chooser.begin(trial)
	turn.stop()
	switch {
	case !s.auto() || l.session.Transport() == tunnel.QUIC:
	case trial:
		turn.at(trialTime)
	default:
		s.quicWait = max(s.quicWait, s.agent.cfg.Timing.ReprobeMin)
		turn.at(jitter(s.quicWait, reprobeJitter))
	}
}

// fellSilent notes that a session over QUIC got no answer any more. One that did not
// live as long as QUIC was waited for doubles that wait.
func (s *slot) fellSilent(l *link) {
	s.udpDoubt, s.silent = true, true
	t := s.agent.cfg.Timing
	if s.quicWait > 0 && time.Since(l.since) < s.quicWait {
		s.quicWait = min(2*s.quicWait, t.ReprobeMax)
	} else {
		s.quicWait = t.ReprobeMin
	}
}

// compared shows the figures of a comparison.
func (s *slot) compared(l *link) {
	list := []Compared{s.chooser.quic.of(tunnel.QUIC), s.chooser.tcp.of(tunnel.TCP)}
	s.agent.log.Info("transports compared", "slot", s.index, "loss_quic", list[0].Loss, "loss_tcp", list[1].Loss,
		"bytes_per_second_quic", list[0].Rate, "bytes_per_second_tcp", list[1].Rate)
	s.set(s.state(), func(st *SlotStatus) { st.Compared, st.Choice = list, tunnel.ChoiceName(l.choice) })
}
