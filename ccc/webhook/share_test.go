package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// web is all receivers: those whose address begins with https://hang take their time.
type web struct {
	mu   sync.Mutex
	busy map[string]int // by host
	most map[string]int
	got  map[string]time.Time // when the first one came, by address
}

func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	host := r.URL.Host
	w.busy[host]++
	w.most[host] = max(w.most[host], w.busy[host])
	if _, before := w.got[r.URL.String()]; !before {
		w.got[r.URL.String()] = time.Now()
	}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.busy[host]--
	}()
	if strings.HasPrefix(host, "hang") {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}, nil
}

// TestFloodsHoldUpNobody: two tenants have as many receivers as they can, which all hang,
// and much to tell them. A third one is told in time, although most of its own hang too.
func TestFloodsHoldUpNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		north := newPlace(t, func(c *Config) { c.Timeout = 10 * time.Second })
		net := &web{busy: map[string]int{}, most: map[string]int{}, got: map[string]time.Time{}}
		north.s.http = &http.Client{Transport: net}
		south, west := north.another("South"), north.another("West")
		for i := range store.MaxWebhooks {
			north.hook(fmt.Sprintf("https://hang.north.example/%d", i))
			south.hook(fmt.Sprintf("https://hang.south.example/%d", i))
		}
		for i := range 20 {
			west.hook(fmt.Sprintf("https://hang.west.example/%d", i))
		}
		west.hook("https://west.example/")
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- north.s.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}()
		north.say(8)
		south.say(8)
		time.Sleep(lookEvery)
		synctest.Wait()
		start := time.Now()
		west.say(8)
		time.Sleep(time.Minute)
		net.mu.Lock()
		defer net.mu.Unlock()
		if at, told := net.got["https://west.example/"]; !told || at.Sub(start) > time.Second {
			t.Errorf("told %v, after %s", told, at.Sub(start))
		}
		for _, name := range []string{"north", "south"} {
			if n := net.most["hang."+name+".example"]; n < store.MaxWebhooks || n > DefaultConfig().PerTenant {
				t.Errorf("%s has had %d on their way", name, n)
			}
		}
		if n := len(net.got); n != 2*store.MaxWebhooks+20+1 {
			t.Errorf("%d receivers are told", n)
		}
	})
}

// TestShares: what there is is shared, by tenants first, and something is left.
func TestShares(t *testing.T) {
	t.Parallel()
	hooks := func(tenant store.TenantID, n int) (all []store.Webhook) {
		for i := range n {
			all = append(all, store.Webhook{ID: store.WebhookID(fmt.Sprint(tenant, i)), Tenant: tenant})
		}
		return all
	}
	most := func(store.Webhook) int { return 4 }
	for _, tt := range []struct {
		perTenant, total int
		floods           []int // webhooks of each
		want             []int // deliveries of each
	}{
		{64, 256, []int{1}, []int{4}},
		{64, 256, []int{50}, []int{63}}, // one is left for who has none
		{64, 256, []int{50, 50}, []int{63, 63}},
		{64, 256, []int{50, 50, 50, 1}, []int{63, 63, 63, 4}},
		{64, 64, []int{50, 50, 50}, []int{16, 16, 16}},
		{64, 1, []int{50, 50}, []int{1, 0}},
	} {
		s := newShares(tt.perTenant, tt.total)
		var due []store.Webhook
		for i, n := range tt.floods {
			due = append(due, hooks(store.TenantID(fmt.Sprint("t", i, "-")), n)...)
		}
		lots := s.allot(due, most)
		got := make([]int, len(tt.floods))
		for i := range got {
			got[i] = s.of[store.TenantID(fmt.Sprint("t", i, "-"))]
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%v of %d: %v, want %v", tt.floods, tt.total, got, tt.want)
		}
		if more := s.allot(due, most); len(more) != 0 {
			t.Errorf("%v: then there is more: %v", tt.floods, more)
		}
		for _, l := range lots {
			if l.n > 4 || len(tt.floods) == 3 && l.n > 2 {
				t.Errorf("%v: %s has %d", tt.floods, l.webhook.ID, l.n)
			}
			s.release(l.webhook, l.n)
		}
		if s.taken != 0 || len(s.busy) != 0 || len(s.of) != 0 {
			t.Errorf("%v: left are %+v", tt.floods, s)
		}
	}
}
