package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/presence"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
	"github.com/comtrexx-cloud/comtrexx/pki/blocks"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// watched lets ccc watch the relay, and ara those devices that it may open, too.
func watched(c *relay.Config) {
	c.Policy = append(c.Policy,
		relay.Rule{Caller: "service/ccc", Target: "relay", Services: []string{"presence"}},
		relay.Rule{Caller: "service/ara", Target: "relay", Services: []string{"*"}, Serials: []string{"09*"}},
	)
}

// view is what one watcher knows, as it was told.
type view struct {
	mu       sync.Mutex
	sessions map[string]dial.PresenceSession // by session; ended ones too
	lost     error
	asJSON   strings.Builder // everything that was told
}

func (v *view) update(u dial.PresenceUpdate) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lost = u.Err
	if u.Snapshot || v.sessions == nil {
		v.sessions = make(map[string]dial.PresenceSession)
	}
	for _, s := range u.Sessions {
		v.sessions[string(s.Session)] = s
	}
	_ = json.NewEncoder(&v.asJSON).Encode(u.Sessions)
}

// of gives the sessions of a device that live, and the newest that ended.
func (v *view) of(s identity.Serial) (live []dial.PresenceSession, ended *dial.PresenceSession) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range v.sessions {
		switch {
		case p.Device != s:
		case p.Online:
			live = append(live, p)
		case ended == nil || p.Epoch > ended.Epoch:
			ended = &p
		}
	}
	return live, ended
}

func (v *view) err() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.lost
}

// watch has a service watch until the test ends.
func (w *world) watch(service string, change func(*dial.Config)) *view {
	w.t.Helper()
	d, v := w.dialer(service, change), new(view)
	run(w.t, func(ctx context.Context) error {
		if err := d.WatchPresence(ctx, v.update); !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	})
	return v
}

// Devices come and go, and each end has its reason; nowhere is there an address.
func TestPresence(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{dial.TransportTCP, dial.TransportQUIC} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *relay.Config) {
				watched(c)
				c.Heartbeat = time.Second
				c.Presence.Refresh = time.Second
			})
			const second = identity.Serial("0123456780")
			_, stop := w.device(serial, agent.TransportQUIC, nil) // before the watch: in the snapshot
			w.online(identity.Device(td, serial), 1)
			v := w.watch("ccc", func(c *dial.Config) { c.Transport = transport })
			live := func(s identity.Serial, n int) []dial.PresenceSession {
				t.Helper()
				var list []dial.PresenceSession
				eventually(t, patience, fmt.Sprintf("%d sessions of %s", n, s), func() bool {
					list, _ = v.of(s)
					return len(list) == n
				})
				return list
			}
			first := live(serial, 1)[0]
			info := w.online(identity.Device(td, serial), 1)[0]
			if first.Transport != tunnel.QUIC || first.Epoch != info.Epoch || first.Since.UnixMilli() != info.Since.UnixMilli() || first.Reason != 0 {
				t.Errorf("told %+v, the relay has %+v", first, info)
			}
			w.device(second, agent.TransportTCP, nil) // after it: a change
			if p := live(second, 1)[0]; p.Transport != tunnel.TCP || !p.Expires.After(time.Now()) || !first.Expires.After(time.Now()) {
				t.Errorf("told %+v", p)
			}
			eventually(t, patience, "a round trip", func() bool {
				list, _ := v.of(serial)
				return len(list) == 1 && list[0].RTT > 0
			})

			w.relay.Kick(identity.Device(td, second))
			eventually(t, patience, "kicked", func() bool {
				_, ended := v.of(second)
				return ended != nil && ended.Reason == tunnel.CodeKicked && !ended.ByDevice && time.Since(ended.Since) < patience
			})
			live(second, 1) // it is back
			w.relay.SetBlocks(blocks.NewList(1, identity.Device(td, second).Path()))
			eventually(t, patience, "blocked", func() bool {
				_, ended := v.of(second)
				return ended != nil && ended.Reason == tunnel.CodeBlocked && !ended.ByDevice
			})
			live(second, 0)
			stop()
			eventually(t, patience, "stopped", func() bool {
				_, ended := v.of(serial)
				return ended != nil && ended.Reason == tunnel.CodeShutdown && ended.ByDevice
			})
			v.mu.Lock()
			defer v.mu.Unlock()
			// The reader of the admin API does find it.
			host, _, _ := strings.Cut(w.addr, ":")
			if all := v.asJSON.String(); strings.Contains(all, host) || !strings.Contains(info.Address, host) || !strings.Contains(all, string(serial)) {
				t.Errorf("the address %s is told, or it is not one: %s", host, all)
			}
		})
	}
}

// The relay is restarted: lost, and then a snapshot without those that have gone.
func TestPresenceOverARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, watched)
	_, stop := w.device(serial, agent.TransportTCP, nil)
	w.device("0123456780", agent.TransportTCP, nil)
	v := w.watch("ccc", func(c *dial.Config) { c.Timing.BackoffCap = 200 * time.Millisecond })
	online := func(s identity.Serial) bool {
		live, _ := v.of(s)
		return len(live) > 0
	}
	eventually(t, patience, "both", func() bool { return online(serial) && online("0123456780") })
	w.stop()
	eventually(t, patience, "lost", func() bool { return v.err() != nil })
	stop()
	w.start()
	eventually(t, patience, "only the other is back", func() bool { return v.err() == nil && online("0123456780") && !online(serial) })
}

// A drained relay tells to the end, and the end is not delayed by who watches.
func TestPresenceDrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *relay.Config) {
		watched(c)
		c.Drain.Deadline = patience
	})
	s, c, err := w.join(tunnel.TCP, w.clientTLS(w.ca.Issue(identity.Device(td, serial), pkitest.Options{})), newHello())
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan struct{})
	go func() {
		for {
			f, err := c.Receive()
			if err != nil {
				return
			}
			if f.GetGoAway() != nil {
				close(told)
			}
		}
	}()
	v := w.watch("ccc", nil)
	eventually(t, patience, "the device", func() bool { live, _ := v.of(serial); return len(live) == 1 })
	drained := make(chan relay.Drained, 1)
	go func() { drained <- w.relay.Drain(t.Context()) }()
	<-told
	if live, _ := v.of(serial); len(live) != 1 || v.err() != nil {
		t.Errorf("while the device is there: %v, %v", live, v.err())
	}
	_ = s.CloseWithError(tunnel.CodeIdle, "no call for a while") // as an agent that has moved does
	eventually(t, patience, "told and over", func() bool {
		_, ended := v.of(serial)
		return ended != nil && ended.Reason == tunnel.CodeDraining && tunnel.CodeOf(v.err()) == tunnel.CodeDraining
	})
	if d := <-drained; d.Cut != 0 || d.Left != 2 {
		t.Errorf("drained: %+v, want both sessions to leave by themselves", d)
	}
}

// Who is not allowed gets the number for it, and who is gets no more than that.
func TestPresenceIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *relay.Config) {
		watched(c)
		c.Presence.Watchers = 2
	})
	w.device(serial, agent.TransportTCP, nil)
	w.device("0912345678", agent.TransportTCP, nil)
	w.online(identity.Device(td, serial), 1)
	w.online(identity.Device(td, "0912345678"), 1)
	sessions := make(map[identity.ID]tunnel.Session)
	open := func(caller identity.ID, p *tunnel.Preamble) (tunnel.Stream, error) {
		t.Helper()
		s := sessions[caller]
		if s == nil {
			var err error
			if s, _, err = w.join(tunnel.TCP, w.clientTLS(w.ca.Issue(caller, pkitest.Options{})), newHello()); err != nil {
				t.Fatal(err)
			}
			sessions[caller] = s
		}
		st, _, err := tunnel.Open(timeout(t, patience), s, p)
		return st, err
	}
	ccc, ara := identity.Service(td, "ccc"), identity.Service(td, "ara")
	for name, tt := range map[string]struct {
		caller identity.ID
		p      *tunnel.Preamble
		want   tunnel.Code
	}{
		"a service without a rule": {identity.Service(td, "stranger"), &tunnel.Preamble{Target: "relay/r1", Service: "presence"}, tunnel.CodePolicyDenied},
		"a device":                 {identity.Device(td, "0000000001"), &tunnel.Preamble{Target: "relay/r1", Service: "presence"}, tunnel.CodePolicyDenied},
		"another relay":            {ccc, &tunnel.Preamble{Target: "relay/r2", Service: "presence"}, tunnel.CodeNotReachable},
		"another service":          {ccc, &tunnel.Preamble{Target: "relay/r1", Service: "sessions"}, tunnel.CodePolicyDenied},
		"no such service":          {ara, &tunnel.Preamble{Target: "relay/r1", Service: "sessions"}, tunnel.CodeServiceUnknown},
		"with something inside":    {ccc, &tunnel.Preamble{Target: "relay/r1", Service: "presence", Inner: tunnelpb.Inner_INNER_TLS}, tunnel.CodeProtocol},
		"raw":                      {ccc, &tunnel.Preamble{Target: "relay/r1", Service: "presence", Inner: tunnelpb.Inner_INNER_RAW}, tunnel.CodePolicyDenied},
		"no relay":                 {ccc, &tunnel.Preamble{Target: "relay/", Service: "presence"}, tunnel.CodeProtocol},
		"allowed":                  {ccc, &tunnel.Preamble{Target: "relay/r1", Service: "presence"}, tunnel.CodeOK},
	} {
		st, err := open(tt.caller, tt.p)
		if tunnel.CodeOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
		if err != nil {
			continue
		}
		all, _, err := presence.NewReader(st).Read()
		if err != nil || !slices.ContainsFunc(all, func(s presence.Session) bool { return s.Device == serial }) ||
			!slices.ContainsFunc(all, func(s presence.Session) bool { return s.Device == "0912345678" }) {
			t.Errorf("%s: told %v, %v; want both devices", name, all, err)
		}
		// A watcher says nothing.
		if _, err := st.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, st)
		if tunnel.CodeOf(err) != tunnel.CodeProtocol {
			t.Errorf("%s: ends with %v after a word of the watcher", name, err)
		}
		st.Reset(tunnel.CodeCancelled)
	}
	eventually(t, patience, "nobody watches", func() bool {
		return counter(t, w, "auerproxy_streams_ended_total", "protocol") == 1
	})
	// Only the devices of the rule, and only as many watchers as may.
	for _, want := range []tunnel.Code{tunnel.CodeOK, tunnel.CodeOK, tunnel.CodeTooManyStreams} {
		st, err := open(ara, &tunnel.Preamble{Target: "relay/r1", Service: "presence"})
		if tunnel.CodeOf(err) != want {
			t.Errorf("opened with %v, want %s", err, want)
		}
		if err != nil {
			continue
		}
		all, _, err := presence.NewReader(st).Read()
		if err != nil || len(all) != 1 || all[0].Device != "0912345678" {
			t.Errorf("a rule with serials tells of %v, %v", all, err)
		}
	}
	for _, s := range sessions {
		_ = s.CloseWithError(tunnel.CodeShutdown, "")
	}
	w.stop()
	files, _ := filepath.Glob(filepath.Join(w.cfg.StateDir, "records", "*.jsonl"))
	if len(files) == 0 {
		t.Fatal("no records")
	}
	records, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"kind":"stream","target":"relay/r1","service":"presence","caller":"service/ccc"`,
		`"kind":"refused","target":"relay/r1","service":"presence","caller":"service/stranger"`,
	} {
		if !strings.Contains(string(records), want) {
			t.Errorf("no record with %s in\n%s", want, records)
		}
	}
}
