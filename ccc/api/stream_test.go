package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// inMemory calls the handler without a network, so that time can stand still.
type inMemory struct{ handler http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	m.handler.ServeHTTP(rec, r)
	return rec.Result(), nil
}

// bubble is a world in a bubble of package synctest, with its loop running.
func bubble(t *testing.T, f func(w *world), change ...func(*options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, change...)
		w.url = "http://localhost"
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- w.api.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("Run gives %v", err)
			}
		}()
		<-w.api.Ready()
		f(w)
	})
}

// in is a client in a bubble.
func (w *world) in(tenant store.TenantID, role store.Role) *client {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	w.must(err)
	c := &client{w: w, http: &http.Client{Transport: inMemory{w.api.Handler()}, Jar: jar}}
	email := string(store.NewID[store.UserID]()) + "@example.com"
	c.user = w.user(tenant, email, role)
	c.signIn(email)
	return c
}

// sink is the browser's end of a stream. A reader that is stopped takes nothing.
type sink struct {
	header http.Header
	ended  chan struct{} // closed when the stream is over

	mu       sync.Mutex // guards what follows
	status   int
	text     strings.Builder
	deadline time.Time
	gate     chan struct{} // nil: open
}

func (s *sink) Header() http.Header { return s.header }

func (s *sink) WriteHeader(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	gate, deadline := s.gate, s.deadline
	s.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-time.After(time.Until(deadline)):
			return 0, os.ErrDeadlineExceeded
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *sink) Flush() {}

func (s *sink) SetReadDeadline(time.Time) error { return nil }

func (s *sink) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return nil
}

func (s *sink) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = make(chan struct{})
}

func (s *sink) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.gate)
	s.gate = nil
}

// read gives what has come since the last time, after as long as changes are collected.
func (s *sink) read(w *world) string {
	time.Sleep(w.api.cfg.Streams.Coalesce)
	synctest.Wait()
	return s.taken()
}

// taken gives what has come by now.
func (s *sink) taken() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.text.String()
	s.text.Reset()
	return text
}

func (s *sink) over() bool {
	synctest.Wait()
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// stream opens a stream of events as the client, until ctx ends.
func (c *client) stream(ctx context.Context) *sink {
	c.w.t.Helper()
	s := &sink{header: http.Header{}, ended: make(chan struct{})}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+Prefix+"/events", http.NoBody)
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

// events gives the names of the events in a text.
func eventNames(text string) string {
	var all []string
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "event: "); ok {
			all = append(all, strings.TrimSpace(name))
		}
	}
	return strings.Join(all, " ")
}

func TestStream(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		ctx, cancel := context.WithCancel(context.Background())
		north, south := w.in(w.north, store.RoleMonitoring), w.in(w.south, store.RoleOwner)
		owner := w.in(w.north, store.RoleOwner)
		scene := owner.scene()
		s, other := north.stream(ctx), south.stream(ctx)
		if got := s.read(w); got != "event: summary\ndata: {\"total\":2,\"online\":0}\n\n" {
			t.Errorf("it begins with %q", got)
		}
		for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"} {
			if got := s.header.Get(name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		other.read(w)

		// Presence of the paired one, and of nobody else.
		since := time.Now().UTC().Truncate(time.Second)
		w.fleet.set("0000000002", fleet.Status{Online: true, Since: since, Transport: tunnel.TCP, RTT: 5 * time.Millisecond})
		want := fmt.Sprintf("event: presence\ndata: {\"id\":%q,\"online\":true,\"since\":%q,\"transport\":\"tcp\",\"rtt_ms\":5}\n\n"+
			"event: summary\ndata: {\"total\":2,\"online\":1}\n\n", scene.paired, since.Format(time.RFC3339))
		if got := s.read(w); got != want {
			t.Errorf("online: got %q, want %q", got, want)
		}
		w.fleet.set("0000000001", fleet.Status{Online: true, Since: since})
		if got := s.read(w); got != "" {
			t.Errorf("one that is not paired: %q", got)
		}

		// Many changes of one thing are one event, with what is the case in the end.
		for i := range 5 {
			owner.do(http.MethodPatch, "/systems/"+scene.offered, fmt.Sprintf(`{"name":"Name %d"}`, i), "If-Match: *").want(http.StatusOK)
		}
		got := s.read(w)
		if eventNames(got) != "system" && eventNames(got) != "system system" || !strings.Contains(got, `"name":"Name 4"`) {
			t.Errorf("five changes: %q", got)
		}

		// A new offer, and the end of a system.
		owner.do(http.MethodPost, "/systems/"+scene.offered+"/offer", "").want(http.StatusCreated)
		owner.do(http.MethodDelete, "/systems/"+scene.offered+"/offer", "").want(http.StatusNoContent)
		got = s.read(w) + s.read(w)
		if !strings.Contains(got, fmt.Sprintf("event: offer\ndata: {\"system_id\":%q,\"step\":\"expired\"}\n", scene.offered)) {
			t.Errorf("withdrawn: %q", got)
		}
		owner.do(http.MethodDelete, "/systems/"+scene.offered, "").want(http.StatusNoContent)
		if got := s.read(w); eventNames(got) != "removed summary" || !strings.Contains(got, fmt.Sprintf(`{"id":%q}`, scene.offered)) || !strings.Contains(got, `"total":1`) {
			t.Errorf("removed: %q", got)
		}

		// Nothing of this was told to another tenant.
		if got := other.read(w); got != "" {
			t.Errorf("another tenant hears %q", got)
		}
		// No token goes over a stream.
		o := owner.save("0000000007", "Seven")
		if got := s.read(w); eventNames(got) != "offer system summary" || !strings.Contains(got, `"step":"sent"`) || strings.Contains(got, o.Offer.Token) || strings.Contains(got, o.Offer.Code) {
			t.Errorf("a new system: %q", got)
		}
		cancel()
		if !s.over() || !other.over() {
			t.Error("a stream goes on without its client")
		}
	})
}

// TestStreamHeartbeat: a stream is heard of when nothing happens, and ends with the
// session.
func TestStreamHeartbeat(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		c := w.in(w.north, store.RoleMonitoring)
		s := c.stream(context.Background())
		s.read(w)
		for range 3 {
			time.Sleep(w.api.cfg.Streams.Heartbeat)
			if got := s.read(w); got != ": alive\n\n" {
				t.Errorf("heartbeat: %q", got)
			}
		}
		c.do(http.MethodDelete, "/session", "").want(http.StatusNoContent)
		time.Sleep(w.api.cfg.Streams.Heartbeat)
		if !s.over() {
			t.Error("the stream outlives the session")
		}
		if n := w.api.hub.count(); n != 0 {
			t.Errorf("%d readers are left", n)
		}
	})
}

// TestStreamIsNoActivity: a session ends when nobody does anything, stream or not.
func TestStreamIsNoActivity(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		c := w.in(w.north, store.RoleMonitoring)
		s := c.stream(context.Background())
		time.Sleep(20 * time.Minute)
		if s.over() {
			t.Fatal("the stream ended early")
		}
		time.Sleep(11 * time.Minute)
		if !s.over() {
			t.Error("the stream keeps the session alive")
		}
		c.do(http.MethodGet, "/session", "").problem(CodeUnauthenticated)
	})
}

// TestSlowReader: what does not fit is given up, and the client told to start anew; one
// that reads nothing at all loses the stream.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		owner := w.in(w.north, store.RoleOwner)
		slow, quick := owner.stream(context.Background()), owner.stream(context.Background())
		slow.read(w)
		quick.read(w)
		slow.stop()
		for i := range 4 {
			owner.save(fmt.Sprintf("000000001%d", i), "PBX")
			if got := quick.read(w); eventNames(got) != "offer system summary" {
				t.Errorf("the quick one hears %q", got)
			}
		}
		slow.resume()
		got := slow.read(w)
		time.Sleep(w.api.cfg.Streams.ResetSpread)
		got += slow.read(w)
		if eventNames(got) != "offer system summary reset summary" || !strings.Contains(got, "event: reset\ndata: {}\n\n") || !strings.HasSuffix(got, "{\"total\":4,\"online\":0}\n\n") {
			t.Errorf("the slow one hears %q", got)
		}
		// From then on it hears all again.
		owner.save("0000000019", "PBX")
		if got := slow.read(w); eventNames(got) != "offer system summary" {
			t.Errorf("then the slow one hears %q", got)
		}

		slow.stop()
		owner.save("0000000020", "PBX")
		time.Sleep(w.api.cfg.Streams.WriteTimeout)
		if !slow.over() || quick.over() {
			t.Error("the one that reads nothing has to lose its stream, the other not")
		}
		w.must(w.api.Drain(context.Background()))
		if !quick.over() {
			t.Error("a stream outlives the drain")
		}
	}, func(o *options) { o.api.Streams.Queue = 3 })
}

func TestStreamsPerUser(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		c, colleague := w.in(w.north, store.RoleMonitoring), w.in(w.north, store.RoleMonitoring)
		first := c.stream(context.Background())
		ctx, cancel := context.WithCancel(context.Background())
		second := c.stream(ctx)
		third := c.stream(context.Background())
		if !third.over() || third.status != http.StatusTooManyRequests {
			t.Errorf("the third stream: status %d", third.status)
		}
		others := colleague.stream(context.Background())
		if others.over() {
			t.Error("a colleague's stream is refused")
		}
		cancel()
		if !second.over() {
			t.Fatal("the second stream goes on")
		}
		if fourth := c.stream(context.Background()); fourth.over() {
			t.Error("there is no room after a stream has ended")
		}
		w.must(w.api.Drain(context.Background()))
		if !first.over() || !others.over() {
			t.Error("a stream outlives the drain")
		}
		synctest.Wait()
	}, func(o *options) { o.api.Streams.PerUser = 2 })
}

// TestResync: where changes of presence were dropped, everybody starts anew.
func TestResync(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		s := w.in(w.north, store.RoleMonitoring).stream(context.Background())
		s.read(w)
		w.fleet.change <- fleet.Change{Resync: true}
		time.Sleep(w.api.cfg.Streams.ResetSpread)
		if got := s.read(w); eventNames(got) != "reset summary" {
			t.Errorf("got %q", got)
		}
		w.must(w.api.Drain(context.Background()))
		<-s.ended
	})
}

// TestLastSeen: when a paired PBX went offline is kept.
func TestLastSeen(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		c := w.in(w.north, store.RoleOwner)
		scene := c.scene()
		since := time.Now().UTC().Truncate(time.Second)
		get := func() System {
			return read[System](c.do(http.MethodGet, "/systems/"+scene.paired, "").want(http.StatusOK))
		}
		w.fleet.set("0000000002", fleet.Status{Online: true, Since: since})
		time.Sleep(noteAfter)
		synctest.Wait()
		if s := get(); !s.Online || s.LastSeenAt != nil {
			t.Errorf("online: %+v", s)
		}
		gone := since.Add(time.Hour)
		w.fleet.set("0000000002", fleet.Status{Since: gone, Reason: tunnel.CodeSessionLost})
		for range 2 { // at once, and when it was noted and presence knows nothing any more
			if s := get(); s.Online || s.Unclear || s.LastSeenAt == nil || !s.LastSeenAt.Equal(gone) {
				t.Errorf("offline: %+v", s)
			}
			time.Sleep(noteAfter)
			synctest.Wait()
			w.fleet.forget("0000000002")
		}

		// Also of one whose change was dropped.
		w.fleet.set("0000000002", fleet.Status{Online: true, Since: gone})
		time.Sleep(noteAfter)
		again := gone.Add(time.Hour)
		w.fleet.mu.Lock()
		w.fleet.all["0000000002"] = fleet.Status{Since: again, Reason: tunnel.CodeSessionLost}
		w.fleet.mu.Unlock()
		w.fleet.change <- fleet.Change{Resync: true}
		time.Sleep(noteAfter)
		synctest.Wait()
		w.fleet.forget("0000000002")
		if s := get(); s.LastSeenAt == nil || !s.LastSeenAt.Equal(again) {
			t.Errorf("after a resync: %+v", s)
		}
	})
}
