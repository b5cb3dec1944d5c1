package load

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// Plan is what [Run] does.
type Plan struct {
	Model Model
	// Duration is how long calls are started. Those that run at its end are waited
	// for.
	Duration time.Duration
	// Seed of the arrivals.
	Seed uint64
	// CallTimeout ends the context of one call. Default 15 s.
	CallTimeout time.Duration
	// InFlight bounds the calls of an open model that run at once. Those beyond
	// start late, and their latency is still counted from when they should have
	// started. Default 4096.
	InFlight int
	// Live, where set, is kept up to date while calls run.
	Live *Live
	// Stop, where set, ends the run before its duration is over when it is closed: no
	// more calls are started, and those that run are waited for.
	Stop <-chan struct{}
}

// Live are the counts of a run in progress.
type Live struct{ Started, Done, Failed atomic.Int64 }

// Call makes the n-th call of a run, from 0. It says what kind of call it was, for
// the report's table. The error's tunnel.Code is counted; one without counts as
// tunnel.CodeInternal.
type Call func(ctx context.Context, n uint64) (kind string, err error)

// Result is the outcome of a run.
type Result struct {
	Model   Model         `json:"model"`
	Elapsed time.Duration `json:"elapsed_ns"` // from the first start to the last answer
	Calls   int64         `json:"calls"`
	Failed  int64         `json:"failed"`
	// PerSecond is answered calls per second of Elapsed.
	PerSecond float64 `json:"per_second"`
	// Latency of the answered calls, by kind and in all ("all"). In an open model
	// it counts from when the call should have started.
	Latency map[string]Latency `json:"latency"`
	// Late is by how much calls of an open model started later than they should.
	Late Latency `json:"late"`
	// Errors counts the failed calls by number, e.g. "AUER-1301".
	Errors map[string]int `json:"errors,omitempty"`
	// FirstError is the text of one of them.
	FirstError string `json:"first_error,omitempty"`
}

// All is the kind under which [Result] has every call.
const All = "all"

// Run makes calls after the plan until its duration is over or ctx ends, and
// returns when the last one has ended.
func Run(ctx context.Context, p Plan, call Call) Result {
	p.CallTimeout = cmp.Or(p.CallTimeout, 15*time.Second)
	p.InFlight = cmp.Or(p.InFlight, 4096)
	if p.Live == nil {
		p.Live = new(Live)
	}
	starting, stop := context.WithCancel(ctx)
	defer stop()
	if p.Stop != nil {
		go func() {
			select {
			case <-p.Stop:
				stop()
			case <-starting.Done():
			}
		}()
	}
	r := &run{plan: p, call: call, start: time.Now(), late: NewHistogram(), kinds: map[string]*Histogram{All: NewHistogram()}, errors: map[string]int{}}
	if p.Model.Kind == Closed {
		r.closed(ctx, starting)
	} else {
		r.open(ctx, starting)
	}
	return r.result()
}

// run is one run in progress.
type run struct {
	plan  Plan
	call  Call
	start time.Time
	late  *Histogram
	wg    sync.WaitGroup

	mu         sync.Mutex // guards what follows
	kinds      map[string]*Histogram
	errors     map[string]int
	firstError string
}

// open makes calls in ctx, as long as starting lives.
func (r *run) open(ctx, starting context.Context) {
	places := make(chan struct{}, r.plan.InFlight)
	var n uint64
	for at := range r.plan.Model.schedule(r.plan.Duration, r.plan.Seed) {
		due := r.start.Add(at)
		if !sleep(starting, time.Until(due)) {
			break
		}
		select {
		case places <- struct{}{}:
		case <-starting.Done():
		}
		if starting.Err() != nil {
			break
		}
		r.late.Add(time.Since(due))
		i := n
		n++
		r.plan.Live.Started.Add(1)
		r.wg.Go(func() {
			r.one(ctx, i, due)
			<-places
		})
	}
	r.wg.Wait()
}

// closed makes calls in ctx, as long as starting lives.
func (r *run) closed(ctx, starting context.Context) {
	users := r.plan.Model.Users
	end := r.start.Add(r.plan.Duration)
	for user := range users {
		r.wg.Go(func() {
			// Each user has numbers of its own, whatever the others do.
			for n := uint64(user); time.Now().Before(end) && starting.Err() == nil; n += uint64(users) { //nolint:gosec // not negative
				r.plan.Live.Started.Add(1)
				r.one(ctx, n, time.Now())
				if r.plan.Model.Think > 0 && !sleep(starting, r.plan.Model.Think) {
					return
				}
			}
		})
	}
	r.wg.Wait()
}

// one makes one call that was due at a time, and records it. A call that failed
// because the run was given up is not counted.
func (r *run) one(ctx context.Context, n uint64, due time.Time) {
	callCtx, cancel := context.WithTimeout(ctx, r.plan.CallTimeout)
	kind, err := r.call(callCtx, n)
	cancel()
	took := time.Since(due)
	r.plan.Live.Done.Add(1)
	if err != nil && ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.plan.Live.Failed.Add(1)
		r.errors[tunnel.CodeOf(err).String()]++
		r.firstError = cmp.Or(r.firstError, err.Error())
		return
	}
	h := r.kinds[kind]
	if h == nil {
		h = NewHistogram()
		r.kinds[kind] = h
	}
	h.Add(took)
	if kind != All {
		r.kinds[All].Add(took)
	}
}

func (r *run) result() Result {
	res := Result{
		Model: r.plan.Model, Elapsed: time.Since(r.start), Latency: map[string]Latency{},
		Late: r.late.Summary(), Errors: r.errors, FirstError: r.firstError,
	}
	for kind, h := range r.kinds {
		res.Latency[kind] = h.Summary()
	}
	for _, n := range r.errors {
		res.Failed += int64(n)
	}
	answered := res.Latency[All].Count
	res.Calls = answered + res.Failed
	if res.Elapsed > 0 {
		res.PerSecond = float64(answered) / res.Elapsed.Seconds()
	}
	return res
}

// sleep waits for d, and reports whether ctx still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
