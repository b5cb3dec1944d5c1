package pbx

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// want is what talk has to do next.
type want struct {
	sync     bool      // as soon as there is a tunnel
	revoked  bool      // dissolve: the PBX's identity is blocked
	next     time.Time // of the next sync, where nothing changes
	retry    time.Time // no message before that
	failures int       // in a row
}

// wake has talk look at what is to be done.
func (p *PBX) wake(sync bool) {
	p.mu.Lock()
	p.want.sync = p.want.sync || sync
	if sync {
		p.want.retry, p.want.failures = time.Time{}, 0
	}
	p.mu.Unlock()
	select {
	case p.kick <- struct{}{}:
	default: // it is awake
	}
}

// refusal is one refusal of a slot.
type refusal struct {
	slot  int
	since time.Time
}

// tunnelChanged takes the agent's changes of state.
func (p *PBX) tunnelChanged(st agent.SlotStatus) {
	p.mu.Lock()
	fresh := st.State.Online() && st.Session != p.slots[st.Slot]
	revoked := false
	switch {
	case fresh:
		if len(p.slots) == 0 {
			close(p.tunnelUp)
		}
		p.slots[st.Slot], p.refusals = st.Session, nil
	case st.State != agent.StateRefused: // LastCode is of an earlier state
	case st.LastCode == tunnel.CodeBlocked:
		revoked = true
	case st.LastCode == tunnel.CodeCertificateRefused:
		if r := (refusal{st.Slot, st.Since}); !slices.Contains(p.refusals, r) {
			p.refusals = append(p.refusals, r)
		}
		revoked = len(p.refusals) >= p.cfg.Limits.Refusals
	}
	p.want.revoked = p.want.revoked || revoked
	p.mu.Unlock()
	if fresh || revoked {
		p.wake(fresh)
	}
}

// online tells whether messages can get through.
func (p *PBX) online() bool {
	tunnel := p.Agent()
	return p.cfg.Dial != nil || tunnel != nil && tunnel.Status().Online()
}

// talk does what the clock and the control centre ask for until ctx ends.
func (p *PBX) talk(ctx context.Context) error {
	for {
		next := p.round(ctx)
		timer := time.NewTimer(max(time.Until(next), 0))
		select {
		case <-ctx.Done():
			timer.Stop()
			p.finish(p.typed(), ctx.Err())
			return nil
		case <-p.kick:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// round does what is due and gives when there is more.
func (p *PBX) round(ctx context.Context) (next time.Time) {
	next = time.Now().Add(syncMax)
	earlier := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	if err := errors.Join(p.expire(), p.revoked()); err != nil {
		p.log.Error("end what is over", "error", err)
		earlier(time.Now().Add(p.cfg.Limits.RetryMax))
	}
	s := p.store.View()
	for _, o := range s.Offers {
		if due := o.Expires; time.Now().Before(due) {
			earlier(due)
		}
	}
	if s.Pairing != nil {
		if ends := p.contactEnds(s); time.Now().Before(ends) {
			earlier(ends)
		}
	}
	if s.Phase() == state.PhaseCompleting {
		earlier(p.complete(ctx))
		return next
	}
	if !p.online() {
		return next // the tunnel wakes it
	}
	p.mu.Lock()
	w := p.want
	p.mu.Unlock()
	now := time.Now()
	_, reports := p.remote.NextReport()
	switch due := w.sync || reports || len(s.Declined) > 0 || !now.Before(w.next); {
	case now.Before(w.retry):
		earlier(w.retry)
	case !due:
		earlier(w.next)
	default:
		earlier(p.exchange(ctx))
	}
	return next
}

// expire ends what is over by the clock: offers, and a pairing without contact.
func (p *PBX) expire() error {
	s := p.store.View()
	if due := s.Due(time.Now()); len(due) > 0 {
		err := p.update(func(s *state.State) error {
			for _, id := range s.Due(time.Now()) {
				if err := s.Decline(id, wire.WhyExpired); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if s.Pairing != nil && !time.Now().Before(p.contactEnds(s)) {
		p.log.Warn("no contact to the control centre for too long", "days", s.Settings.ContactDays)
		_, err := p.dissolve(wire.ReasonExpiredContact, s.Pairing.ID, nil)
		return err
	}
	return nil
}

// revoked dissolves the pairing of a PBX that the relays have refused.
func (p *PBX) revoked() error {
	p.mu.Lock()
	due := p.want.revoked
	p.want.revoked = false
	if due {
		p.refusals = nil
	}
	p.mu.Unlock()
	if !due {
		return nil
	}
	_, err := p.dissolve(wire.ReasonRevoked, anyPairing, nil)
	if err != nil {
		p.mu.Lock()
		p.want.revoked = true
		p.mu.Unlock()
	}
	return err
}

func (p *PBX) lastContact() time.Time {
	if s := p.store.View(); s.Pairing != nil {
		return s.Pairing.Contact
	}
	return time.Now()
}

// contactGrace is how long a PBX that was switched off for a while has to find the
// control centre again.
const contactGrace = 10 * time.Minute

// contactEnds is when a pairing is dissolved that hears nothing until then.
func (p *PBX) contactEnds(s *state.State) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	ends := p.contact.Add(time.Duration(s.Settings.ContactDays) * 24 * time.Hour)
	if grace := p.life.started().Add(contactGrace); ends.Before(grace) {
		return grace
	}
	return ends
}

// heard notes an answer of the control centre. It is written to the state only so often
// that a restart cannot make a PBX believe that its time is over.
func (p *PBX) heard() error {
	now := time.Now()
	p.mu.Lock()
	p.contact = now
	p.mu.Unlock()
	s := p.store.View()
	if every := time.Duration(min(s.Settings.ContactDays, 24)) * time.Hour; s.Pairing == nil || now.Sub(s.Pairing.Contact) < every {
		return nil
	}
	return p.update(func(s *state.State) error {
		if s.Pairing != nil {
			s.Pairing.Contact = now
		}
		return nil
	})
}

// exchange tells the control centre what it has to know, and gives when to come again.
func (p *PBX) exchange(ctx context.Context) (next time.Time) {
	p.mu.Lock()
	p.want.sync = false // a change from now on is one more
	p.mu.Unlock()
	every, more, err := p.tell(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if err != nil {
		p.want.sync = true
		p.want.retry = now.Add(backoff(p.want.failures, p.cfg.Limits.RetryMin, p.cfg.Limits.RetryMax))
		p.want.failures++
		if ctx.Err() == nil {
			p.log.Debug("control centre", "error", err, "next", p.want.retry)
		}
		return p.want.retry
	}
	p.want.failures, p.want.retry, p.want.next = 0, time.Time{}, now.Add(every)
	if more || p.want.sync {
		p.want.sync = true
		return now
	}
	return p.want.next
}

// backoff doubles from least to most; the wait is drawn from its upper half, so that
// PBXs that failed together do not come back together.
func backoff(failures int, least, most time.Duration) time.Duration {
	d := min(least, most)
	for range failures {
		if d > most/2 { // twice that may be more than a duration holds
			d = most
			break
		}
		d *= 2
	}
	return d/2 + rand.N(d/2+1)
}

// tell sends ends of offers, reports about remote access, and one sync. more: there is something left to say.
func (p *PBX) tell(ctx context.Context) (every time.Duration, more bool, err error) {
	for _, d := range p.store.View().Declined {
		err := p.call(ctx, func(ctx context.Context) error {
			return p.cloud.Declined(ctx, wire.Declined{Offer: d.Offer, Reason: d.Reason})
		})
		if wire.Temporary(err) {
			return 0, false, err
		}
		if err != nil {
			p.log.Debug("the control centre does not know the offer", "offer", d.Offer, "error", err)
		}
		if err := p.update(func(s *state.State) error { s.ToldDeclined(d.Offer); return nil }); err != nil {
			return 0, false, err
		}
	}
	if err := p.tellRemote(ctx); err != nil {
		return 0, false, err
	}
	return p.sync(ctx)
}

// call bounds one message.
func (p *PBX) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Limits.Call)
	defer cancel()
	return f(ctx)
}

func (p *PBX) sync(ctx context.Context) (every time.Duration, more bool, err error) {
	s := p.store.View()
	m := wire.Sync{Version: s.Version}
	if s.Pairing != nil {
		m.Pairing, m.Epoch = s.Pairing.ID, s.Pairing.Epoch
	}
	for _, o := range s.Offers {
		m.Offers = append(m.Offers, o.ID)
	}
	for _, t := range s.Tombstones[:min(len(s.Tombstones), wire.MaxTombstones)] {
		jws, err := p.sign(p.tombstone(t))
		if err != nil {
			return 0, false, err
		}
		m.Tombstones = append(m.Tombstones, jws)
	}
	var reply wire.SyncReply
	err = p.call(ctx, func(ctx context.Context) (err error) {
		reply, err = p.cloud.Sync(ctx, m)
		return err
	})
	if err != nil {
		return 0, false, err
	}
	if err := p.heard(); err != nil {
		return 0, false, err
	}
	told, err := p.synced(m, reply)
	if err != nil {
		return 0, false, err
	}
	every = p.cfg.Limits.SyncEvery
	if reply.NextSync > 0 {
		every = min(max(time.Duration(min(reply.NextSync, int64(syncMax/time.Second)))*time.Second, syncMin), syncMax)
	}
	return every, told && len(p.store.View().Tombstones) > 0, nil
}

// synced does what the answer to a sync asks for. told: a tombstone was acknowledged.
func (p *PBX) synced(m wire.Sync, reply wire.SyncReply) (told bool, err error) {
	s := p.store.View()
	var acks []wire.PairingID
	for _, a := range reply.Acks {
		if slices.ContainsFunc(s.Tombstones, func(t state.Tombstone) bool { return t.Pairing == a.Pairing }) {
			acks = append(acks, a.Pairing)
		}
	}
	var void []wire.OfferID
	for _, id := range reply.OffersVoid {
		if _, ok := s.Offer(id); ok {
			void = append(void, id)
		}
	}
	if len(acks)+len(void) > 0 {
		err := p.update(func(s *state.State) error {
			s.Told(acks...)
			for _, id := range void {
				_ = s.Withdraw(id) // it may have gone meanwhile
			}
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	if reply.Tombstone != "" && m.Pairing != "" {
		t, err := p.readTombstone(reply.Tombstone)
		if err != nil {
			return false, err
		}
		if t.Pairing == m.Pairing {
			if _, err := p.dissolve(t.Reason, t.Pairing, nil); err != nil {
				return false, err
			}
		}
	}
	return len(acks) > 0, nil
}

// cloudID is who the control centre has to be.
func (p *PBX) cloudID() identity.ID { return identity.Service(p.self.TrustDomain, cloudName) }

// readTombstone verifies a tombstone of the control centre.
func (p *PBX) readTombstone(jws string) (wire.Tombstone, error) {
	var t wire.Tombstone
	if err := wire.Verify(p.cfg.Credentials, p.now(), p.cloudID(), jws, &t); err != nil {
		return t, wire.NewProblem(wire.CodeBadSignature, err.Error())
	}
	if t.Serial != p.Serial() || t.By != wire.SideCCC {
		return t, wire.NewProblem(wire.CodeNotForUs, fmt.Sprintf("tombstone: for %s by %q", t.Serial, t.By))
	}
	return t, nil
}

// tombstone is the statement for an entry of the queue.
func (p *PBX) tombstone(t state.Tombstone) wire.Tombstone {
	return wire.Tombstone{
		Pairing: t.Pairing, Serial: p.claimed(), Epoch: t.Epoch, Reason: t.Reason, By: wire.SidePBX, At: t.At.UTC(),
	}
}
