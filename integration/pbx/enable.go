package pbx

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/token"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/password"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
)

// Why a token did not lead to a pairing, besides the errors of packages token and
// state.
var (
	// ErrWrongToken: it is the token of no pending offer; see [WrongTokenError].
	ErrWrongToken = errors.New("not the token of a pending offer")
	// ErrTypos: too many tokens with a typing error came in.
	ErrTypos = errors.New("too many mistyped tokens; wait a moment")
	// ErrRefused: the control centre does not take the completion.
	ErrRefused = errors.New("the control centre refused the pairing")
	// ErrNoAnswer: the control centre did not answer in time.
	ErrNoAnswer = errors.New("the control centre did not answer; the token can be typed again")
	// ErrPending: the outcome is not known yet; the PBX goes on by itself.
	ErrPending = errors.New("the pairing is being completed")

	errDissolved = errors.New("dissolved while it was being completed")
)

// WrongTokenError is an ErrWrongToken that counts. Left is the number of tries until
// the offer is void; with several offers, of the one with the fewest.
type WrongTokenError struct{ Left int }

func (e *WrongTokenError) Error() string {
	return fmt.Sprintf("%v; tries left: %d", ErrWrongToken, e.Left)
}

// Unwrap gives ErrWrongToken.
func (e *WrongTokenError) Unwrap() error { return ErrWrongToken }

// completion is a token that has been typed, until the control centre has answered. It
// is nowhere but in memory: it holds the new user's password.
type completion struct {
	message wire.Complete
	until   time.Time     // then it is given up
	done    chan struct{} // closed when err is set

	// owned by the goroutine of talk
	failures int
	retry    time.Time

	err error // of the outcome; set once, under PBX.mu, before done is closed
}

// Enable types a token, for one offer or, where offer is empty, for whichever pending
// one it belongs to. The caller has made sure that it is the administrator who types.
// It waits for the outcome as long as Limits.CompleteWait and ctx allow, and gives
// ErrPending then.
func (p *PBX) Enable(ctx context.Context, typed string, offer wire.OfferID) error {
	t, err := token.Parse(typed)
	if err != nil {
		if !p.typos.allow() {
			return ErrTypos
		}
		return err
	}
	s := p.store.View()
	switch s.Phase() {
	case state.PhasePaired:
		return state.ErrPaired
	case state.PhaseCompleting:
		return state.ErrCompleting
	}
	o, err := p.match(ctx, s, t, offer)
	if err != nil {
		return err
	}
	c, err := p.begin(ctx, o, t)
	if err != nil {
		return err
	}
	p.wake(false)
	timer := time.NewTimer(p.cfg.Limits.CompleteWait)
	defer timer.Stop()
	select {
	case <-c.done:
		return c.err
	case <-timer.C:
	case <-ctx.Done():
	}
	return ErrPending
}

// match finds the offer that the token belongs to, and counts a wrong one.
func (p *PBX) match(ctx context.Context, s *state.State, t token.Token, offer wire.OfferID) (state.Offer, error) {
	var tried []wire.OfferID
	now := time.Now()
	for _, o := range s.Offers {
		if offer != "" && o.ID != offer || !now.Before(o.Expires) {
			continue
		}
		tried = append(tried, o.ID)
		ok, err := p.cfg.Hasher.Compare(ctx, t.Reveal(), o.TokenHash)
		if err != nil {
			return o, err
		}
		if ok {
			return o, nil
		}
	}
	if len(tried) == 0 {
		return state.Offer{}, state.ErrUnknownOffer
	}
	left := state.MaxTries
	err := p.update(func(s *state.State) error {
		for _, id := range tried {
			n, err := s.Wrong(id)
			if err != nil && !errors.Is(err, state.ErrUnknownOffer) { // it may have gone meanwhile
				return err
			}
			left = min(left, n)
		}
		return nil
	})
	if err != nil {
		return state.Offer{}, err
	}
	if left == 0 {
		p.wake(true)
	}
	return state.Offer{}, &WrongTokenError{left}
}

// begin makes the user and the message.
func (p *PBX) begin(ctx context.Context, o state.Offer, t token.Token) (*completion, error) {
	name, secret := newCloudUser(), password.Random()
	hash, err := p.cfg.Hasher.Hash(ctx, secret)
	if err != nil {
		return nil, err
	}
	c := &completion{done: make(chan struct{}), until: time.Now().Add(p.cfg.Limits.CompleteFor)}
	proof := wire.Proof{
		Offer: o.ID, Serial: p.claimed(), NonceCCC: o.Nonce, NoncePBX: make([]byte, wire.NonceLen),
		User: wire.NewSecret(string(name)), Password: wire.NewSecret(secret),
	}
	_, _ = rand.Read(proof.NoncePBX) // never fails
	c.message = wire.Complete{
		Offer: o.ID, NoncePBX: proof.NoncePBX, Proof: p.hostileProof(wire.Prove(t, proof)), User: proof.User, Password: proof.Password,
	}
	// talk completes what the state says, so the message has to be there first.
	p.mu.Lock()
	if p.completion != nil {
		p.mu.Unlock()
		return nil, state.ErrCompleting
	}
	p.completion = c
	p.mu.Unlock()
	err = p.update(func(s *state.State) error {
		if o, ok := s.Offer(o.ID); ok && !time.Now().Before(o.Expires) {
			return state.ErrUnknownOffer
		}
		return s.Begin(o.ID, state.User{Name: name, Hash: hash, Created: time.Now().UTC(), Changed: true}, time.Now())
	})
	if err != nil {
		p.finish(c, err)
		return nil, err
	}
	return c, nil
}

// newCloudUser names the user of a pairing.
func newCloudUser() state.UserName {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails
	return state.UserName("ccc-" + hex.EncodeToString(b))
}

// typed gives the completion that is under way, nil if there is none.
func (p *PBX) typed() *completion {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.completion
}

// finish ends a completion with its outcome, unless it has ended already.
func (p *PBX) finish(c *completion, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c != nil && p.completion == c {
		p.completion = nil
		c.err = err
		close(c.done)
	}
}

// complete sends the completion once, and gives when to try again.
func (p *PBX) complete(ctx context.Context) (next time.Time) {
	s, c, now := p.store.View(), p.typed(), time.Now()
	switch {
	case s.Completing == nil:
		return now
	case c == nil || !now.Before(c.until):
		// Without c, it was dissolved between its two beginnings.
		return p.abandon(c, s.Completing.User, ErrNoAnswer, false)
	case now.Before(c.retry):
		return earliest(c.retry, c.until)
	}
	c.message.Version = s.Completing.Version
	err := p.send(ctx, c)
	switch {
	case err == nil:
		p.finish(c, nil)
		p.wake(true)
		return time.Now()
	case !wire.Temporary(err):
		p.log.Warn("the control centre refused the pairing", "offer", c.message.Offer, "error", err)
		return p.abandon(c, s.Completing.User, fmt.Errorf("%w: %w", ErrRefused, err), true)
	}
	if ctx.Err() == nil {
		p.log.Info("pairing is not completed yet", "offer", c.message.Offer, "error", err)
	}
	c.retry = time.Now().Add(backoff(c.failures, p.cfg.Limits.RetryMin, min(p.cfg.Limits.RetryMax, completeRetryMax)))
	c.failures++
	return earliest(c.retry, c.until)
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// send completes, and takes the acknowledgement. The error is temporary unless the
// control centre has refused.
func (p *PBX) send(ctx context.Context, c *completion) error {
	var jws string
	err := p.call(ctx, func(ctx context.Context) (err error) {
		jws, err = p.hostileComplete(ctx, c.message)
		return err
	})
	if err != nil {
		return err
	}
	var ack wire.Ack
	if err := wire.Verify(p.cfg.Credentials, p.now(), p.cloudID(), jws, &ack); err != nil {
		return err
	}
	if ack.Offer != c.message.Offer || ack.Serial != p.Serial() {
		return fmt.Errorf("acknowledgement for offer %s of %s, want %s of %s", ack.Offer, ack.Serial, c.message.Offer, p.Serial())
	}
	now := time.Now()
	err = p.update(func(s *state.State) error {
		if s.Completing == nil || s.Completing.Offer != ack.Offer {
			return wire.NewProblem(wire.CodeOfferVoid, "it was given up here")
		}
		return s.Acknowledge(ack.Pairing, ack.Epoch, now)
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.contact = now
	p.mu.Unlock()
	p.log.Info("paired", "pairing", ack.Pairing, "epoch", ack.Epoch)
	return nil
}

// abandon removes the user that nobody has acknowledged.
func (p *PBX) abandon(c *completion, user state.UserName, why error, refused bool) (next time.Time) {
	err := p.update(func(s *state.State) error {
		if s.Completing != nil && s.Completing.User == user {
			s.Abandon(refused)
		}
		return nil
	})
	if err != nil {
		p.log.Error("give the pairing up", "error", err)
		return time.Now().Add(p.cfg.Limits.RetryMin)
	}
	p.finish(c, why)
	p.wake(true)
	return time.Now()
}
