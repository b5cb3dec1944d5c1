package pairing

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// queue holds the PBXs that something waits for. Each is visited by one worker at a
// time; what comes up meanwhile makes another visit. Its length is bounded by the number
// of PBXs.
type queue struct {
	retryMin, retryMax time.Duration
	ready              signal

	mu      sync.Mutex // guards what follows
	tasks   map[identity.Serial]*task
	order   []identity.Serial // that are queued
	stopped bool
}

// task is a PBX in the queue. It is in one of three places: queued, running, or waiting
// for its timer.
type task struct {
	queued, running bool
	again           bool // came up while running
	failures        int
	timer           *time.Timer
	withdrawn       []store.OfferID
}

func newQueue(l Limits) *queue {
	return &queue{retryMin: l.RetryMin, retryMax: l.RetryMax, ready: newSignal(), tasks: map[identity.Serial]*task{}}
}

// add queues a PBX now, whatever failed before: there is news.
func (q *queue) add(serial identity.Serial) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.task(serial)
	t.failures = 0
	q.enqueue(serial, t)
}

// addMaybe queues a PBX of which it is not known whether there is news. What failed
// before still counts.
func (q *queue) addMaybe(serial identity.Serial) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.enqueue(serial, q.task(serial))
}

// withdraw has a PBX told that an offer is void.
func (q *queue) withdraw(serial identity.Serial, offer store.OfferID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.task(serial)
	t.withdrawn = append(t.withdrawn, offer)
	q.enqueue(serial, t)
}

// task, with mu held, finds or makes one.
func (q *queue) task(serial identity.Serial) *task {
	t := q.tasks[serial]
	if t == nil {
		t = &task{}
		q.tasks[serial] = t
	}
	return t
}

// enqueue, with mu held, queues a task that is not yet.
func (q *queue) enqueue(serial identity.Serial, t *task) {
	switch {
	case t.running:
		t.again = true
		return
	case t.queued:
		return
	}
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	t.queued = true
	q.order = append(q.order, serial)
	q.ready.set()
}

// take waits for a PBX. It is false once ctx has ended.
func (q *queue) take(ctx context.Context) (identity.Serial, []store.OfferID, bool) {
	for {
		if ctx.Err() != nil {
			return "", nil, false
		}
		if serial, withdrawn, ok := q.next(); ok {
			return serial, withdrawn, true
		}
		select {
		case <-q.ready:
		case <-ctx.Done():
		}
	}
}

func (q *queue) next() (identity.Serial, []store.OfferID, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.order) == 0 {
		return "", nil, false
	}
	serial := q.order[0]
	q.order = q.order[1:]
	if len(q.order) > 0 {
		q.ready.set() // for another worker
	}
	t := q.tasks[serial]
	t.queued, t.running = false, true
	withdrawn := t.withdrawn
	t.withdrawn = nil
	return serial, withdrawn, true
}

// done ends a visit; failed has it made again after a while, also where something came
// up meanwhile: that may have come from the visit itself.
func (q *queue) done(serial identity.Serial, failed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.tasks[serial]
	t.running = false
	switch {
	case failed && !q.stopped:
		t.again = false
		t.failures++
		t.timer = time.AfterFunc(q.backOff(t.failures), func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			if q.tasks[serial] == t && !q.stopped {
				q.enqueue(serial, t)
			}
		})
	case t.again:
		t.again = false
		q.enqueue(serial, t)
	default:
		delete(q.tasks, serial)
	}
}

// backOff is the wait after so many failures: drawn between a half and all of a time
// that doubles.
func (q *queue) backOff(failures int) time.Duration {
	wait := q.retryMin
	for i := 1; i < failures && wait < q.retryMax; i++ {
		wait *= 2
	}
	wait = min(wait, q.retryMax)
	return wait/2 + rand.N(wait/2+1)
}

// stop ends all timers. The queue is not used any more.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	for _, t := range q.tasks {
		if t.timer != nil {
			t.timer.Stop()
		}
	}
}

// len is the number of PBXs in it.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.tasks)
}
