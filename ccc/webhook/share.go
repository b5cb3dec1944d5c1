package webhook

import (
	"slices"
	"sync"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// shares says how many deliveries may be on their way at once, and whose they are. A
// tenant gets another one only while it has fewer than are free, and a webhook while it
// has fewer than are free for its tenant: however many receivers hang, there is room for
// who has none on its way.
type shares struct {
	tenant, total int // at most

	mu    sync.Mutex              // guards what follows
	busy  map[store.WebhookID]int // on their way
	of    map[store.TenantID]int  // the same by tenant
	taken int                     // and of all
}

func newShares(tenant, total int) *shares {
	return &shares{tenant: tenant, total: total, busy: map[store.WebhookID]int{}, of: map[store.TenantID]int{}}
}

// lot is how many deliveries a webhook gets.
type lot struct {
	webhook store.Webhook
	n       int
}

// allot takes what there is for some webhooks, one at a time: for the tenant that has the
// fewest, and of its webhooks for the one that has the fewest. The order of the webhooks
// decides among equals; most is for one webhook.
func (s *shares) allot(due []store.Webhook, most func(store.Webhook) int) []lot {
	s.mu.Lock()
	defer s.mu.Unlock()
	var tenants []store.TenantID
	waiting := map[store.TenantID][]*lot{}
	all := make([]lot, len(due))
	for i, w := range due {
		if waiting[w.Tenant] == nil {
			tenants = append(tenants, w.Tenant)
		}
		all[i].webhook = w
		waiting[w.Tenant] = append(waiting[w.Tenant], &all[i])
	}
	for {
		var next *lot
		for _, t := range tenants {
			if s.of[t] >= min(s.tenant, s.total-s.taken) || next != nil && s.of[t] >= s.of[next.webhook.Tenant] {
				continue
			}
			if l := s.first(waiting[t], s.tenant-s.of[t], most); l != nil {
				next = l
			}
		}
		if next == nil {
			return slices.DeleteFunc(all, func(l lot) bool { return l.n == 0 })
		}
		next.n++
		s.add(next.webhook, 1)
	}
}

// first gives the webhook of a tenant that has the fewest, and may have another one.
func (s *shares) first(all []*lot, free int, most func(store.Webhook) int) (least *lot) {
	for _, l := range all {
		n := s.busy[l.webhook.ID]
		if n < min(most(l.webhook), free) && (least == nil || n < s.busy[least.webhook.ID]) {
			least = l
		}
	}
	return least
}

// release gives n back.
func (s *shares) release(w store.Webhook, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(w, -n)
}

// add counts. Callers hold mu.
func (s *shares) add(w store.Webhook, n int) {
	s.taken += n
	if s.busy[w.ID] += n; s.busy[w.ID] == 0 {
		delete(s.busy, w.ID)
	}
	if s.of[w.Tenant] += n; s.of[w.Tenant] == 0 {
		delete(s.of, w.Tenant)
	}
}
