package history

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

const (
	// writeAfter is how long is waited for other changes after one, and writeRetry how long
	// where the store did not answer.
	writeAfter = time.Second
	writeRetry = 5 * time.Second
	// signEvery is how often is written that the program is there, with what is not urgent.
	signEvery = 30 * time.Second
	// pairingsEvery is how often is looked which PBXs are paired, and pairingsAfter how soon
	// where somebody said that this has changed.
	pairingsEvery = time.Minute
	pairingsAfter = time.Second
	// quietEvery is how often is looked which PBXs have become quiet.
	quietEvery = time.Minute
	sweepEvery = time.Hour
	// stopTimeout bounds the last write.
	stopTimeout = 10 * time.Second
	// page is how much is read at once.
	page = 1000
)

// Recorder writes the history. Make it with [New], run it with [Recorder.Run].
type Recorder struct {
	cfg     Config
	log     hclog.Logger
	written prometheus.Counter
	paired  chan struct{} // has room for one: the pairings have changed
	ready   chan struct{}

	mu     sync.Mutex // guards what follows
	tracks map[identity.Serial]*track
	out    *pending
}

// New checks the configuration; it starts nothing.
func New(cfg Config) (*Recorder, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.fill()
	r := &Recorder{
		cfg: cfg, log: cfg.Logger, paired: make(chan struct{}, 1), ready: make(chan struct{}),
		tracks: map[identity.Serial]*track{}, out: newPending(),
		written: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "ccc", Name: "history_transactions_total", Help: "Transactions in which the history of PBXs was written.",
		}),
	}
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(r.written); err != nil {
			return nil, fmt.Errorf("history: metrics: %w", err)
		}
	}
	return r, nil
}

// Now gives the interval of a paired PBX that lasts; false: there is none yet.
func (r *Recorder) Now(serial identity.Serial) (store.Interval, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tracks[serial]
	if t == nil || t.open.ID == "" {
		return store.Interval{}, false
	}
	now := t.open
	if now.Link == store.LinkFlapping {
		now.Reason = string(t.reason)
	}
	return now, true
}

// PairingsChanged has the recorder look which PBXs are paired. It does not block.
func (r *Recorder) PairingsChanged() {
	select {
	case r.paired <- struct{}{}:
	default: // it has not looked yet
	}
}

// Ready is closed when Run hears of changes.
func (r *Recorder) Ready() <-chan struct{} { return r.ready }

// Run writes the history until ctx ends. It is to run once.
func (r *Recorder) Run(ctx context.Context) error {
	changes := r.cfg.Fleet.Subscribe(ctx)
	close(r.ready)
	seen, err := r.load(ctx)
	if err != nil {
		return r.stopped(ctx, err)
	}
	// What changes before all relays have told is in what they tell then.
	for known := r.cfg.Fleet.Known(); known != nil; {
		select {
		case <-ctx.Done():
			return ctx.Err() // nothing was seen
		case <-changes:
		case <-known:
			known = nil
		}
	}
	if err := r.pairings(ctx, seen); err != nil {
		return r.stopped(ctx, err)
	}
	return r.loop(ctx, changes)
}

// stopped gives the error of a Run that has begun nothing.
func (*Recorder) stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("history: %w", err)
}

// loop takes changes and has them written.
func (r *Recorder) loop(ctx context.Context, changes <-chan fleet.Change) error {
	w := &writer{recorder: r, done: make(chan error, 1)}
	var pairings <-chan time.Time // nil: nobody said that they have changed
	all, quiet, sign := time.NewTicker(pairingsEvery), time.NewTicker(quietEvery), time.NewTicker(signEvery)
	for _, t := range []*time.Ticker{all, quiet, sign} {
		defer t.Stop()
	}
	ctx, cancel := context.WithCancel(ctx)
	var sweeper sync.WaitGroup
	defer sweeper.Wait()
	defer cancel()
	sweeper.Go(func() { r.sweeps(ctx) })
	w.soon(0)
	for {
		var err error
		select {
		case <-ctx.Done():
			return w.last(ctx)
		case c, open := <-changes:
			if !open {
				changes = nil // ctx ends
				continue
			}
			r.changed(c, time.Now())
		case <-r.paired:
			if pairings == nil {
				pairings = time.After(pairingsAfter)
			}
		case <-pairings:
			pairings, err = nil, r.pairings(ctx, time.Time{})
		case <-all.C:
			err = r.pairings(ctx, time.Time{})
		case <-quiet.C:
			r.quiet(time.Now())
		case <-sign.C:
			w.all = true
			w.soon(0)
		case <-w.due:
			w.write(ctx)
		case err = <-w.done:
			w.ended(err)
		}
		if r.urgent() {
			w.soon(r.cfg.after)
		}
		if err != nil && ctx.Err() == nil {
			r.log.Warn("the store did not answer; it is asked again", "error", err)
		}
	}
}

func (r *Recorder) urgent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.urgent()
}

// changed takes a change of the fleet.
func (r *Recorder) changed(c fleet.Change, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !c.Resync {
		if t := r.tracks[c.Serial]; t != nil {
			t.see(c.Status, now)
		}
		return
	}
	for serial, t := range r.tracks {
		t.see(r.status(serial), now)
	}
}

// status of a PBX, also of one that the fleet knows nothing of.
func (r *Recorder) status(serial identity.Serial) fleet.Status {
	s, known := r.cfg.Fleet.Status(serial)
	if !known && r.cfg.Fleet.MayBeOnline(serial) {
		s.Reason = tunnel.CodeUnreachable
	}
	return s
}

// quiet ends the flapping of PBXs that have become quiet, and looks whose certificate has
// expired.
func (r *Recorder) quiet(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for serial, t := range r.tracks {
		t.settleDown(now)
		t.expire(r.status(serial), now)
	}
}

// load reads the intervals that last, and when they were last written.
func (r *Recorder) load(ctx context.Context) (seen time.Time, err error) {
	var all []store.Interval
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		all = nil
		if seen, err = tx.RecorderSeen(); err != nil {
			return err
		}
		var after store.HistoryID
		for {
			some, err := tx.OpenIntervals(after, page)
			if err != nil {
				return err
			}
			all = append(all, some...)
			if len(some) < page {
				return nil
			}
			after = some[len(some)-1].ID
		}
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range all {
		if old := r.tracks[i.Serial]; old != nil && old.epoch < i.Epoch {
			old.end(i.Started) // of an ownership that is over
		}
		r.tracks[i.Serial] = restored(i, r.cfg.Flaps, r.out)
	}
	return seen, err
}

// pairings looks which PBXs are paired, and begins and ends their histories. At the start
// seen is when the program was last there.
func (r *Recorder) pairings(ctx context.Context, seen time.Time) error {
	var all []store.Paired
	err := r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all = nil
		var after identity.Serial
		for {
			some, err := tx.Paired(after, page)
			if err != nil {
				return err
			}
			all = append(all, some...)
			if len(some) < page {
				return nil
			}
			after = some[len(some)-1].Serial
		}
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now, paired := time.Now(), make(map[identity.Serial]struct{}, len(all))
	for _, p := range all {
		paired[p.Serial] = struct{}{}
		t := r.tracks[p.Serial]
		switch {
		case t == nil || t.epoch != p.Epoch:
			if t != nil {
				t.end(now)
			}
			t = &track{serial: p.Serial, epoch: p.Epoch, flaps: r.cfg.Flaps, out: r.out}
			r.tracks[p.Serial] = t
			t.begin(r.status(p.Serial), now)
		case !seen.IsZero():
			t.resume(r.status(p.Serial), seen, now)
		}
	}
	for serial, t := range r.tracks {
		if _, is := paired[serial]; !is {
			t.end(now)
			delete(r.tracks, serial)
		}
	}
	return nil
}

// writer writes what waits, one batch at a time, beside the loop.
type writer struct {
	recorder *Recorder
	due      <-chan time.Time // nil: nothing is to be written
	all      bool             // also what is not urgent
	busy     bool
	again    bool       // something came while it was busy
	done     chan error // has room for one
}

// soon has what waits written, unless that is to be done already.
func (w *writer) soon(after time.Duration) {
	switch {
	case w.busy:
		w.again = true
	case w.due == nil || after == 0:
		w.due = time.After(after)
	}
}

func (w *writer) write(ctx context.Context) {
	if w.due = nil; w.busy {
		w.again = true
		return
	}
	w.busy = true
	all := w.all
	w.all = false
	go func() { w.done <- w.recorder.write(ctx, all) }()
}

func (w *writer) ended(err error) {
	w.busy = false
	switch {
	case err != nil:
		w.due = time.After(writeRetry)
	case w.again:
		w.due = time.After(w.recorder.cfg.after)
	}
	w.again = false
}

// last writes all that waits, once the write that runs has ended.
func (w *writer) last(ctx context.Context) error {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if w.busy {
		w.ended(<-w.done)
	}
	if err := w.recorder.write(end, true); err != nil {
		w.recorder.log.Warn("the end of the history is not written", "error", err)
	}
	return ctx.Err()
}

// write writes what waits, and that the program was there when it was taken.
func (r *Recorder) write(ctx context.Context, all bool) error {
	r.mu.Lock()
	if all {
		now := time.Now()
		for _, t := range r.tracks {
			if t.open.Link == store.LinkFlapping {
				t.account(now)
				r.out.later(t.open)
			}
		}
	}
	b, at := r.out.take(all), time.Now()
	r.mu.Unlock()
	for {
		some := batch{drops: b.drops, puts: b.puts[:min(r.cfg.Batch, len(b.puts))]}
		last := len(some.puts) == len(b.puts)
		err := r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			if err := tx.DeleteIntervals(some.drops); err != nil {
				return err
			}
			if err := tx.PutIntervals(some.puts); err != nil || !last {
				return err
			}
			return tx.SetRecorderSeen(at)
		})
		if err != nil {
			r.mu.Lock()
			r.out.back(b)
			r.mu.Unlock()
			return err
		}
		r.written.Inc()
		if b = (batch{puts: b.puts[len(some.puts):]}); last {
			return nil
		}
	}
}
