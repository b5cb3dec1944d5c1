package agent

import (
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunnelpb"
)

// lossy is a line on which QUIC loses packets, and TCP carries factor times as much.
func lossy(factor uint64) map[tunnel.Transport]line {
	return map[tunnel.Transport]line{
		tunnel.QUIC: {packets: 100, loss: 0.05, rate: 1e6},
		tunnel.TCP:  {packets: 100, loss: 0.02, rate: factor * 1e6},
	}
}

// trialBegun is after three heartbeats, the first of which comes within 20 s, and
// before three more.
const trialBegun = 66 * time.Second

func TestBetterTCPIsKept(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		n.lines = lossy(3)
		d := n.run(nil)
		after(30 * time.Second)
		if st := d.slotStatus(); st.Transport != tunnel.QUIC || st.Choice != "preferred" || st.Path == nil || st.Path.Up.Loss < 0.04 {
			t.Fatalf("at first: %+v", st)
		}
		after(trialBegun - 30*time.Second)
		if st := d.slotStatus(); st.Transport != tunnel.TCP || st.Choice != "trial" {
			t.Fatalf("after three busy intervals: %+v", st)
		}
		after(90 * time.Second)
		st := d.slotStatus()
		if st.Transport != tunnel.TCP || st.Choice != "measured" || len(st.Compared) != 2 {
			t.Fatalf("after three more: %+v", st)
		}
		if q, p := st.Compared[0], st.Compared[1]; q.Transport != tunnel.QUIC || q.Rate != 1e6 || p.Rate != 3e6 || q.Loss < 0.04 || p.Loss > 0.03 {
			t.Errorf("compared %+v", st.Compared)
		}
		s := n.welcomed()
		if len(s) != 2 || !s[0].ended() || s[1].hello.GetChoice() != tunnelpb.Choice_CHOICE_TRIAL {
			t.Errorf("%d sessions: %v", len(s), s[1].hello)
		}
		// QUIC has its turn again, loses, and TCP is tried anew: ever more rarely.
		after(24 * time.Hour)
		if got := len(n.welcomed()); got < 6 || got > 14 {
			t.Errorf("%d sessions in a day", got)
		}
	})
}

func TestNoBetterTCPIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		n.lines = lossy(1)
		d := n.run(nil)
		after(4 * time.Minute)
		st := d.slotStatus()
		if st.Transport != tunnel.QUIC || st.Choice != "measured" || len(st.Compared) != 2 {
			t.Fatalf("after the trial: %+v", st)
		}
		if got := len(n.welcomed()); got != 3 {
			t.Errorf("%d sessions", got)
		}
		after(50 * time.Minute)
		if got := len(n.welcomed()); got != 3 {
			t.Errorf("%d sessions after an hour", got)
		}
		// 1 + 2 + 4 + 8 hours and so on, two sessions each.
		after(23 * time.Hour)
		if got := len(n.welcomed()); got < 9 || got > 13 {
			t.Errorf("%d sessions after a day", got)
		}
	})
}

// The relay tells what it loses: a device that mostly receives sees no loss itself.
func TestLossOnTheWayDown(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		n.lines = map[tunnel.Transport]line{tunnel.QUIC: {packets: 50, rate: 1e6}, tunnel.TCP: {packets: 50, rate: 1e6}}
		n.downLines = lossy(3)
		d := n.run(nil)
		after(4 * time.Minute)
		if st := d.slotStatus(); st.Transport != tunnel.TCP || st.Choice != "measured" || st.Path.Down.Loss == 0 || st.Path.Up.Loss != 0 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestQUICIsKept(t *testing.T) {
	for name, l := range map[string]line{
		"little loss":    {packets: 1000, loss: 0.005, rate: 1e6},
		"little traffic": {packets: 2, loss: 0.2, rate: 1e6},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *fakeNet) {
				n.lines = map[tunnel.Transport]line{tunnel.QUIC: l, tunnel.TCP: {packets: 1000, rate: 1e9}}
				d := n.run(nil)
				after(10 * time.Hour)
				if st := d.slotStatus(); st.Transport != tunnel.QUIC || len(n.dialled(tunnel.TCP)) != 0 {
					t.Errorf("status %+v", st)
				}
			})
		})
	}
}

func TestTrialWithoutTrafficEnds(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		n.lines = lossy(3)
		d := n.run(nil)
		after(trialBegun)
		n.change(func() { n.lines = map[tunnel.Transport]line{tunnel.QUIC: {rate: 1}, tunnel.TCP: {rate: 1}} })
		after(trialTime - time.Minute)
		if st := d.slotStatus(); st.Choice != "trial" {
			t.Fatalf("status %+v", st)
		}
		after(2 * time.Minute)
		if st := d.slotStatus(); st.Transport != tunnel.QUIC || st.Choice != "preferred" || st.Compared != nil {
			t.Errorf("status %+v", st)
		}
	})
}

// Where TCP is blocked a trial costs a dial, and not the session.
func TestTrialThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		n.lines, n.tcp = lossy(3), pathBlocked
		d := n.run(nil)
		after(50 * time.Minute)
		if st := d.slotStatus(); st.Transport != tunnel.QUIC || st.State != StateOnline {
			t.Errorf("status %+v", st)
		}
		if s, dials := n.welcomed(), n.dialled(tunnel.TCP); len(s) != 1 || len(dials) != 1 {
			t.Errorf("%d sessions, TCP dials %v", len(s), dials)
		}
	})
}

// Where sessions over QUIC fall silent again and again, it is tried ever more rarely.
func TestFlakyQUICIsLeftAlone(t *testing.T) {
	bubble(t, func(t *testing.T, n *fakeNet) {
		n.deafQUIC = true
		d := n.run(nil)
		after(24 * time.Hour)
		if st := d.slotStatus(); st.State != StateOnline {
			t.Errorf("status %+v", st)
		}
		// After 20, 40, 60, 60 … minutes.
		if got := len(n.greeted(tunnel.QUIC)); got < 18 || got > 32 {
			t.Errorf("QUIC was tried %d times in a day", got)
		}
	})
}
