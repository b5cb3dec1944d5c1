package agent

import (
	"cmp"
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
)

// slot holds one tunnel: one session to a relay at a time, and its successor.
type slot struct {
	agent *Agent
	index int

	// Owned by run.

	failures  int                  // attempts since the last stable session
	notBefore map[string]time.Time // per relay: it asked not to be tried earlier
	// udpDoubt: the last race was won by TCP, or a QUIC session fell silent. TCP
	// then starts together with QUIC.
	udpDoubt bool
	// silent: the last session over QUIC fell silent.
	silent bool
	// quicWait is the time until QUIC is tried again. It doubles with every failure,
	// that of a session too, until QUIC has held out for as long.
	quicWait time.Duration
	chooser  chooser
	// hurry: the session fell silent under QUIC, so the next attempt does not wait.
	hurry bool

	mu      sync.Mutex // guards what follows
	status  SlotStatus
	current *link // nil without a session
}

func newSlot(a *Agent, i int) *slot {
	return &slot{
		agent: a, index: i, notBefore: make(map[string]time.Time),
		status: SlotStatus{Slot: i, State: StateConnecting, Since: time.Now()},
	}
}

// slotSpread is the longest that a slot other than the first waits at the start,
// so that a fleet's second tunnels do not compete with the first ones.
const slotSpread = 5 * time.Second

// run keeps the tunnel up until ctx ends.
func (s *slot) run(ctx context.Context) {
	defer s.set(StateStopped, nil)
	if s.index > 0 {
		pause(ctx, rand.N(slotSpread), nil)
	}
	for ctx.Err() == nil {
		s.set(StateConnecting, nil)
		l, err := s.round(ctx, "")
		if err == nil {
			err = s.hold(ctx, l)
		}
		if ctx.Err() != nil {
			return
		}
		wait := s.delay(err)
		state := StateWaiting
		if needsPerson(tunnel.CodeOf(err)) {
			state = StateRefused
		}
		s.agent.log.Info("tunnel down", "slot", s.index, "error", err, "retry_in", wait)
		s.set(state, func(st *SlotStatus) {
			st.note(err, s.failures)
			st.NextAttempt = time.Now().Add(wait)
		})
		pause(ctx, wait, nil)
	}
}

// note keeps an error for people.
func (st *SlotStatus) note(err error, failures int) {
	st.Failures = failures
	st.LastCode = tunnel.CodeOf(err)
	st.LastError, st.LastHint = "", ""
	if err != nil {
		st.LastError, st.LastHint = err.Error(), st.LastCode.Info().Hint
	}
}

// delay counts a failure, or a session's end, and gives the wait before the next
// attempt.
func (s *slot) delay(err error) time.Duration {
	t, code := s.agent.cfg.Timing, tunnel.CodeOf(err)
	s.failures++
	if evicted(code) {
		// Whoever did that would do it again: no quick first attempts.
		s.failures = max(s.failures, 4)
	}
	if s.hurry {
		s.hurry = false
		return 0
	}
	d := fullJitter(t.BackoffBase, t.BackoffCap, s.failures)
	if needsPerson(code) {
		d = max(d, t.LongBackoff+rand.N(t.LongBackoff))
	}
	if e, ok := errors.AsType[*tunnel.Error](err); ok && aboutUs(err) {
		d = max(d, e.RetryAfter()) // any relay would say so
	}
	// A relay's own wish is honoured; where one of several has none, that one is
	// asked after the plain back-off.
	var earliest time.Time
	for i, addr := range s.agent.cfg.Relays {
		if nb := s.notBefore[addr]; i == 0 || nb.Before(earliest) {
			earliest = nb
		}
	}
	return max(d, time.Until(earliest))
}

// order lists the relays in the order in which this slot tries them: an order of
// the device's own (rendezvous hashing over serial and address), rotated by the
// slot, with relays that other slots use, and the one to avoid, at the end.
func (s *slot) order(avoid string) []string {
	a := s.agent
	score := func(addr string) uint64 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(a.self.Name + "\x00" + addr)) // never fails
		return mix(h.Sum64())
	}
	relays := slices.Clone(a.cfg.Relays)
	slices.SortFunc(relays, func(x, y string) int { return cmp.Compare(score(y), score(x)) })
	k := s.index % len(relays)
	relays = slices.Concat(relays[k:], relays[:k])

	last := map[string]int{avoid: 2}
	for _, o := range a.slots {
		if o == s {
			continue
		}
		o.mu.Lock()
		if o.current != nil {
			last[o.current.addr]++
		}
		o.mu.Unlock()
	}
	slices.SortStableFunc(relays, func(x, y string) int { return last[x] - last[y] })
	return relays
}

// mix spreads a hash whose high bits depend little on its last input bytes
// (the finaliser of SplitMix64).
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// round tries every relay once, and gives the first session that was welcomed or
// the most telling error.
func (s *slot) round(ctx context.Context, avoid string) (*link, error) {
	var told error
	for _, addr := range s.order(avoid) {
		if time.Now().Before(s.notBefore[addr]) {
			continue
		}
		l, err := s.connect(ctx, addr, s.legs(), s.choice)
		if err == nil {
			return l, nil
		}
		s.agent.log.Debug("relay not reached", "slot", s.index, "relay", addr, "error", err)
		told = moreTelling(told, err)
		if ctx.Err() != nil || aboutUs(err) {
			break
		}
		if e, ok := errors.AsType[*tunnel.Error](err); ok && e.RetryAfterMax > 0 {
			s.notBefore[addr] = time.Now().Add(e.RetryAfter())
		}
	}
	if told == nil {
		told = tunnel.Errorf(tunnel.CodeTryLater, "every relay asked to wait")
	}
	return nil, told
}

// legs are the ways to connect, for the race.
func (s *slot) legs() []leg {
	a := s.agent
	delay := a.cfg.Timing.TCPDelay
	if s.udpDoubt {
		delay = 0
	}
	quic, tcp := leg{tunnel.QUIC, a.quicDialer(), 0}, leg{tunnel.TCP, a.tcpDialer(), delay}
	switch a.cfg.Transport {
	case TransportQUIC:
		return []leg{quic}
	case TransportTCP:
		tcp.delay = 0
		return []leg{tcp}
	default:
		return []leg{quic, tcp}
	}
}

// choice says why a session of a race runs over t.
func (s *slot) choice(t tunnel.Transport) tunnelpb.Choice {
	switch {
	case s.agent.cfg.Transport != TransportAuto:
		return tunnelpb.Choice_CHOICE_CONFIGURED
	case t == tunnel.QUIC:
		return tunnelpb.Choice_CHOICE_PREFERRED
	case s.silent:
		return tunnelpb.Choice_CHOICE_SILENT
	default:
		return tunnelpb.Choice_CHOICE_UNREACHABLE
	}
}

// connect makes one session with addr, welcomed and being served. why tells the
// relay why it runs over the transport that it does.
func (s *slot) connect(ctx context.Context, addr string, legs []leg, why func(tunnel.Transport) tunnelpb.Choice) (*link, error) {
	t := s.agent.cfg.Timing
	s.mu.Lock()
	s.status.Attempts++
	s.mu.Unlock()
	var control *tunnel.Control
	var welcome *tunnel.Welcome
	greet := func(ctx context.Context, ts tunnel.Session) (err error) {
		ctx, cancel := context.WithTimeout(ctx, t.WelcomeTimeout)
		defer cancel()
		hello := s.agent.helloFor(s.index)
		hello.Choice = why(ts.Transport())
		control, welcome, err = tunnel.Connect(ctx, ts, hello)
		return err
	}
	session, err := race(ctx, addr, t.ConnectTimeout, legs, greet)
	if s.agent.cfg.Credentials.Learn(err) { // the clock was behind, and is not now
		session, err = race(ctx, addr, t.ConnectTimeout, legs, greet)
	}
	if err != nil {
		return nil, err
	}
	if len(legs) > 1 {
		s.udpDoubt = session.Transport() == tunnel.TCP
	}
	choice := why(session.Transport())
	if session.Transport() == tunnel.QUIC {
		s.silent = false
	}
	return s.agent.serve(ctx, s, addr, session, control, welcome, choice), nil
}
