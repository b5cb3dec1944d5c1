package pairing

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// signal says that there is something to look at. It is remembered once.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (s signal) set() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// proofs is what is known about logins that are not proved yet. It does not have to
// outlive the process.
type proofs struct {
	mu  sync.Mutex // guards what follows
	all map[store.PairingID]*proofState
}

type proofState struct {
	known    bool // the PBX has named the pairing
	refusals int  // that count
}

func (p *proofs) change(id store.PairingID, f func(*proofState)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[store.PairingID]*proofState{}
	}
	if p.all[id] == nil {
		p.all[id] = &proofState{}
	}
	f(p.all[id])
}

// known notes that the PBX has the pairing, so that its user is enabled.
func (p *proofs) known(id store.PairingID) {
	p.change(id, func(s *proofState) { s.known = true })
}

// refused counts a refusal, if it counts: where the PBX knows of the pairing, or has had
// the time to. It gives the number of those that did.
func (p *proofs) refused(id store.PairingID, late bool) (n int) {
	p.change(id, func(s *proofState) {
		if s.known || late {
			s.refusals++
		}
		n = s.refusals
	})
	return n
}

// end forgets a pairing that is proved, or is no more.
func (p *proofs) end(id store.PairingID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, id)
}

// limiter bounds the requests of each PBX.
type limiter struct {
	perMinute int

	mu    sync.Mutex // guards what follows
	pbxs  map[identity.Serial]*rate.Limiter
	swept time.Time
}

func newLimiter(perMinute int) *limiter {
	return &limiter{perMinute: perMinute, pbxs: map[identity.Serial]*rate.Limiter{}}
}

// allow counts a request. PBXs that have been quiet for a minute are forgotten.
func (l *limiter) allow(serial identity.Serial) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.swept) > time.Minute {
		l.swept = now
		for serial, one := range l.pbxs {
			if one.TokensAt(now) >= float64(l.perMinute) {
				delete(l.pbxs, serial)
			}
		}
	}
	one := l.pbxs[serial]
	if one == nil {
		one = rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.perMinute)
		l.pbxs[serial] = one
	}
	return one.AllowN(now, 1)
}
