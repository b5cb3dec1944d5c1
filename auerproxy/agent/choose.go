package agent

import (
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// How a slot chooses between QUIC and TCP where both are allowed.
//
//	        QUIC did not connect (in time)          ┌── after ReprobeMin, doubling: QUIC connects
//	 race ──────────────────────────────► TCP ──────┘
//	  │                                    ▲
//	  ▼        a heartbeat unanswered      │
//	QUIC ──────────────────────────────────┘
//	 ▲ │
//	 │ └─ loses packets in tryTimes busy intervals ──► TCP, on trial
//	 │                                                  │     │
//	 └──── carries no more, or too little to compare ───┘     └─► carries more: TCP, until
//	                                                              QUIC's next turn
//
// Every arrow makes the new session first; what runs goes on in the old one. The
// turn after a comparison comes after chooseMin at the earliest, and each later one
// after twice the time, so that a slot does not go to and fro.
const (
	// tryPackets is how many packets make an interval between two heartbeats a busy
	// one; fewer say nothing about a line.
	tryPackets = 200
	// tryLoss is the share of lost packets from which TCP is tried. A full line loses
	// less by itself.
	tryLoss = 0.01
	// tryTimes is how many busy intervals a judgement takes.
	tryTimes = 3
	// better is how many times as much TCP has to carry.
	better = 1.3
	// trialTime ends a trial that has seen too few busy intervals.
	trialTime = 10 * time.Minute
	// chooseMin and chooseMax bound the time until the other transport's next turn.
	chooseMin, chooseMax = time.Hour, 24 * time.Hour
	// moveTime is how long calls may go on in a session that is left by choice.
	moveTime = 24 * time.Hour
)

// view is the path as both ends of a session see it: what this side sends, and, if
// the relay tells it, what the relay sends.
type view struct{ up, down tunnel.Path }

// figures are what a path had between two views, in the direction that carried more.
type figures struct {
	packets uint64
	loss    float64 // share of the packets
	rate    float64 // bytes/s
}

// since gives the figures from an earlier view on.
func (v view) since(old view) figures {
	f, down := pathSince(v.up, old.up), pathSince(v.down, old.down)
	if down.packets > f.packets {
		f = down
	}
	return f
}

func pathSince(p, old tunnel.Path) (f figures) {
	if p.Sent <= old.Sent {
		return f
	}
	f.packets, f.rate = p.Sent-old.Sent, float64(p.Rate)
	if p.Lost > old.Lost { // QUIC takes losses back that were none
		f.loss = float64(p.Lost-old.Lost) / float64(f.packets)
	}
	return f
}

// advice is what follows from a view.
type advice int

const (
	stay    advice = iota
	tryTCP         // QUIC loses packets
	keepTCP        // the trial is over, TCP is better
	backToQUIC
)

// chooser judges the transports of one slot. It has no clock.
type chooser struct {
	last  view      // of the session at hand
	run   []figures // of its busy intervals, on QUIC those in a row with loss
	trial bool      // it is TCP, on trial
	// quic are the figures before the trial, tcp those of it.
	quic, tcp figures

	notBefore time.Time     // next trial
	turn      time.Duration // between two trials; 0: there was none
}

// begin starts with a new session.
func (c *chooser) begin(trial bool) {
	c.last, c.run, c.trial = view{}, nil, trial
}

// see takes the next view of a session.
func (c *chooser) see(now time.Time, t tunnel.Transport, v view) advice {
	f := v.since(c.last)
	c.last = v
	switch {
	case f.packets < tryPackets || t == tunnel.TCP && !c.trial:
		return stay
	case t == tunnel.QUIC && f.loss < tryLoss:
		c.run = nil
		return stay
	}
	if c.run = append(c.run, f); len(c.run) < tryTimes {
		return stay
	}
	mean := meanOf(c.run)
	c.run = nil
	if !c.trial {
		if now.Before(c.notBefore) {
			return stay
		}
		c.quic = mean
		return tryTCP
	}
	c.tcp = mean
	if mean.rate >= better*c.quic.rate {
		c.trial = false
		return keepTCP
	}
	return backToQUIC
}

// judged notes that a trial has ended, or could not begin, and gives the time until
// the other transport's next turn.
func (c *chooser) judged(now time.Time) time.Duration {
	c.turn = min(max(2*c.turn, chooseMin), chooseMax)
	c.notBefore = now.Add(c.turn)
	return c.turn
}

func meanOf(run []figures) (m figures) {
	for _, f := range run {
		m.packets += f.packets
		m.loss += f.loss * float64(f.packets)
		m.rate += f.rate / float64(len(run))
	}
	m.loss /= float64(m.packets)
	return m
}

// PathStatus is what the session's ends measure of the way between them.
type PathStatus struct {
	// RTT is the round trip, smoothed, and MinRTT the shortest one.
	RTT    time.Duration `json:"rtt_ns"`
	MinRTT time.Duration `json:"min_rtt_ns"`
	// Up is what the device sends, Down what the relay sends, if that tells it.
	Up   PathDirection `json:"up"`
	Down PathDirection `json:"down"`
}

// PathDirection is one direction of a path.
type PathDirection struct {
	// Packets since the session began, and the share of them that was lost.
	Packets uint64  `json:"packets"`
	Loss    float64 `json:"loss"`
	// Rate is how many bytes per second the congestion control lets pass.
	Rate uint64 `json:"bytes_per_second"`
}

func (v view) status() *PathStatus {
	way := func(p tunnel.Path) PathDirection {
		d := PathDirection{Packets: p.Sent, Rate: p.Rate}
		if p.Sent > 0 {
			d.Loss = float64(p.Lost) / float64(p.Sent)
		}
		return d
	}
	return &PathStatus{RTT: v.up.RTT, MinRTT: v.up.MinRTT, Up: way(v.up), Down: way(v.down)}
}

// Compared is what a transport had when the agent compared both.
type Compared struct {
	Transport tunnel.Transport `json:"transport"`
	Packets   uint64           `json:"packets"`
	Loss      float64          `json:"loss"`
	Rate      uint64           `json:"bytes_per_second"`
}

func (f figures) of(t tunnel.Transport) Compared {
	return Compared{Transport: t, Packets: f.packets, Loss: f.loss, Rate: uint64(f.rate)}
}
