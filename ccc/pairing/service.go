package pairing

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Service is the control centre's side of all pairings. Make it with [New]; its methods
// may be called from several goroutines. Several processes may have one on the same
// database.
type Service struct {
	cfg     Config
	domain  identity.TrustDomain
	log     hclog.Logger
	metrics *metrics

	calls    *queue   // PBXs that something waits for
	requests *limiter // of PBXs
	expiry   signal   // an offer is new
	blocked  signal   // the block list changed
	missed   signal   // somebody may have connected unseen
	blocks   atomic.Pointer[blocks.List]
	proofs   proofs
	pace     *rate.Limiter // of calls to PBXs
	swept    time.Time     // owned by the loop that expires offers
}

// New checks the configuration. Nothing runs before [Service.Run].
func New(cfg Config) (*Service, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.Online == nil {
		cfg.Online = func(identity.Serial) bool { return true }
	}
	if cfg.Notify == nil {
		cfg.Notify = func(Change) {}
	}
	if cfg.update == nil {
		cfg.update = cfg.Store.Update
	}
	s := &Service{
		cfg:      cfg,
		domain:   cfg.Credentials.ID().TrustDomain,
		log:      cfg.Logger,
		calls:    newQueue(cfg.Limits),
		requests: newLimiter(cfg.RequestsPerMinute),
		expiry:   newSignal(),
		blocked:  newSignal(),
		missed:   newSignal(),
		pace:     rate.NewLimiter(rate.Limit(cfg.CallsPerSecond), max(1, int(cfg.CallsPerSecond))),
	}
	s.blocks.Store(&blocks.List{})
	var err error
	s.metrics, err = newMetrics(cfg.Metrics, s.calls)
	return s, err
}

// now is the present as the store keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// work is a transaction, and what has to be done once it is committed.
type work struct {
	*store.Tx
	now       time.Time
	changes   []Change
	calls     []identity.Serial // something waits for these, maybe
	withdrawn []store.Offer     // that the PBX may have
	counts    []prometheus.Counter
	offered   bool              // there is a new offer
	proved    []store.PairingID // need no login any more
}

// update runs f in a transaction, maybe several times, and then does what the last run
// has noted.
func (s *Service) update(ctx context.Context, f func(*work) error) error {
	var w *work
	err := s.cfg.update(ctx, func(tx *store.Tx) error {
		w = &work{Tx: tx, now: now()}
		return f(w)
	})
	if w == nil {
		return err
	}
	// An error of the commit leaves open whether it was made: to look is no harm.
	if w.offered {
		s.expiry.set()
	}
	for _, o := range w.withdrawn {
		s.calls.withdraw(o.Serial, o.ID)
	}
	if err != nil {
		for _, serial := range w.calls {
			s.calls.addMaybe(serial)
		}
		return err
	}
	for _, serial := range w.calls {
		s.calls.add(serial)
	}
	for _, id := range w.proved {
		s.proofs.end(id)
	}
	for _, c := range w.counts {
		c.Inc()
	}
	for _, c := range w.changes {
		s.cfg.Notify(c)
	}
	return nil
}

// step takes a system from one state to the next.
func (w *work) step(tenant store.TenantID, system store.SystemID, st step) error {
	to := steps[st]
	return w.SetState(tenant, system, to.from, to.to.state, to.to.code, w.now)
}

// tell notes a change of a system, and of its offer where there is a step.
func (w *work) tell(tenant store.TenantID, system store.SystemID, step OfferStep) {
	kind := ChangeSystem
	if step != "" {
		kind = ChangeOffer
	}
	w.changes = append(w.changes, Change{Tenant: tenant, System: system, Kind: kind, Step: step})
}

// event adds a line to the system's history. detail is pairs of name and value.
func (w *work) event(sys store.System, kind string, actor store.UserID, detail ...string) error {
	e := store.Event{Tenant: sys.Tenant, System: sys.ID, Epoch: sys.Epoch, Kind: kind, Actor: actor, At: w.now}
	for i := 0; i+1 < len(detail); i += 2 {
		if e.Detail == nil {
			e.Detail = map[string]string{}
		}
		e.Detail[detail[i]] = detail[i+1]
	}
	return w.AddEvent(e)
}

// close ends an offer.
func (s *Service) close(w *work, o store.Offer, as store.OfferState) error {
	w.calls = append(w.calls, o.Serial) // another one's turn
	w.counts = append(w.counts, s.metrics.closed.WithLabelValues(string(as)))
	return w.CloseOffer(o.ID, as, w.now)
}

// forget has the PBX told that an offer is void, if it can be reached now. Otherwise it
// hears of it when it names the offer.
func (w *work) forget(o store.Offer) { w.withdrawn = append(w.withdrawn, o) }

// CameOnline is told which PBX has connected: what waits for it is brought. Presence
// calls it; it does not block.
func (s *Service) CameOnline(serial identity.Serial) { s.calls.add(serial) }

// Resync is told that it was missed who has connected: all that waits is looked at. It
// does not block.
func (s *Service) Resync() { s.missed.set() }

// SetBlocks is told of the present list of blocked identities: pairings of blocked PBXs
// are dissolved. It does not block.
func (s *Service) SetBlocks(list blocks.List) {
	s.blocks.Store(&list)
	s.blocked.set()
}

// isBlocked reports whether a PBX may do nothing any more.
func (s *Service) isBlocked(serial identity.Serial) bool {
	return s.blocks.Load().Blocked(identity.Device(s.domain, serial))
}
