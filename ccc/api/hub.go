package api

import (
	"sync"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// subject is what a live event is about. Events of one subject that wait for the same
// reader are one event: what it says is looked up when it is sent.
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
	eventReset    = "reset"
)

// notice is an event that waits. step is that of an offer.
type notice struct {
	subject
	step OfferStep
}

// hub hands events to the readers of each tenant.
type hub struct {
	queue int // notices that wait for one reader

	mu      sync.Mutex // guards readers; taken before a reader's
	readers map[store.TenantID]map[*reader]struct{}
}

func newHub(queue int) *hub {
	return &hub{queue: queue, readers: map[store.TenantID]map[*reader]struct{}{}}
}

// reader is one open stream.
type reader struct {
	tenant store.TenantID
	user   store.UserID
	queue  int
	wake   chan struct{} // has room for one

	mu      sync.Mutex // guards the fields below
	waiting map[subject]OfferStep
	order   []subject
	lost    bool
}

// join adds a reader, unless the user has most readers already.
func (h *hub) join(tenant store.TenantID, user store.UserID, most int) (*reader, bool) {
	r := &reader{tenant: tenant, user: user, queue: h.queue, wake: make(chan struct{}, 1), waiting: map[subject]OfferStep{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	own := 0
	for other := range h.readers[tenant] {
		if other.user == user {
			own++
		}
	}
	if own >= most {
		return nil, false
	}
	if h.readers[tenant] == nil {
		h.readers[tenant] = map[*reader]struct{}{}
	}
	h.readers[tenant][r] = struct{}{}
	return r, true
}

func (h *hub) leave(r *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.readers[r.tenant], r)
	if len(h.readers[r.tenant]) == 0 {
		delete(h.readers, r.tenant)
	}
}

// count gives the number of readers.
func (h *hub) count() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, all := range h.readers {
		n += len(all)
	}
	return n
}

// publish gives notices to a tenant's readers. It never waits for them.
func (h *hub) publish(tenant store.TenantID, all ...notice) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for r := range h.readers[tenant] {
		r.add(all)
	}
}

// reset has every reader load everything anew.
func (h *hub) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, all := range h.readers {
		for r := range all {
			r.lose()
		}
	}
}

func (r *reader) add(all []notice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range all {
		if r.lost {
			break
		}
		if _, there := r.waiting[n.subject]; !there {
			if len(r.order) >= r.queue {
				r.forget()
				break
			}
			r.order = append(r.order, n.subject)
		}
		r.waiting[n.subject] = n.step
	}
	r.signal()
}

func (r *reader) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
	r.signal()
}

// forget, with mu held, replaces what waits by a reset.
func (r *reader) forget() {
	r.lost, r.order = true, nil
	clear(r.waiting)
}

func (r *reader) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take gives what waits, in the order in which it came first. What is said about a
// system that is gone is left out.
func (r *reader) take() (all []notice, lost bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.order {
		if _, gone := r.waiting[subject{eventRemoved, s.system}]; gone && s.event != eventRemoved && s.system != "" {
			continue
		}
		all = append(all, notice{s, r.waiting[s]})
	}
	lost = r.lost
	r.lost, r.order = false, nil
	clear(r.waiting)
	return all, lost
}
