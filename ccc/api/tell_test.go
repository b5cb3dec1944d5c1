package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/fleet"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// TestToldOnce: what many readers of a tenant hear is read once.
func TestToldOnce(t *testing.T) {
	t.Parallel()
	var reads atomic.Int64
	bubble(t, func(w *world) {
		owner := w.in(w.north, store.RoleOwner)
		var all []*sink
		for range 12 {
			all = append(all, owner.stream(context.Background()))
			all[len(all)-1].read(w)
		}
		reads.Store(0)
		const systems = 20
		for i := range systems {
			owner.save(fmt.Sprintf("00000001%02d", i), "PBX")
		}
		time.Sleep(w.api.cfg.Streams.Coalesce)
		first := all[0].read(w)
		if n := strings.Count(first, "event: system\n"); n < systems {
			t.Errorf("%d systems are told, want %d", n, systems)
		}
		for _, s := range all[1:] {
			if got := s.read(w); got != first {
				t.Errorf("one hears %q, another %q", got, first)
			}
		}
		// The changes may be seen in two parts, and each has systems and a summary.
		if n := reads.Load(); n < 2 || n > 4 {
			t.Errorf("the store was read %d times", n)
		}
		w.must(w.api.Drain(context.Background()))
		for _, s := range all {
			<-s.ended
		}
	}, func(o *options) {
		o.limits.OffersPerHour = 100
		o.view = func(next view) view {
			return func(ctx context.Context, f func(*store.Tx) error) error {
				reads.Add(1)
				return next(ctx, f)
			}
		}
	})
}

// TestSummaryIsCountedOnce: systems are counted where some came or went, and not with
// each change of presence.
func TestSummaryIsCountedOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		owner := w.in(w.north, store.RoleOwner)
		scene := owner.scene()
		s := owner.stream(context.Background())
		s.read(w)
		w.update(func(tx *store.Tx) error { // by another process
			return tx.CreateSystem(store.System{
				ID: store.NewID[store.SystemID](), Tenant: w.north, Serial: "0000000099", State: store.StateLeft, Created: time.Now(), StateSince: time.Now(),
			})
		})
		w.fleet.set("0000000002", fleet.Status{Online: true, Since: time.Now()})
		if got := s.read(w); eventNames(got) != "presence summary" || !strings.Contains(got, `{"total":2,"online":1}`) {
			t.Errorf("online: %q", got)
		}
		// The way to it changes, and no number.
		w.fleet.set("0000000002", fleet.Status{Online: true, Since: time.Now(), RTT: time.Millisecond})
		if got := s.read(w); eventNames(got) != "presence" {
			t.Errorf("another way: %q", got)
		}
		owner.do(http.MethodDelete, "/systems/"+scene.offered, "").want(http.StatusNoContent)
		if got := s.read(w); eventNames(got) != "removed" { // two as before: one came, one went
			t.Errorf("removed: %q", got)
		}
		owner.save("0000000007", "Seven")
		if got := s.read(w); eventNames(got) != "offer system summary" || !strings.Contains(got, `{"total":3,"online":1}`) {
			t.Errorf("saved: %q", got)
		}
		w.must(w.api.Drain(context.Background()))
		<-s.ended
	})
}

// TestRemovedGroupIsTold: the systems that were in a group change with its end.
func TestRemovedGroupIsTold(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		owner := w.in(w.north, store.RoleOwner)
		g := read[Group](owner.do(http.MethodPost, "/groups", `{"name":"Group"}`).want(http.StatusCreated))
		in := read[SystemOffer](owner.do(http.MethodPost, "/systems", `{"serial":"0000000001","name":"In","groups":["`+g.ID+`"]}`).want(http.StatusCreated))
		out := owner.save("0000000002", "Out")
		s := owner.stream(context.Background())
		s.read(w)
		s.read(w)
		owner.do(http.MethodDelete, "/groups/"+g.ID, "").want(http.StatusNoContent)
		if got := s.read(w); eventNames(got) != "system" || !strings.Contains(got, in.System.ID) || !strings.Contains(got, `"groups":[]`) || strings.Contains(got, out.System.ID) {
			t.Errorf("it hears %q", got)
		}
		w.must(w.api.Drain(context.Background()))
		<-s.ended
	})
}

// TestResetsAreSpread: readers that have to load everything anew do not do so all at the
// same time, and not again and again.
func TestResetsAreSpread(t *testing.T) {
	t.Parallel()
	bubble(t, func(w *world) {
		c := w.in(w.north, store.RoleMonitoring)
		var all []*sink
		for range 10 {
			all = append(all, c.stream(context.Background()))
			all[len(all)-1].read(w)
		}
		// told gives how many resets came in the time.
		told := func(d time.Duration) (n int) {
			time.Sleep(d)
			synctest.Wait()
			for _, s := range all {
				n += strings.Count(s.taken(), "event: reset\n")
			}
			return n
		}
		w.fleet.change <- fleet.Change{Resync: true}
		half := told(5 * time.Second)
		if rest := told(5 * time.Second); half+rest != len(all) || half == 0 || rest == 0 {
			t.Errorf("%d, then %d are told, of %d", half, rest, len(all))
		}
		for range 30 {
			w.fleet.change <- fleet.Change{Resync: true}
			if n := told(time.Second); n != 0 {
				t.Fatalf("%d are told again too soon", n)
			}
		}
		// Exactly once, however often it had to be; the first were told 30 to 40 s ago.
		if n := told(40 * time.Second); n != len(all) {
			t.Errorf("%d are told again, of %d", n, len(all))
		}
		w.must(w.api.Drain(context.Background()))
		for _, s := range all {
			<-s.ended
		}
	}, func(o *options) { o.api.Streams.ResetEvery, o.api.Streams.ResetSpread = 45*time.Second, 10*time.Second })
}

// TestStoreIsDown: streams outlast a store that does not answer, and tell then what was
// to be told; nobody is told to load what cannot be loaded.
func TestStoreIsDown(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	bubble(t, func(w *world) {
		owner := w.in(w.north, store.RoleOwner)
		s := owner.stream(context.Background())
		s.read(w)
		down.Store(true)
		owner.save("0000000001", "One")
		w.fleet.change <- fleet.Change{Resync: true}
		time.Sleep(time.Minute)
		if got := s.read(w); strings.Trim(got, ": alive\n") != "" {
			t.Errorf("it hears %q", got)
		}
		down.Store(false)
		time.Sleep(tellRetry + w.api.cfg.Streams.ResetEvery + w.api.cfg.Streams.ResetSpread)
		// In which order depends on when each is tried again.
		if got := s.read(w); strings.Count(got, "event: reset\n") != 1 || strings.Count(got, `"total":1`) != 1 {
			t.Errorf("then it hears %q", got)
		}
		// Without a reset it is the events that wait.
		down.Store(true)
		owner.save("0000000002", "Two")
		time.Sleep(time.Minute)
		owner.save("0000000003", "Three")
		s.read(w)
		down.Store(false)
		time.Sleep(tellRetry)
		if got := s.read(w); eventNames(got) != "offer system summary offer system" || !strings.Contains(got, `"total":3`) {
			t.Errorf("at last it hears %q", got)
		}
		w.must(w.api.Drain(context.Background()))
		<-s.ended
	}, func(o *options) {
		o.view = func(next view) view {
			return func(ctx context.Context, f func(*store.Tx) error) error {
				if down.Load() {
					return errors.New("the store is down")
				}
				return next(ctx, f)
			}
		}
	})
}

// pipes is a listener of connections in memory.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, open := <-p
	if !open {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// held is a client's end of a connection that it may stop to read.
type held struct {
	net.Conn
	stop atomic.Bool
	hold chan struct{}
}

func (h *held) Read(b []byte) (int, error) {
	if h.stop.Load() {
		<-h.hold
	}
	return h.Conn.Read(b)
}

// TestStreamOverHTTP: a stream is cut because its client does not read, and for no other
// time that passes.
func TestStreamOverHTTP(t *testing.T) {
	t.Parallel()
	for name, protocol := range map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2":   func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(w *world) {
				var protocols http.Protocols
				protocol(&protocols)
				listener := make(pipes)
				server := w.api.Server()
				server.Protocols = &protocols
				served := make(chan error, 1)
				go func() { served <- server.Serve(listener) }()
				var conn *held
				transport := &http.Transport{Protocols: &protocols, DialContext: func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					listener <- theirs
					conn = &held{Conn: ours, hold: make(chan struct{})}
					return conn, nil
				}}
				owner := w.in(w.north, store.RoleOwner)
				r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://localhost"+Prefix+"/events", http.NoBody)
				w.must(err)
				for _, c := range owner.http.Jar.Cookies(r.URL) {
					r.AddCookie(c)
				}
				defer func() {
					transport.CloseIdleConnections()
					w.must(server.Close())
					if err := <-served; !errors.Is(err, http.ErrServerClosed) {
						t.Error(err)
					}
					w.must(conn.Close())
				}()
				resp, err := transport.RoundTrip(r)
				w.must(err)
				defer resp.Body.Close()
				lines := bufio.NewScanner(resp.Body)
				for _, want := range []string{"event: summary", `data: {"total":0,"online":0}`, "", ": alive", "", ": alive", ""} {
					if !lines.Scan() || lines.Text() != want {
						t.Fatalf("got %q, %v, want %q", lines.Text(), lines.Err(), want)
					}
				}
				if n := w.api.hub.count(); n != 1 {
					t.Errorf("%d streams are open", n)
				}
				conn.stop.Store(true)
				defer close(conn.hold)
				for range 1000 { // until nothing more fits
					w.api.hub.publish(w.north, notice{subject: subject{eventRemoved, store.NewID[store.SystemID]()}})
				}
				time.Sleep(w.api.cfg.Streams.Heartbeat + w.api.cfg.Streams.WriteTimeout)
				synctest.Wait()
				if n := w.api.hub.count(); n != 0 {
					t.Errorf("%d streams are open that nobody reads", n)
				}
			}, func(o *options) {
				// The time between two heartbeats is longer than all that bounds an answer.
				o.api.Limits.AnswerTimeout = 2 * time.Second
				o.api.Streams.WriteTimeout, o.api.Streams.Heartbeat = 3*time.Second, 5*time.Minute
			})
		})
	}
}
