package fleet

import (
	"container/list"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/presence"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Status is a PBX as the relays see it.
type Status struct {
	Online bool
	// Since is when it came online, or when the last session ended; by the relay's
	// clock.
	Since time.Time
	// Transport, RTT and Relay are those of its newest session, also after the end of
	// that. RTT is the last round trip that the PBX measured, 0 if none. Relay is the
	// path of the relay's identity, e.g. "relay/fra-1".
	Transport tunnel.Transport
	RTT       time.Duration
	Relay     string
	// Boot stands for the start of its program that made that session, as a
	// presence.Tag; 0: it does not say.
	Boot uint64
	// Expires is until when the certificate of that session is good; zero: not known.
	Expires time.Time
	// Reason is why it is offline, [tunnel.CodeOK] while it is not. With
	// [tunnel.CodeUnreachable] its relay is lost, and whether it is online is not known.
	// With [tunnel.CodeQuarantined] there were two holders of its certificate at once.
	// ByPBX says that the reason is the PBX's own word.
	Reason tunnel.Code
	ByPBX  bool
}

// Presence is the store. Make it with [New], run it with [Presence.Run]. All methods may
// be called at any time from several goroutines.
type Presence struct {
	cfg     Config
	log     hclog.Logger
	metrics *metrics
	known   chan struct{}
	wake    chan struct{} // the first of gone has changed

	mu     sync.RWMutex // guards what follows
	pbxs   map[identity.Serial]*pbx
	relays map[string]*relay // by address
	told   int               // relays of which something was told
	online int
	gone   *list.List // of *pbx: online without a session, by the time of that
	past   *list.List // of *pbx: offline, by the time of that
	held   holders
	subs   map[*subscription]struct{}
}

// relay is what one relay has told.
type relay struct {
	id       string
	told     bool // at least once, or that it is lost
	tells    bool // now: it has not been lost since it told its sessions
	sessions map[presence.SessionID]*pbx
}

// pbx is one PBX.
type pbx struct {
	serial   identity.Serial
	sessions []session // usually one
	status   Status
	// at is its place in gone or past; nil: it has a session.
	at   *list.Element
	due  time.Time // in gone: when it goes offline
	next Status    // in gone: as what

	holding
}

// session is one session of a PBX.
type session struct {
	id        presence.SessionID
	relay     *relay
	epoch     uint64
	since     time.Time
	transport tunnel.Transport
	rtt       time.Duration
	holder    holder
	expires   time.Time
}

// maxSessions is how many sessions of one PBX are known: it has one for each of its
// tunnels, and for each that it is about to leave. Of more the oldest are forgotten.
const maxSessions = 16

// New checks the configuration; it starts nothing.
func New(cfg Config) (*Presence, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := cfg.checkRuntime(); err != nil {
		return nil, err
	}
	cfg.fill()
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("fleet: metrics: %w", err)
	}
	p := &Presence{
		cfg: cfg, log: cfg.Logger, metrics: m,
		known: make(chan struct{}), wake: make(chan struct{}, 1),
		pbxs: make(map[identity.Serial]*pbx), relays: make(map[string]*relay),
		gone: list.New(), past: list.New(), held: newHolders(),
		subs: make(map[*subscription]struct{}),
	}
	for _, l := range cfg.Watch.Relays() {
		p.relays[l.Relay] = newRelay()
	}
	return p, nil
}

func newRelay() *relay { return &relay{sessions: make(map[presence.SessionID]*pbx)} }

// Run watches until ctx ends, and returns when all that it started has ended. The error
// is nil at ctx's end.
func (p *Presence) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { p.settle(ctx) })
	err := p.cfg.Watch.WatchPresence(ctx, p.update)
	done := ctx.Err() != nil
	cancel()
	wg.Wait()
	if done {
		return nil
	}
	return err
}

// Known is closed when each relay has told all its sessions once, or could not be
// reached. Before that a PBX that is not online may well be.
func (p *Presence) Known() <-chan struct{} { return p.known }

// Status gives what is known of a PBX; false where nothing is: it was never seen, or was
// forgotten.
func (p *Presence) Status(s identity.Serial) (Status, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	b := p.pbxs[s]
	if b == nil {
		return Status{}, false
	}
	return b.status, true
}

// IsOnline reports whether a PBX is online.
func (p *Presence) IsOnline(s identity.Serial) bool {
	st, _ := p.Status(s)
	return st.Online
}

// MayBeOnline reports whether a PBX is worth a call: it is online, or a relay does not
// tell at the moment, at which it may be. One in quarantine is not.
func (p *Presence) MayBeOnline(s identity.Serial) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if b := p.pbxs[s]; b != nil && (b.status.Online || b.quarantined()) {
		return !b.quarantined()
	}
	for _, r := range p.relays {
		if !r.tells {
			return true
		}
	}
	return false
}

// Online is how many PBXs are online.
func (p *Presence) Online() int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.online
}

// update takes what a relay tells.
func (p *Presence) update(u dial.PresenceUpdate) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.relays[u.Address]
	if r == nil {
		r = newRelay()
		p.relays[u.Address] = r
	}
	if u.Relay != "" {
		r.id = u.Relay
	}
	r.tells = r.tells && !u.Lost || u.Snapshot
	switch {
	case u.Lost:
		if n := len(r.sessions); n > 0 {
			p.log.Warn("a relay is lost", "address", u.Address, "relay", r.id, "sessions", n, "error", u.Err)
		}
		p.keep(r, nil, now, lostFor(u.Err))
	case u.Snapshot:
		live := make(map[presence.SessionID]struct{}, len(u.Sessions))
		for i := range u.Sessions {
			p.take(r, &u.Sessions[i], now)
			if s := &u.Sessions[i]; s.Online {
				live[s.Session] = struct{}{}
			} else {
				delete(live, s.Session)
			}
		}
		p.keep(r, live, now, tunnel.CodeSessionLost)
	default:
		for i := range u.Sessions {
			p.take(r, &u.Sessions[i], now)
		}
	}
	if !r.told {
		r.told = true
		if p.told++; p.told == len(p.relays) {
			select {
			case <-p.known:
			default:
				close(p.known)
			}
		}
	}
	p.metrics.online.Set(float64(p.online))
}

// lostFor gives why the sessions of a lost relay ended: one that was emptied, or stopped,
// has said so, and ended them.
func lostFor(err error) tunnel.Code {
	switch code := tunnel.CodeOf(err); code {
	case tunnel.CodeDraining, tunnel.CodeShutdown:
		return code
	default:
		return tunnel.CodeUnreachable
	}
}

// keep forgets the sessions of a relay but those in live.
func (p *Presence) keep(r *relay, live map[presence.SessionID]struct{}, now time.Time, why tunnel.Code) {
	for id, b := range r.sessions {
		if _, lives := live[id]; !lives {
			p.remove(b, r, id, Status{Since: now, Reason: why}, now)
		}
	}
}

// take takes one session of a relay.
func (p *Presence) take(r *relay, s *dial.PresenceSession, now time.Time) {
	if !s.Online {
		b := r.sessions[s.Session]
		if b == nil {
			p.refused(s)
		} else {
			p.remove(b, r, s.Session, Status{Since: s.Since, Reason: s.Reason, ByPBX: s.ByDevice}, now)
		}
		return
	}
	b := r.sessions[s.Session] // a session has one PBX, whatever is told later
	if b == nil {
		b = p.pbxs[s.Device]
	}
	if b == nil {
		if len(p.pbxs) >= p.cfg.PBXs {
			p.metrics.ignored.Inc()
			return
		}
		b = &pbx{serial: s.Device}
		p.pbxs[s.Device] = b
	}
	fresh := session{
		id: s.Session, relay: r, epoch: s.Epoch, since: s.Since, transport: s.Transport, rtt: s.RTT,
		holder: holder{s.Instance, s.Boot}, expires: s.Expires,
	}
	if i := slices.IndexFunc(b.sessions, func(o session) bool { return o.relay == r && o.id == s.Session }); i >= 0 {
		b.sessions[i] = fresh
	} else {
		if len(b.sessions) >= maxSessions {
			old := oldest(b.sessions)
			delete(b.sessions[old].relay.sessions, b.sessions[old].id)
			b.sessions = slices.Delete(b.sessions, old, old+1)
		}
		b.sessions = append(b.sessions, fresh)
		r.sessions[s.Session] = b
	}
	p.watchHolders(b, now)
	p.show(b, now)
}

// refused takes the end of a session that never was: a relay does not let in a PBX that is
// offline, for its certificate. What the PBX says itself does not count.
func (p *Presence) refused(s *dial.PresenceSession) {
	b := p.pbxs[s.Device]
	if b == nil || s.ByDevice || b.quarantined() || len(b.sessions) > 0 {
		return
	}
	switch s.Reason {
	case tunnel.CodeBlocked, tunnel.CodeCertificateExpired:
	default:
		return
	}
	if b.status.Online {
		b.next.Reason, b.next.ByPBX = s.Reason, false // it is about to go offline
	} else if b.status.Reason != s.Reason {
		b.status.Reason, b.status.ByPBX = s.Reason, false
		p.tell(b, false)
	}
}

// remove takes a session from a PBX; end is the status if it was the last one.
func (p *Presence) remove(b *pbx, r *relay, id presence.SessionID, end Status, now time.Time) {
	delete(r.sessions, id)
	b.sessions = slices.DeleteFunc(b.sessions, func(s session) bool { return s.relay == r && s.id == id })
	p.watchHolders(b, now)
	if len(b.sessions) > 0 {
		p.show(b, now)
		return
	}
	if !b.status.Online { // it was in quarantine
		p.bury(b)
		return
	}
	if end.Since.IsZero() || end.Since.After(now) { // the relay's clock is ahead
		end.Since = now
	}
	b.next = b.status
	b.next.Online, b.next.Since, b.next.Reason, b.next.ByPBX = false, end.Since, end.Reason, end.ByPBX
	b.due = now.Add(p.cfg.OfflineAfter)
	b.at = p.gone.PushBack(b)
	if p.gone.Len() == 1 {
		p.rouse()
	}
}

// rouse has settle look at what is first now.
func (p *Presence) rouse() {
	select {
	case p.wake <- struct{}{}:
	default: // it has not looked yet
	}
}

// bury remembers a PBX that is offline, and forgets the one that has been for longest if
// they are too many.
func (p *Presence) bury(b *pbx) {
	b.at = p.past.PushBack(b)
	if p.past.Len() > p.cfg.Remembered {
		old := p.past.Remove(p.past.Front()).(*pbx) //nolint:forcetypeassert // nothing else is in the list
		if old.quarantined() {
			p.metrics.held.Dec()
		}
		p.held.leave(old)
		delete(p.pbxs, old.serial)
	}
}

// show makes the status that of the newest session.
func (p *Presence) show(b *pbx, now time.Time) {
	was := b.status
	newest := &b.sessions[0]
	for i := range b.sessions {
		if s := &b.sessions[i]; s.epoch > newest.epoch {
			newest = s
		}
	}
	b.status = Status{Online: true, Since: was.Since, Transport: newest.transport, RTT: newest.rtt, Relay: newest.relay.id, Boot: newest.holder.boot, Expires: newest.expires}
	if was.Online {
		b.status.Since = b.since(was.Since)
	}
	if b.quarantined() {
		b.status.Online, b.status.Reason = false, tunnel.CodeQuarantined
	}
	if b.at != nil {
		if was.Online {
			p.gone.Remove(b.at)
		} else {
			p.past.Remove(b.at)
		}
		b.at, b.next = nil, Status{}
	}
	switch {
	case b.status.Online && !was.Online:
		p.online++
		b.status.Since = newest.since
		if newest.since.IsZero() || newest.since.After(now) { // the relay's clock is ahead
			b.status.Since = now
		}
	case was.Online && !b.status.Online:
		p.online--
		b.status.Since = now
	}
	if b.status != was {
		p.tell(b, was.Online != b.status.Online)
	}
}

// since gives when a PBX came online that has been since a time at least: a relay may tell
// later of an older session.
func (b *pbx) since(known time.Time) time.Time {
	for i := range b.sessions {
		if s := b.sessions[i].since; !s.IsZero() && s.Before(known) {
			known = s
		}
	}
	return known
}

func oldest(all []session) int {
	old := 0
	for i := range all {
		if all[i].epoch < all[old].epoch {
			old = i
		}
	}
	return old
}

// settle does what is due, until ctx ends.
func (p *Presence) settle(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-p.wake:
		case <-ctx.Done():
			return
		}
		if wait, ok := p.settleNow(time.Now()); ok {
			timer.Reset(wait)
		}
	}
}

// settleNow takes those offline, into quarantine and out of it, whose time has come, and
// gives the time until that of the next one; false: there is none.
func (p *Presence) settleNow(now time.Time) (wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.metrics.online.Set(float64(p.online)) }()
	for _, q := range []struct {
		list *list.List
		due  func(*pbx) time.Time
		do   func(*pbx, time.Time) // takes it from the list
	}{
		{p.gone, func(b *pbx) time.Time { return b.due }, p.end},
		{p.held.suspected, func(b *pbx) time.Time { return b.check }, p.quarantine},
		{p.held.clearing, func(b *pbx) time.Time { return b.check }, p.release},
	} {
		for e := q.list.Front(); e != nil; e = q.list.Front() {
			b := e.Value.(*pbx) //nolint:forcetypeassert // nothing else is in the lists
			if left := q.due(b).Sub(now); left > 0 {
				if !ok || left < wait {
					wait, ok = left, true
				}
				break
			}
			q.do(b, now)
		}
	}
	return wait, ok
}

// end takes a PBX offline that has been without a session for long enough.
func (p *Presence) end(b *pbx, _ time.Time) {
	p.gone.Remove(b.at)
	p.online--
	b.status, b.next = b.next, Status{}
	p.bury(b)
	p.tell(b, true)
}

// metrics are the fleet's collectors.
type metrics struct {
	online  prometheus.Gauge
	ignored prometheus.Counter
	resyncs prometheus.Counter
	clones  prometheus.Counter
	held    prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		online:  prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "ccc", Name: "pbxs_online", Help: "PBXs that are online."}),
		ignored: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "ccc", Name: "presence_ignored_total", Help: "Sessions of which no notice was taken, because as many PBXs are known as may be."}),
		clones:  prometheus.NewCounter(prometheus.CounterOpts{Namespace: "ccc", Name: "clone_alarms_total", Help: "PBXs of whose certificate two holders were connected at once, at different relays."}),
		held:    prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "ccc", Name: "pbxs_quarantined", Help: "PBXs in quarantine for that."}),
		resyncs: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "ccc", Name: "presence_resyncs_total", Help: "Subscribers that did not keep up and had to look at all anew."}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.online, m.ignored, m.resyncs, m.clones, m.held} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
