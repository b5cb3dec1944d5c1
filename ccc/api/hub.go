package api

import (
	"sync"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// notice is an event that is not complete: what it says is read when it is told. Its
// value is the step of an offer.
type notice = entry[OfferStep]

// message is an event as it is sent.
type message = entry[[]byte]

// hub hands events to the readers of each tenant. Notices wait in it until [API.tell] has
// made messages of them, once for all readers of the tenant.
type hub struct {
	queue int           // what waits for one tenant, and for one reader
	wake  chan struct{} // something waits; has room for one

	mu    sync.Mutex // guards feeds; taken before a reader's
	feeds map[store.TenantID]*feed
}

// feed is a tenant that has readers.
type feed struct {
	readers map[*reader]struct{}
	waiting queue[OfferStep]

	systems int    // how many the tenant has
	counted bool   // whether that is so; until some come or go
	counts  uint64 // how often some came or went
}

func newHub(queue int) *hub {
	return &hub{queue: queue, wake: make(chan struct{}, 1), feeds: map[store.TenantID]*feed{}}
}

// reader is one open stream.
type reader struct {
	tenant store.TenantID
	user   store.UserID
	wake   chan struct{} // something waits, or was lost; has room for one

	rights chan struct{} // what the user may is to be looked at anew; has room for one

	summary []byte // the last that was sent; the stream's alone

	mu      sync.Mutex // guards the fields below
	waiting queue[[]byte]
	only    map[store.SystemID]struct{} // the systems that it hears of; nil: all
}

// join adds a reader, unless the user has most readers already.
func (h *hub) join(tenant store.TenantID, user store.UserID, most int) (*reader, bool) {
	r := &reader{tenant: tenant, user: user, wake: make(chan struct{}, 1), rights: make(chan struct{}, 1), waiting: newQueue[[]byte](h.queue)}
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.feeds[tenant]
	if f == nil {
		f = &feed{readers: map[*reader]struct{}{}, waiting: newQueue[OfferStep](h.queue)}
	}
	own := 0
	for other := range f.readers {
		if other.user == user {
			own++
		}
	}
	if own >= most {
		return nil, false
	}
	f.readers[r] = struct{}{}
	h.feeds[tenant] = f
	return r, true
}

func (h *hub) leave(r *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.feeds[r.tenant]
	delete(f.readers, r)
	if len(f.readers) == 0 {
		delete(h.feeds, r.tenant)
	}
}

// count gives the number of readers.
func (h *hub) count() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.feeds {
		n += len(f.readers)
	}
	return n
}

// publish has a tenant's readers told. It never waits for them.
func (h *hub) publish(tenant store.TenantID, all ...notice) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.feeds[tenant]
	if f == nil {
		return
	}
	for _, n := range all {
		f.waiting.add(n.subject, n.v)
	}
	signal(h.wake)
}

// recount is to be called where systems of a tenant have come or gone, or of any tenant
// where it names none.
func (h *hub) recount(tenant store.TenantID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t, f := range h.feeds {
		if tenant == "" || t == tenant {
			f.counted, f.counts = false, f.counts+1
		}
	}
}

// systems gives how many systems the tenant has, where that is known, and otherwise what
// is to be given to [hub.setSystems] with the number.
func (h *hub) systems(tenant store.TenantID) (n int, known bool, counts uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.feeds[tenant]; f != nil {
		return f.systems, f.counted, f.counts
	}
	return 0, false, 0
}

// setSystems notes a number that was read after [hub.systems] gave counts, unless it is
// old by now.
func (h *hub) setSystems(tenant store.TenantID, n int, counts uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f := h.feeds[tenant]; f != nil && f.counts == counts {
		f.systems, f.counted = n, true
	}
}

// reset has the tenant's readers load everything anew, or all readers where it names no
// tenant.
func (h *hub) reset(tenant store.TenantID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t, f := range h.feeds {
		if tenant == "" || t == tenant {
			f.reset()
		}
	}
}

func (f *feed) reset() {
	for r := range f.readers {
		r.lose()
	}
}

// recheck has the readers that the function says yes to look at their rights anew, before
// they are sent anything more.
func (h *hub) recheck(is func(*reader) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.feeds {
		for r := range f.readers {
			if is(r) {
				signal(r.rights)
			}
		}
	}
}

// batch is what waits for one tenant.
type batch struct {
	tenant  store.TenantID
	notices []notice
}

// take gives what waits. Where that was too much the readers load everything anew.
func (h *hub) take() (all []batch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for tenant, f := range h.feeds {
		notices, lost := f.waiting.take()
		if lost {
			f.waiting.restart()
			f.reset()
		}
		if len(notices) > 0 {
			all = append(all, batch{tenant, notices})
		}
	}
	return all
}

// putBack has a batch wait again, before what came since.
func (h *hub) putBack(b batch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.feeds[b.tenant]
	if f == nil {
		return
	}
	since, _ := f.waiting.take() // and none of this fits where it was too much
	for _, n := range append(b.notices, since...) {
		f.waiting.add(n.subject, n.v)
	}
	signal(h.wake)
}

// deliver gives messages to the tenant's readers.
func (h *hub) deliver(tenant store.TenantID, all []message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.feeds[tenant]
	if f == nil || len(all) == 0 {
		return
	}
	for r := range f.readers {
		r.add(all)
	}
}

func (r *reader) add(all []message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range all {
		if _, heard := r.only[m.system]; heard || r.only == nil || m.system == "" {
			r.waiting.add(m.subject, m.v)
		}
	}
	signal(r.wake)
}

func (r *reader) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting.lose()
	signal(r.wake)
}

// take gives what waits; lost: the reader has to load everything anew, and hears nothing
// until restart.
func (r *reader) take() (all []message, lost bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting.take()
}

func (r *reader) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting.restart()
}

// signal says that there is something to look at. It is remembered once.
func signal(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
