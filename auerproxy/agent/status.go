package agent

import (
	"encoding/hex"
	"slices"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
)

// State is what a slot does.
//
//	           ┌──────────── wait is over ────────────┐
//	           ▼                                      │
//	start ► connecting ── every relay failed ───► waiting   (refused: only a person
//	           │                                   ▲  ▲      can change the answer)
//	        welcome                                │  │
//	           ▼                                   │  │
//	        online ──────── session ended ─────────┘  │
//	         │  ▲                                     │
//	  GOAWAY │  │ welcome of the next session         │
//	         ▼  │                                     │
//	        moving ──────── session ended ────────────┘
//
// All lead to stopped when Run ends.
type State string

// The states.
const (
	StateConnecting State = "connecting"
	StateOnline     State = "online"
	// StateMoving is online, with the next session being made.
	StateMoving  State = "moving"
	StateWaiting State = "waiting"
	// StateRefused is waiting after an answer that will not change by itself.
	StateRefused State = "refused"
	StateStopped State = "stopped"
)

// Online reports whether calls come through in this state.
func (s State) Online() bool { return s == StateOnline || s == StateMoving }

// SlotStatus is a snapshot of one slot.
type SlotStatus struct {
	Slot  int   `json:"slot"`
	State State `json:"state"`
	// Since is when the state began.
	Since time.Time `json:"since"`

	// What follows, up to RTT, is about the session, where there is one.

	Relay     string           `json:"relay,omitempty"`    // address that was dialled
	RelayID   string           `json:"relay_id,omitempty"` // path of its identity
	Transport tunnel.Transport `json:"transport,omitempty"`
	// Choice is why it runs over that transport: "configured", "preferred" (QUIC),
	// "unreachable" (QUIC was), "silent" (QUIC fell), "trial" (QUIC loses packets, and
	// TCP is tried) or "measured" (both were compared). Empty: no session.
	Choice string `json:"choice,omitempty"`
	// Path is what is measured of the way to the relay; nil before the first heartbeat.
	Path      *PathStatus `json:"path,omitempty"`
	Session   string      `json:"session,omitempty"` // id in hex
	Epoch     uint64      `json:"epoch,omitempty"`
	Connected time.Time   `json:"connected,omitzero"`
	// RTT is the last round trip of a heartbeat; 0 before the first.
	RTT time.Duration `json:"rtt_ns,omitempty"`

	// Compared are the figures of the last comparison of transports, QUIC first.
	Compared []Compared `json:"compared,omitempty"`

	// Attempts counts the sessions that were tried, Failures those since the last
	// stable session.
	Attempts uint64 `json:"attempts"`
	Failures int    `json:"failures"`
	// LastCode, LastError and LastHint tell about the last failure or end. A verdict on
	// the device, e.g. [tunnel.CodeCertificateRefused] or [tunnel.CodeBlocked], is that
	// of somebody who has proven to be a relay.
	LastCode  tunnel.Code `json:"last_code,omitempty"`
	LastError string      `json:"last_error,omitempty"`
	LastHint  string      `json:"last_hint,omitempty"`
	// NextAttempt is the end of the wait.
	NextAttempt time.Time `json:"next_attempt,omitzero"`
}

// ServiceStatus counts the calls of one service.
type ServiceStatus struct {
	Name    string `json:"name"`
	Target  string `json:"target,omitempty"` // empty for a listener
	Active  int64  `json:"active"`
	Total   int64  `json:"total"`
	Refused int64  `json:"refused"`
}

// Status is a snapshot of an agent.
type Status struct {
	Device   string          `json:"device"`
	Expires  time.Time       `json:"certificate_expires"`
	Slots    []SlotStatus    `json:"slots"`
	Services []ServiceStatus `json:"services"`
}

// Online reports whether at least one slot holds a session.
func (s Status) Online() bool {
	return slices.ContainsFunc(s.Slots, func(s SlotStatus) bool { return s.State.Online() })
}

// Status gives a snapshot. It may be called at any time.
func (a *Agent) Status() Status {
	st := Status{Device: a.self.Path(), Expires: a.cfg.Credentials.Leaf().NotAfter}
	for _, s := range a.slots {
		st.Slots = append(st.Slots, s.snapshot())
	}
	for _, c := range a.cfg.Services {
		s := a.services[c.Name]
		st.Services = append(st.Services, ServiceStatus{
			Name: c.Name, Target: c.Target,
			Active: s.active.Load(), Total: s.total.Load(), Refused: s.refused.Load(),
		})
	}
	return st
}

// snapshot gives the slot's state with the live figures of its session.
func (s *slot) snapshot() SlotStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	if s.current != nil {
		st.RTT = time.Duration(s.current.rtt.Load())
		s.current.mu.Lock()
		if v := s.current.seen; v != nil {
			st.Path = v.status()
		}
		s.current.mu.Unlock()
	}
	return st
}

// set changes the slot's status and tells the observer.
func (s *slot) set(state State, change func(*SlotStatus)) {
	s.mu.Lock()
	if s.status.State != state {
		s.status.State, s.status.Since = state, time.Now()
	}
	if state != StateWaiting && state != StateRefused {
		s.status.NextAttempt = time.Time{}
	}
	if change != nil {
		change(&s.status)
	}
	st := s.status
	s.mu.Unlock()
	if f := s.agent.cfg.OnStatus; f != nil {
		f(st)
	}
}

// use makes l the session of the slot; nil: there is none.
func (s *slot) use(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = l
	st := &s.status
	if l == nil {
		st.Relay, st.RelayID, st.Transport, st.Choice, st.Session, st.Epoch, st.Connected = "", "", "", "", "", 0, time.Time{}
		return
	}
	st.Relay, st.RelayID, st.Transport, st.Choice = l.addr, l.welcome.GetRelay(), l.session.Transport(), tunnel.ChoiceName(l.choice)
	st.Session, st.Epoch, st.Connected = hex.EncodeToString(l.welcome.GetSession()), l.welcome.GetEpoch(), l.since
}
