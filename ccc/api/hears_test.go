package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// streamIn opens live events of a tenant.
func (c *client) streamIn(tenant store.TenantID) *sink {
	c.w.t.Helper()
	s := &sink{header: http.Header{}, ended: make(chan struct{})}
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "http://localhost"+Prefix+"/events", http.NoBody)
	r.Header.Set(tenantHeader, string(tenant))
	for _, cookie := range c.http.Jar.Cookies(r.URL) {
		r.AddCookie(cookie)
	}
	go func() {
		defer close(s.ended)
		c.w.api.Handler().ServeHTTP(s, r)
	}()
	synctest.Wait()
	return s
}

// TestStreamEndsWithTheRight: a grant that is taken back, or is over, ends live events;
// before that they come.
func TestStreamEndsWithTheRight(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world, owner *client, grant store.GrantID){
		"taken back": func(_ *world, owner *client, id store.GrantID) {
			owner.do(http.MethodDelete, "/grants/"+string(id), "").want(http.StatusNoContent)
		},
		"over": func(*world, *client, store.GrantID) { time.Sleep(10 * time.Minute) },
	} {
		bubble(t, func(w *world) {
			reseller := w.kind(store.KindReseller, "")
			owner, clerk := w.in(w.north, store.RoleOwner), w.in(reseller, store.RoleMonitoring)
			until := time.Now().Add(10 * time.Minute)
			id := w.grant(w.north, reseller, &until, store.RoleMonitoring)
			s := clerk.streamIn(w.north)
			s.read(w)
			owner.save("0000000001", "One")
			if text := s.read(w); !strings.Contains(text, "0000000001") {
				t.Errorf("%s: the control: %q", name, text)
			}
			end(w, owner, id)
			owner.save("0000000002", "Two")
			if text := s.read(w); strings.Contains(text, "0000000002") {
				t.Errorf("%s: told after that: %q", name, text)
			}
			if !s.over() {
				t.Errorf("%s: the stream goes on", name)
				s.read(w)
			}
		})
	}
}

// TestStreamOfAPart: who sees a part of the systems hears of these, and counts these.
func TestStreamOfAPart(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		owner, c := w.in(w.north, store.RoleOwner), w.in(w.north, "")
		mine, other := owner.save("0000000001", "Mine").System.ID, owner.save("0000000002", "Other").System.ID
		path := "/users/" + string(c.user.ID) + "/roles"
		owner.do(http.MethodPut, path, `{"roles":[{"role":"monitoring","system_id":"`+mine+`"}]}`).want(http.StatusOK)
		s := c.streamIn(w.north)
		if text := s.read(w); !strings.Contains(text, `{"total":1,"online":0}`) {
			t.Errorf("begins with %q", text)
		}
		for _, id := range []string{mine, other} {
			owner.do(http.MethodPatch, "/systems/"+id, `{"note":"changed"}`, "If-Match: *").want(http.StatusOK)
		}
		owner.save("0000000003", "Third")
		text := s.read(w)
		if !strings.Contains(text, mine) || strings.Contains(text, other) || strings.Contains(text, "0000000003") || strings.Contains(text, `"total":3`) {
			t.Errorf("hears %q", text)
		}
		// With another right everything is loaded anew.
		owner.do(http.MethodPut, path, `{"roles":[{"role":"monitoring","system_id":"`+other+`"}]}`).want(http.StatusOK)
		time.Sleep(w.api.cfg.Streams.ResetSpread)
		if text := s.read(w); !strings.Contains(text, "event: reset") {
			t.Errorf("with another right: %q", text)
		}
		owner.do(http.MethodPatch, "/systems/"+other, `{"note":"again"}`, "If-Match: *").want(http.StatusOK)
		if text := s.read(w); !strings.Contains(text, other) || strings.Contains(text, mine) {
			t.Errorf("hears then %q", text)
		}
		owner.do(http.MethodPut, path, `{"roles":[]}`).want(http.StatusOK)
		s.read(w)
		if !s.over() {
			t.Error("without a right the stream goes on")
		}
	})
}

// TestAccessIsLive: the customer hears that somebody broke glass.
func TestAccessIsLive(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		operator := w.kind(store.KindOperator, "")
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		s, other := w.in(w.north, store.RoleOwner).stream(ctx), w.in(w.south, store.RoleOwner).stream(ctx)
		s.read(w)
		other.read(w)
		w.in(operator, store.RoleOwner).do(http.MethodPost, "/break-glass", `{"tenant_id":"`+string(w.north)+`","reason":"x","minutes":5}`).want(http.StatusCreated)
		if text := s.read(w); eventNames(text) != eventAccess {
			t.Errorf("the customer hears %q", text)
		}
		if text := other.taken(); text != "" {
			t.Errorf("another hears %q", text)
		}
		cancel()
		synctest.Wait()
	})
}
