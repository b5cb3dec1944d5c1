package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
)

// bubble runs a test with a clock of its own. It fails if a goroutine is left.
func bubble(t *testing.T, f func(t *testing.T, n *fakeNet)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { f(t, newNet(t)) })
}

// after lets time pass and everything that is due happen.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestQUICWins(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		d := n.run(nil)
		after(time.Second)
		if st := d.slotStatus(); st.State != StateOnline || st.Transport != tunnel.QUIC || st.RelayID != "relay/r" {
			t.Errorf("status %+v", st)
		}
		if got := n.dialled(tunnel.TCP); len(got) != 0 {
			t.Errorf("TCP was dialled: %v", got)
		}
	})
}

func TestUDPBlocked(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		n.quic = pathBlocked
		d := n.run(nil)
		after(400 * time.Millisecond)
		if st := d.slotStatus(); st.Transport != tunnel.TCP || !st.State.Online() {
			t.Fatalf("after 400 ms: %+v", st)
		}
		// The next connection starts with TCP at once.
		after(time.Minute)
		lost := time.Since(n.start)
		_ = n.welcomed()[0].CloseWithError(tunnel.CodeShutdown, "restart")
		after(time.Second)
		dials := n.dialled("")
		quic, tcp := dials[len(dials)-2], dials[len(dials)-1]
		if quic.at < lost || quic.at != tcp.at {
			t.Errorf("the second race began with %+v, %+v", quic, tcp)
		}
		if st := d.slotStatus(); st.Transport != tunnel.TCP || !st.State.Online() {
			t.Errorf("after the second race: %+v", st)
		}
	})
}

func TestUDPRefusedStartsTCPAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		n.quic = pathRefused
		d := n.run(nil)
		after(2 * handshakeTime)
		if st := d.slotStatus(); st.Transport != tunnel.TCP || !st.State.Online() {
			t.Errorf("status %+v", st)
		}
	})
}

// A QUIC handshake that succeeds proves nothing: without a welcome TCP wins, and
// says hello only when the QUIC session is given up.
func TestHandshakeProvesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		n.quic = pathMute
		d := n.run(nil)
		after(4 * time.Second)
		if got := n.greeted(tunnel.TCP); len(got) != 0 {
			t.Fatalf("hello over TCP while QUIC waits for its welcome: %v", got)
		}
		if d.slotStatus().State != StateConnecting {
			t.Fatalf("status %+v", d.slotStatus())
		}
		after(2 * time.Second)
		if st := d.slotStatus(); st.Transport != tunnel.TCP || !st.State.Online() {
			t.Errorf("after the welcome's time: %+v", st)
		}
		if got := n.dialled(tunnel.TCP); len(got) != 1 || got[0].at != 300*time.Millisecond {
			t.Errorf("TCP dials: %v", got)
		}
	})
}

func TestRefusalEndsTheRace(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		n.refuse = &tunnel.Error{Code: tunnel.CodeBlocked, Message: "stolen"}
		d := n.run(func(c *Config) { c.Relays = []string{"a:1", "b:1"} })
		after(4 * time.Minute)
		st := d.slotStatus()
		if st.State != StateRefused || st.LastCode != tunnel.CodeBlocked || st.LastHint == "" || st.NextAttempt.IsZero() {
			t.Errorf("status %+v", st)
		}
		if got := n.greeted(""); len(got) != 1 {
			t.Errorf("asked %d times: %v", len(got), got)
		}
		n.change(func() { n.refuse = nil })
		after(7 * time.Minute)
		if st := d.slotStatus(); st.State != StateOnline {
			t.Errorf("unblocked: %+v", st)
		}
	})
}

// gaps gives the waits between hellos.
func gaps(events []event) []time.Duration {
	var out []time.Duration
	for i := 1; i < len(events); i++ {
		out = append(out, events[i].at-events[i-1].at)
	}
	return out
}

func TestBackoffGrows(t *testing.T) {
	for name, prepare := range map[string]func(*fakeNet){
		"refused":      func(n *fakeNet) { n.refuse = &tunnel.Error{Code: tunnel.CodeTryLater} },
		"welcome+drop": func(n *fakeNet) { n.dropAfter = time.Second },
		"welcome+kick": func(n *fakeNet) { n.dropAfter, n.dropCode = time.Second, tunnel.CodeKicked },
		"replaced":     func(n *fakeNet) { n.dropAfter, n.dropCode = time.Millisecond, tunnel.CodeReplaced },
		"sent away":    func(n *fakeNet) { n.awayAfter = time.Millisecond },
		"alternating":  func(n *fakeNet) { n.dropAfter = 29 * time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *fakeNet) {
				prepare(n)
				n.run(nil)
				after(2 * time.Hour)
				got := gaps(n.greeted(""))
				// At the cap the wait is 30 s on average: about 240 attempts in two
				// hours. Without growth there would be ten thousand.
				if len(got) < 60 || len(got) > 320 {
					t.Fatalf("%d attempts in two hours", len(got)+1)
				}
				var late time.Duration
				for _, g := range got[len(got)-50:] {
					late += g
				}
				if mean := late / 50; mean < 20*time.Second || mean > 75*time.Second {
					t.Errorf("the last waits are %s on average", mean)
				}
			})
		})
	}
}

// The positive control to TestBackoffGrows: a session that was stable lets the
// back-off start anew.
func TestBackoffResetsAfterStability(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		n.dropAfter = 31 * time.Second
		d := n.run(nil)
		after(time.Hour)
		for _, g := range gaps(n.greeted("")) {
			if g > 32*time.Second {
				t.Fatalf("a wait of %s after 31 s of stability", g-31*time.Second)
			}
		}
		if st := d.slotStatus(); st.Failures > 1 {
			t.Errorf("failures %d", st.Failures)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		n.refuse = &tunnel.Error{Code: tunnel.CodeDraining, RetryAfterMin: 2 * time.Minute, RetryAfterMax: 3 * time.Minute}
		n.run(nil)
		after(time.Hour)
		got := gaps(n.greeted(""))
		if len(got) < 15 {
			t.Fatalf("%d attempts in an hour", len(got)+1)
		}
		for _, g := range got {
			if g < 2*time.Minute {
				t.Errorf("came back after %s", g)
			}
		}
	})
}

func TestNextRelayAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		first := "a:1"
		d := n.run(func(c *Config) { c.Relays = []string{"a:1", "b:1"} })
		after(time.Second)
		if d.slotStatus().Relay != first {
			first = "b:1"
		}
		n.change(func() { n.down[first] = true })
		after(time.Minute)
		_ = n.welcomed()[0].CloseWithError(tunnel.CodeShutdown, "killed")
		after(time.Second)
		if st := d.slotStatus(); !st.State.Online() || st.Relay == first {
			t.Errorf("one second after %s went: %+v", first, st)
		}
	})
}

func TestTwoSlotsTwoRelays(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		d := n.run(func(c *Config) { c.Relays, c.Slots = []string{"a:1", "b:1"}, 2 })
		after(10 * time.Second)
		st := d.Status().Slots
		if !st[0].State.Online() || !st[1].State.Online() || st[0].Relay == st[1].Relay {
			t.Errorf("slots %+v", st)
		}
		if h := n.welcomed(); h[0].hello.GetSlot() == h[1].hello.GetSlot() {
			t.Errorf("both say slot %d", h[0].hello.GetSlot())
		}
	})
}

func TestReprobeComesBackToQUIC(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		n.quic = pathBlocked
		d := n.run(nil)
		after(5 * time.Minute)
		n.change(func() { n.quic = pathOpen })
		after(7*time.Minute + 10*time.Second)
		if st := d.slotStatus(); st.Transport != tunnel.QUIC || st.State != StateOnline {
			t.Fatalf("after 12 minutes: %+v", st)
		}
		s := n.welcomed()
		if len(s) != 2 || !s[0].ended() || s[1].ended() {
			t.Errorf("%d sessions, the old one ended: %v", len(s), s[0].ended())
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.sessions[1].at-n.sessions[0].at < 7*time.Minute {
			t.Errorf("moved after %s", n.sessions[1].at)
		}
	})
}

func TestReprobeGrows(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		n.quic = pathBlocked
		d := n.run(nil)
		after(10 * time.Hour)
		probes := n.dialled(tunnel.QUIC)[1:]
		// 10 + 20 + 40 + 60 + 60 … minutes.
		if len(probes) < 9 || len(probes) > 14 {
			t.Errorf("%d probes in 10 hours", len(probes))
		}
		if first := probes[0].at; first < 8*time.Minute || first > 13*time.Minute {
			t.Errorf("the first probe came after %s", first)
		}
		if len(n.welcomed()) != 1 || d.slotStatus().Transport != tunnel.TCP {
			t.Errorf("the TCP session suffered: %+v", d.slotStatus())
		}
	})
}

func TestGoAwayMakesBeforeBreak(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		d := n.run(func(c *Config) { c.Relays = []string{"a:1", "b:1"} })
		after(time.Minute)
		old := n.welcomed()[0]
		told := time.Since(n.start)
		old.goAway(time.Minute, 20*time.Second)
		after(0)
		if st := d.slotStatus(); st.State != StateMoving || !st.State.Online() {
			t.Fatalf("status %+v", st)
		}
		after(20*time.Second + 2*handshakeTime)
		s := n.welcomed()
		if len(s) != 2 || s[1].relay == old.relay {
			t.Fatalf("no session elsewhere: %+v", d.slotStatus())
		}
		if s[1].at-told > 21*time.Second {
			t.Errorf("moved after %s", s[1].at-told)
		}
		after(drainTime)
		if !old.ended() {
			t.Error("the old session is still there without a call")
		}
		if st := d.slotStatus(); st.State != StateOnline || st.Relay != s[1].relay {
			t.Errorf("status %+v", st)
		}
	})
}

// drainTime is more than a session without calls takes to end when it retires.
const drainTime = 3 * time.Second

// With one relay, which refuses while it drains, the device stays on the old
// session and is back when the relay takes it again.
func TestGoAwayWithOneRelay(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		d := n.run(nil)
		after(time.Minute)
		n.change(func() {
			n.refuse = &tunnel.Error{Code: tunnel.CodeDraining, RetryAfterMin: time.Second, RetryAfterMax: 5 * time.Second}
		})
		old := n.welcomed()[0]
		old.goAway(time.Minute, 0)
		after(30 * time.Second)
		if st := d.slotStatus(); st.State != StateMoving || old.ended() {
			t.Fatalf("while it drains: %+v", st)
		}
		_ = old.CloseWithError(tunnel.CodeShutdown, "stopped")
		n.change(func() { n.refuse = nil })
		after(70 * time.Second)
		if st := d.slotStatus(); st.State != StateOnline {
			t.Errorf("after the restart: %+v", st)
		}
	})
}

func TestHeartbeat(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		d := n.run(nil)
		after(10 * time.Minute)
		n.mu.Lock()
		beats := n.beats
		n.mu.Unlock()
		if len(beats) < 27 || len(beats) > 33 {
			t.Errorf("%d heartbeats of 20 s in 10 minutes", len(beats))
		}
		for i, b := range beats {
			if b.GetSeq() != uint64(i+1) || len(b.GetPadding()) < 40 {
				t.Fatalf("heartbeat %d: %v", i, b)
			}
		}
		if st := d.slotStatus(); st.RTT == 0 {
			t.Errorf("no round trip: %+v", st)
		}
	})
}

// TestHeartbeatAgain: a heartbeat without an answer is sent again, a few times before the
// next is due, and only where packets of a session that a relay lost get no answer for
// certain: over TCP the kernel sees to that.
func TestHeartbeatAgain(t *testing.T) {
	for transport, want := range map[string]int{TransportQUIC: 1 + askAgain, TransportTCP: 1} {
		t.Run(transport, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *fakeNet) {
				n.run(func(c *Config) { c.Transport = transport })
				after(5 * time.Minute)
				n.change(func() { n.deaf, n.beats = true, nil })
				after(34 * time.Second) // the first was due in 22 s, and was sent again for 8 s
				n.mu.Lock()
				defer n.mu.Unlock()
				count := make(map[uint64]int)
				for _, b := range n.beats {
					count[b.GetSeq()]++
				}
				if first := n.beats[0].GetSeq(); count[first] != want {
					t.Errorf("sent %d times, want %d: %v", count[first], want, n.beats)
				}
			})
		})
	}
}

func TestHeartbeatLost(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		d := n.run(nil)
		after(5 * time.Minute)
		n.change(func() { n.deaf, n.quic = true, pathBlocked })
		went := time.Since(n.start)
		after(17 * time.Second)
		if st := d.slotStatus(); st.State != StateOnline || st.Transport != tunnel.QUIC || len(n.dialled(tunnel.TCP)) != 0 {
			t.Fatalf("before an answer is missing: %+v", st)
		}
		after(29 * time.Second)
		// The next heartbeat was due. TCP came before the session was given up.
		s := n.welcomed()
		if len(s) != 2 || s[1].transport != tunnel.TCP {
			t.Fatalf("%d sessions: %+v", len(s), d.slotStatus())
		}
		if st := d.slotStatus(); st.State != StateOnline || st.Transport != tunnel.TCP || st.Choice != "silent" {
			t.Errorf("status %+v", st)
		}
		if got := s[1].hello.GetChoice(); got != tunnelpb.Choice_CHOICE_SILENT {
			t.Errorf("the relay was told %s", got)
		}
		if took := s[1].at - went; took > 45*time.Second {
			t.Errorf("back after %s", took)
		}
	})
}

// A device that must not choose gives a silent session up, and has no other way.
func TestHeartbeatLostWithoutChoice(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		d := n.run(func(c *Config) { c.Transport = TransportQUIC })
		after(5 * time.Minute)
		n.change(func() { n.deaf = true })
		after(29 * time.Second)
		if st := d.slotStatus(); !st.State.Online() || st.Choice != "configured" {
			t.Fatalf("one missing answer ended the session: %+v", st)
		}
		after(42 * time.Second)
		s := n.welcomed()
		if !s[0].ended() || tunnel.CodeOf(s[0].Err()) != tunnel.CodeHeartbeatLost {
			t.Errorf("the relay was told %v", s[0].Err())
		}
		if len(s) != 2 || len(n.dialled(tunnel.TCP)) != 0 {
			t.Errorf("%d sessions, TCP dials %v", len(s), n.dialled(tunnel.TCP))
		}
	})
}

func TestRenewalMovesTheSession(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		d := n.run(nil)
		after(time.Hour)
		if err := d.creds.Swap(d.ca.Credentials(self).Certificate(), nil); err != nil {
			t.Fatal(err)
		}
		after(renewalSpread + drainTime)
		s := n.welcomed()
		if len(s) != 2 || !s[0].ended() || s[1].ended() {
			t.Errorf("%d sessions: %+v", len(s), d.slotStatus())
		}
		after(time.Hour)
		if len(n.welcomed()) != 2 {
			t.Error("it moves again without a reason")
		}
	})
}

func TestStatusIsObserved(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		var states []State
		n.refuse = &tunnel.Error{Code: tunnel.CodeTryLater}
		d := n.run(func(c *Config) {
			c.OnStatus = func(s SlotStatus) {
				if len(states) == 0 || states[len(states)-1] != s.State {
					states = append(states, s.State)
				}
			}
		})
		after(100 * time.Millisecond)
		n.change(func() { n.refuse = nil })
		after(time.Minute)
		d.stop()
		if states[0] != StateConnecting || states[1] != StateWaiting || states[len(states)-2] != StateOnline || states[len(states)-1] != StateStopped {
			t.Errorf("states %v", states)
		}
		if d.slotStatus().State != StateStopped {
			t.Errorf("status %+v", d.slotStatus())
		}
	})
}

func TestRunOnce(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		d := n.run(nil)
		after(time.Second)
		if err := d.Run(t.Context()); err != ErrRunning { //nolint:errorlint // it is not wrapped
			t.Errorf("second Run: %v", err)
		}
	})
}
