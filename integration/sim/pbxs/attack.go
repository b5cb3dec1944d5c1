package pbxs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/cloud"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/fleet"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Kind is a way in which a PBX is hostile.
type Kind string

// The kinds.
const (
	// KindSerial claims another PBX's serial in what it signs and proves.
	KindSerial Kind = "serial"
	// KindProof proves the token wrongly.
	KindProof Kind = "proof"
	// KindReplay pairs, sends its completion ten times at once, dissolves the pairing, and
	// sends what it has recorded again.
	KindReplay Kind = "replay"
	// KindClone connects with a copy of a good PBX's certificate and key.
	KindClone Kind = "clone"
	// KindSlow moves one byte every [slowPause].
	KindSlow Kind = "slow"
	// KindHuge sends bodies of [hugeBody] bytes.
	KindHuge Kind = "huge"
)

// Kinds are all, in the order in which they take turns.
func Kinds() []Kind {
	return []Kind{KindSerial, KindReplay, KindClone, KindSlow, KindHuge, KindProof}
}

const (
	slowPause = 250 * time.Millisecond
	hugeBody  = 8 << 20
	// replays is how often a completion is repeated at once, and afterwards.
	replays = 9
)

// hostile is what the kind asks of a PBX; victim is the serial of a good one.
func (k Kind) hostile(victim identity.Serial) (h pbx.Hostile) {
	switch k {
	case KindSerial:
		h.Serial = victim
	case KindProof:
		h.WrongProof = true
	case KindReplay:
		h.Replays = replays
	case KindSlow:
		h.Pause = slowPause
	case KindHuge:
		h.Huge = hugeBody
	case KindClone: // its certificate is enough
	}
	return h
}

// outcome is how the tries of one attacker ended.
type outcome struct {
	refused, through int
	answers          []string // one for each that was refused
}

func refused(answer string) outcome { return outcome{refused: 1, answers: []string{answer}} }

// through: an attack was not refused.
var through = outcome{through: 1}

// attack starts the hostile PBXs and has each try.
func (s *simulation) attack(ctx context.Context, good, bad []*enrol.Credentials) (err error) {
	cfg := s.config(bad)
	// A copy of a PBX has not its instance id.
	cfg.Seed, cfg.Rate = ^s.Seed, 0
	cfg.Change = func(i int, c *pbx.Config) { c.Hostile = s.kinds[i].hostile(good[i%len(good)].ID().Serial()) }
	if s.bad, err = fleet.New(cfg); err != nil {
		return err
	}
	s.launch(s.bad)
	var mu sync.Mutex // guards rows
	rows := make(map[Kind]*Attack)
	done := 0
	line := func() string {
		mu.Lock()
		defer mu.Unlock()
		return fmt.Sprintf("attacking: %d of %d hostile PBXs have their answer", done, len(bad))
	}
	err = s.Progress.While(ctx, line, func(ctx context.Context) error {
		var g errgroup.Group
		g.SetLimit(atOnce)
		for i, p := range s.bad.PBXs() {
			g.Go(func() error {
				kind := s.kinds[i]
				o, err := s.try(ctx, p, kind)
				if ctx.Err() != nil {
					return nil
				}
				if err != nil {
					s.tally.failed("attack "+string(kind), err)
				}
				mu.Lock()
				defer mu.Unlock()
				done++
				r := rows[kind]
				if r == nil {
					r = &Attack{Kind: kind, Answers: map[string]int{}}
					rows[kind] = r
				}
				r.add(o, err)
				return nil
			})
		}
		_ = g.Wait() // each error is counted
		return ctx.Err()
	})
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		r := rows[k]
		s.report.Attacks = append(s.report.Attacks, *r)
		if r.Through > 0 {
			s.tally.failed("attack "+string(k), fmt.Errorf("%d of %d were not refused", r.Through, r.Tries))
		}
	}
	return err
}

// try has a PBX attack. An error says that there was no answer to judge.
func (s *simulation) try(ctx context.Context, p *pbx.PBX, kind Kind) (outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.Patience, errPatience)
	defer cancel()
	switch kind {
	case KindClone:
		return s.tryClone(ctx, p)
	case KindReplay:
		return s.tryReplay(ctx, p)
	case KindSlow:
		return s.trySlow(ctx, p)
	case KindSerial, KindProof, KindHuge:
	}
	made, err := s.client.Offer(ctx, p.Serial(), "Hostile "+string(kind))
	if err != nil {
		return outcome{}, err
	}
	if err := cloud.AwaitOffer(ctx, p, made.Offer); err != nil {
		return outcome{}, err
	}
	err = p.Enable(ctx, made.Offer.Token, wire.OfferID(made.Offer.ID))
	for errors.Is(err, pbx.ErrPending) && ctx.Err() == nil {
		err = cloud.Poll(ctx, func() (bool, error) {
			switch p.State().Phase() {
			case state.PhaseCompleting:
				return false, nil
			case state.PhasePaired:
				return true, nil
			default:
				return true, pbx.ErrRefused
			}
		})
	}
	switch {
	case err == nil:
		return through, nil
	case errors.Is(err, pbx.ErrRefused):
		return refused(string(wire.CodeOf(err))), nil
	default:
		return outcome{}, fmt.Errorf("%s: %w", p.Serial(), err)
	}
}

// tryClone waits for what the relay says to a copy while the original is connected.
func (s *simulation) tryClone(ctx context.Context, p *pbx.PBX) (o outcome, err error) {
	err = cloud.Poll(ctx, func() (bool, error) {
		slots := p.Agent().Status().Slots
		if slices.ContainsFunc(slots, func(t agent.SlotStatus) bool { return t.LastCode == tunnel.CodeCloneSuspected }) {
			o = refused(tunnel.CodeCloneSuspected.String())
			return true, nil
		}
		if slices.ContainsFunc(slots, func(t agent.SlotStatus) bool { return t.State.Online() }) {
			o = through
			return true, nil
		}
		return false, nil
	})
	return o, err
}

// tryReplay pairs, which has to work, and tries afterwards what was recorded.
func (s *simulation) tryReplay(ctx context.Context, p *pbx.PBX) (o outcome, err error) {
	if err := s.client.Pair(ctx, s.live, p, "Hostile replay", nil); err != nil {
		return o, err
	}
	if err := p.Replay(ctx); err != nil {
		return o, fmt.Errorf("%s: while its pairing lives: %w", p.Serial(), err)
	}
	if err := s.dissolve(ctx, p); err != nil {
		return o, err
	}
	for range replays {
		switch err := p.Replay(ctx); {
		case err == nil:
			o.through++
		case wire.CodeOf(err) != "" && !wire.Temporary(err):
			o.refused++
			o.answers = append(o.answers, string(wire.CodeOf(err)))
		default:
			return o, fmt.Errorf("%s: replay: %w", p.Serial(), err)
		}
	}
	return o, nil
}

// dissolve switches the pairing off in the PBX, and waits until the page says so.
func (s *simulation) dissolve(ctx context.Context, p *pbx.PBX) error {
	sys, err := s.client.Find(ctx, p.Serial())
	if err != nil {
		return err
	}
	if err := p.Dissolve(); err != nil {
		return fmt.Errorf("%s: dissolve: %w", p.Serial(), err)
	}
	if err := s.live.Await(ctx, sys.ID, store.StateLeft); err != nil {
		return fmt.Errorf("%s: dissolved in the PBX alone: %w", p.Serial(), err)
	}
	return nil
}

// trySlow waits until the control centre has had enough.
func (s *simulation) trySlow(ctx context.Context, p *pbx.PBX) (o outcome, err error) {
	if _, err := s.client.Offer(ctx, p.Serial(), "Hostile slow"); err != nil {
		return o, err
	}
	cut := p.Cut()
	err = cloud.Poll(ctx, func() (bool, error) {
		if len(p.State().Offers) > 0 {
			o = through
			return true, nil
		}
		if p.Cut() > cut {
			o = refused("cut off")
			return true, nil
		}
		return false, nil
	})
	return o, err
}
