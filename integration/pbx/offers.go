package pbx

import (
	"context"
	"errors"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// pairingHandler is what the control centre can call. Only it is let in.
func (p *PBX) pairingHandler() http.Handler {
	mux := http.NewServeMux()
	limit := p.cfg.Limits.MaxBody
	mux.Handle("POST "+wire.PathOffer, wire.Handle(limit, p.takeOffer))
	mux.Handle("POST "+wire.PathWithdraw, wire.Handle(limit, p.takeWithdrawal))
	mux.Handle("POST "+wire.PathDissolve, wire.Handle(limit, p.takeTombstone))
	mux.Handle("POST "+wire.PathRemote, wire.Handle(limit, p.takeRemote))
	mux.Handle("POST "+wire.PathRemoteEnd, wire.Handle(limit, p.takeRemoteEnd))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if callerOf(r.Context()) != p.cloudID() {
			wire.WriteProblem(w, wire.NewProblem(wire.CodeRefused, "only the control centre may call"))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// offering bounds how often offers cost a hash: five at once, one more each second.
type offering = *rate.Limiter

func newOffering() offering { return rate.NewLimiter(rate.Every(time.Second), 5) }

// typos bounds how many mistyped tokens are looked at: one a second, twenty an hour.
type typos struct{ second, hour *rate.Limiter }

func newTypos() typos {
	return typos{rate.NewLimiter(rate.Every(time.Second), 1), rate.NewLimiter(rate.Every(time.Hour/20), 20)}
}

func (t typos) allow() bool { return t.second.Allow() && t.hour.Allow() }

// problems are what refuses an offer, in the control centre's words.
var problems = []struct {
	err  error
	code wire.Code
}{
	{state.ErrPaired, wire.CodeAlreadyPaired},
	{state.ErrOffersOff, wire.CodeOffersDisabled},
	{state.ErrTooMany, wire.CodeTooManyOffers},
	{state.ErrUnknownOffer, wire.CodeUnknownOffer},
}

func problemOf(err error) error {
	for _, k := range problems {
		if errors.Is(err, k.err) {
			return wire.NewProblem(k.code, "")
		}
	}
	return err
}

// takeOffer keeps what of an offer is needed, and forgets its token.
func (p *PBX) takeOffer(ctx context.Context, body wire.OfferBody) (wire.ReceivedBody, error) {
	var o wire.Offer
	if err := wire.Verify(p.cfg.Credentials, p.now(), p.cloudID(), body.Offer, &o); err != nil {
		return wire.ReceivedBody{}, wire.NewProblem(wire.CodeBadSignature, err.Error())
	}
	life := min(o.ExpiresIn, o.ExpiresAt.Sub(o.IssuedAt), wire.MaxLife)
	switch {
	case o.Serial != p.Serial():
		return wire.ReceivedBody{}, wire.NewProblem(wire.CodeNotForUs, "")
	case life <= 0:
		return wire.ReceivedBody{}, wire.NewProblem(wire.CodeExpired, "")
	}
	if _, known := p.store.View().Offer(o.ID); !known {
		if err := p.store.View().Clone().Add(state.Offer{ID: o.ID}); err != nil {
			return wire.ReceivedBody{}, problemOf(err) // before it costs a hash
		}
		if !p.offering.Allow() {
			return wire.ReceivedBody{}, wire.NewProblem(wire.CodeTooManyOffers, "too many in too short a time")
		}
		hash, err := p.cfg.Hasher.Hash(ctx, o.Token.Reveal())
		if err != nil {
			return wire.ReceivedBody{}, err
		}
		now := time.Now()
		err = p.update(func(s *state.State) error {
			return s.Add(state.Offer{
				ID: o.ID, Tenant: o.Tenant, Brand: o.Brand, Code: wire.ShortCode(o.ID, o.Serial, o.Tenant, o.Nonce),
				Nonce: o.Nonce, TokenHash: hash, Received: now, Expires: now.Add(life),
			})
		})
		if err != nil {
			return wire.ReceivedBody{}, problemOf(err)
		}
		p.log.Info("offer of a pairing", "offer", o.ID, "tenant", o.Tenant)
		p.wake(false) // it knows when the offer ends
	}
	jws, err := p.sign(wire.Received{Offer: o.ID, Serial: p.claimed(), At: time.Now().UTC()})
	return wire.ReceivedBody{Received: jws}, err
}

func (p *PBX) takeWithdrawal(_ context.Context, w wire.Withdraw) (wire.Empty, error) {
	if _, known := p.store.View().Offer(w.Offer); !known {
		return wire.Empty{}, nil
	}
	err := p.update(func(s *state.State) error { return s.Withdraw(w.Offer) })
	if errors.Is(err, state.ErrUnknownOffer) {
		err = nil // it has gone meanwhile
	}
	return wire.Empty{}, err
}

// takeTombstone dissolves the pairing that is meant, and answers with a tombstone of
// this side, also where it does not have that pairing.
func (p *PBX) takeTombstone(_ context.Context, body wire.TombstoneBody) (wire.TombstoneBody, error) {
	t, err := p.readTombstone(body.Tombstone)
	if err != nil {
		return wire.TombstoneBody{}, err
	}
	done, err := p.dissolve(t.Reason, t.Pairing, nil)
	if err != nil {
		return wire.TombstoneBody{}, err
	}
	answer := state.Tombstone{Pairing: t.Pairing, Epoch: t.Epoch, Reason: wire.ReasonUnknownPairing, At: time.Now()}
	if done {
		answer.Reason = t.Reason
	}
	jws, err := p.sign(p.tombstone(answer))
	return wire.TombstoneBody{Tombstone: jws}, err
}

// Reject removes an offer. report says that it is abuse.
func (p *PBX) Reject(id wire.OfferID, report bool) error {
	why := wire.WhyRejected
	if report {
		why = wire.WhyReported
	}
	if s := p.store.View(); s.Completing != nil && s.Completing.Offer == id {
		return state.ErrCompleting
	}
	if err := p.update(func(s *state.State) error { return s.Decline(id, why) }); err != nil {
		return err
	}
	p.wake(true)
	return nil
}

// callerKey is where a request's context has who calls.
type callerKey struct{}

// withCaller notes who calls, as the tunnel has verified it.
func withCaller(ctx context.Context, id identity.ID) context.Context {
	return context.WithValue(ctx, callerKey{}, id)
}

// callerOf is who calls through the tunnel; the zero ID in the local network.
func callerOf(ctx context.Context) identity.ID {
	id, _ := ctx.Value(callerKey{}).(identity.ID)
	return id
}
