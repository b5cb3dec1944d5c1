package dial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/presence"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// presenceOf answers watches of a relay with a snapshot of n sessions, and then does
// what then says, if anything, until the watcher leaves.
func presenceOf(n int, then func(st tunnel.Stream, w *presence.Writer)) func(context.Context, tunnel.Stream, *tunnel.Preamble) {
	return func(_ context.Context, st tunnel.Stream, p *tunnel.Preamble) {
		defer func() { _ = st.Close() }()
		if p.GetService() != "presence" {
			tunnel.Refuse(st, &tunnel.Error{Code: tunnel.CodeServiceUnknown})
			return
		}
		w := presence.NewWriter(st)
		if tunnel.WriteAck(st) != nil || w.Write(presenceSessions(n), true) != nil {
			return
		}
		if then != nil {
			then(st, w)
			return
		}
		_, _ = st.Read(make([]byte, 1))
	}
}

func presenceSessions(n int) []PresenceSession {
	all := make([]PresenceSession, n)
	for i := range all {
		all[i] = PresenceSession{
			Device: identity.Serial(fmt.Sprintf("%010d", i)), Session: presence.SessionID(fmt.Sprintf("%032x", i)),
			Epoch: 1, Online: true, Since: time.Unix(1_800_000_000, 0), Transport: tunnel.QUIC,
		}
	}
	return all
}

// seen collects what a watch tells, one line each.
type seen struct {
	mu    sync.Mutex
	lines []string
}

func (s *seen) add(u PresenceUpdate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case u.Lost:
		s.lines = append(s.lines, fmt.Sprintf("%s %s lost %s", u.Address, u.Relay, tunnel.CodeOf(u.Err)))
	case u.Snapshot:
		s.lines = append(s.lines, fmt.Sprintf("%s %s snapshot of %d", u.Address, u.Relay, len(u.Sessions)))
	default:
		for _, p := range u.Sessions {
			s.lines = append(s.lines, fmt.Sprintf("%s %s online=%t %s", u.Address, p.Device, p.Online, p.Reason))
		}
	}
}

// want takes what has come and compares it, in any order of the addresses.
func (s *seen) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.lines, func(a, b string) int { return strings.Compare(a[:3], b[:3]) })
	if !slices.Equal(s.lines, want) {
		t.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(s.lines, "\n\t"), strings.Join(want, "\n\t"))
	}
	s.lines = nil
}

// watchFor watches until the test ends or stop is called.
func watchFor(t *testing.T, d *Dialer) (*seen, func() error) {
	t.Helper()
	s := new(seen)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.WatchPresence(ctx, s.add) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return s, stop
}

// Snapshot, changes, a session that ends, and a relay that does not answer at all.
func TestWatchPresence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := pkitest.New(t, td)
		r := newRelay("r1")
		changes := make(chan []PresenceSession)
		r.set(identity.Relay(td, "r1"), presenceOf(1200, func(st tunnel.Stream, w *presence.Writer) {
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				_, _ = st.Read(make([]byte, 1))
			}()
			for {
				select {
				case c := <-changes:
					if w.Write(c, false) != nil {
						return
					}
				case <-gone:
					return
				}
			}
		}))
		d, n := newDialer(t, ca, Config{}, r, newRelay("r2"))
		n.mu.Lock()
		delete(n.relays, "b:1")
		n.mu.Unlock()
		s, stop := watchFor(t, d)
		s.want(t, "a:1 relay/r1 snapshot of 1200", "b:1  lost AUER-1208")
		c := presenceSessions(2)
		c[1].Online, c[1].Reason = false, tunnel.CodeBlocked
		changes <- c
		s.want(t, "a:1 0000000000 online=true AUER-0", "a:1 0000000001 online=false AUER-1105")
		// An hour in which nothing happens, but to the relay that is down.
		time.Sleep(time.Hour)
		s.want(t)
		// The session ends, and the relay is there again at once.
		r.each(func(s *relaySession) { _ = s.CloseWithError(tunnel.CodeShutdown, "") })
		time.Sleep(time.Second)
		s.want(t, "a:1 relay/r1 lost AUER-1205", "a:1 relay/r1 snapshot of 1200")
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("ends with %v", err)
		}
		r.set(identity.Relay(td, "r1"), presenceOf(3, nil))
		// Another watch of the same dialer; the dialer's end is that of the watch.
		ended := make(chan error, 1)
		go func() { ended <- d.WatchPresence(context.Background(), s.add) }()
		s.want(t, "a:1 relay/r1 snapshot of 3", "b:1  lost AUER-1208")
		_ = d.Close()
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("ends with %v, want ErrClosed", err)
		}
		if err := d.WatchPresence(context.Background(), s.add); !errors.Is(err, ErrClosed) {
			t.Errorf("a closed dialer watches: %v", err)
		}
	})
}

// A relay that does not let the service watch, or is too old to know what that is, is
// asked rarely, and the log says so once.
func TestPresenceRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := pkitest.New(t, td)
		r := newRelay("r1")
		var asked atomic.Int64
		r.set(identity.Relay(td, "r1"), func(ctx context.Context, st tunnel.Stream, p *tunnel.Preamble) {
			asked.Add(1)
			refuse(tunnel.CodePolicyDenied)(ctx, st, p)
		})
		var log bytes.Buffer
		d, _ := newDialer(t, ca, Config{Logger: hclog.New(&hclog.LoggerOptions{Output: &log})}, r)
		s, stop := watchFor(t, d)
		s.want(t, "a:1 relay/r1 lost AUER-1302")
		time.Sleep(time.Hour)
		s.want(t)
		if n := asked.Load(); n < 40 || n > 90 {
			t.Errorf("asked %d times in an hour, want about 60", n)
		}
		r.set(identity.Relay(td, "r1"), presenceOf(1, nil))
		time.Sleep(2 * time.Minute)
		s.want(t, "a:1 relay/r1 snapshot of 1")
		_ = stop()
		if n := strings.Count(log.String(), "too old"); n != 1 {
			t.Errorf("the log says it %d times:\n%s", n, log.String())
		}
	})
}

// What a relay does wrong ends the watch, which begins anew.
func TestPresenceOfABrokenRelay(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer func(st tunnel.Stream, w *presence.Writer)
		after  time.Duration
		want   string
	}{
		"no end of the snapshot": {func(st tunnel.Stream, w *presence.Writer) {
			_ = w.Write(presenceSessions(1), false)
			_, _ = st.Read(make([]byte, 1))
		}, 16 * time.Second, "a:1 relay/r1 lost AUER-1404"},
		"an end within the snapshot": {func(_ tunnel.Stream, w *presence.Writer) {
			_ = w.Write(presenceSessions(1), false)
		}, time.Millisecond, "a:1 relay/r1 lost AUER-1001"},
		"not a message": {func(st tunnel.Stream, _ *presence.Writer) {
			_, _ = st.Write([]byte{2, 0xff, 0xff})
		}, time.Millisecond, "a:1 relay/r1 lost AUER-1001"},
		"more sessions than may": {func(_ tunnel.Stream, w *presence.Writer) {
			_ = w.Write(presenceSessions(11), true)
		}, time.Millisecond, "a:1 relay/r1 lost AUER-1003"},
		"a reset": {func(st tunnel.Stream, _ *presence.Writer) {
			st.Reset(tunnel.CodeSlowReader)
		}, time.Millisecond, "a:1 relay/r1 lost AUER-1402"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ca := pkitest.New(t, td)
				r := newRelay("r1")
				var broken atomic.Bool
				broken.Store(true)
				r.set(identity.Relay(td, "r1"), func(ctx context.Context, st tunnel.Stream, p *tunnel.Preamble) {
					if !broken.Load() {
						presenceOf(10, nil)(ctx, st, p)
						return
					}
					if tunnel.WriteAck(st) == nil {
						tt.answer(st, presence.NewWriter(st))
					}
					_ = st.Close()
				})
				d, _ := newDialer(t, ca, Config{Limits: Limits{PresenceSessions: 10}}, r)
				s, stop := watchFor(t, d)
				time.Sleep(tt.after)
				s.want(t, tt.want)
				broken.Store(false)
				time.Sleep(time.Minute)
				s.want(t, "a:1 relay/r1 snapshot of 10")
				_ = stop()
			})
		})
	}
}

// A relay that is emptied tells on until it is empty: its session is not given up
// before, and soon after.
func TestPresenceWhileDraining(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := pkitest.New(t, td)
		r := newRelay("r1")
		empty := make(chan struct{})
		r.set(identity.Relay(td, "r1"), presenceOf(1, func(tunnel.Stream, *presence.Writer) { <-empty }))
		d, _ := newDialer(t, ca, Config{}, r)
		s, stop := watchFor(t, d)
		s.want(t, "a:1 relay/r1 snapshot of 1")
		r.mu.Lock()
		r.refusal = &tunnel.Error{Code: tunnel.CodeDraining, RetryAfterMin: time.Second, RetryAfterMax: 10 * time.Second}
		r.mu.Unlock()
		r.goAway(10 * 60_000)
		live := func() (n int) {
			r.each(func(s *relaySession) {
				if s.Err() == nil {
					n++
				}
			})
			return n
		}
		time.Sleep(5 * time.Minute)
		s.want(t)
		if live() != 1 {
			t.Error("the session was given up while the relay still had devices")
		}
		close(empty)
		s.want(t, "a:1 relay/r1 lost AUER-1202")
		time.Sleep(time.Second)
		if live() != 0 {
			t.Error("the session is kept though nothing runs in it")
		}
		// The relay was restarted.
		r.mu.Lock()
		r.refusal = nil
		r.mu.Unlock()
		r.set(identity.Relay(td, "r1"), presenceOf(7, nil))
		time.Sleep(time.Minute)
		s.want(t, "a:1 relay/r1 snapshot of 7")
		_ = stop()
	})
}
