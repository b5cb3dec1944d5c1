package api

import "github.com/comtrexx-cloud/comtrexx/ccc/store"

// subject is what a live event is about. Events of one subject that wait for the same
// reader are one event, with what is the case in the end.
type subject struct {
	event  string // as in eventTypes
	system store.SystemID
}

// The names of events.
const (
	eventSummary  = "summary"
	eventSystem   = "system"
	eventRemoved  = "removed"
	eventPresence = "presence"
	eventOffer    = "offer"
	eventRemote   = "remote"
	eventAccess   = "access"
	eventRollout  = "rollout"
	eventReset    = "reset"
)

// entry is an event that waits, with what is known of it.
type entry[V any] struct {
	subject
	v V
}

// queue is what waits, in the order in which it came first. Where more comes than fits
// everything is lost, and nothing more is taken until restart.
type queue[V any] struct {
	most    int
	order   []subject
	waiting map[subject]V
	lost    bool
}

func newQueue[V any](most int) queue[V] { return queue[V]{most: most, waiting: map[subject]V{}} }

func (q *queue[V]) add(s subject, v V) {
	if q.lost {
		return
	}
	if _, there := q.waiting[s]; !there {
		if len(q.order) >= q.most {
			q.lose()
			return
		}
		q.order = append(q.order, s)
	}
	q.waiting[s] = v
}

func (q *queue[V]) lose() {
	q.lost, q.order = true, nil
	clear(q.waiting)
}

func (q *queue[V]) restart() { q.lost = false }

// take empties the queue. What is said about a system that is gone is left out.
func (q *queue[V]) take() (all []entry[V], lost bool) {
	for _, s := range q.order {
		if _, gone := q.waiting[subject{eventRemoved, s.system}]; gone && s.event != eventRemoved && s.system != "" {
			continue
		}
		all = append(all, entry[V]{s, q.waiting[s]})
	}
	q.order = nil
	clear(q.waiting)
	return all, q.lost
}
