package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Counts are what has happened to the tunnels of a fleet so far.
type Counts struct {
	// PBXs in all, and those that hold a tunnel now.
	PBXs   int `json:"pbxs"`
	Online int `json:"online"`
	// Welcomes counts the sessions.
	Welcomes int `json:"welcomes"`
	// Failed counts the attempts that ended without a welcome, and Lost the sessions that
	// ended and that nobody ended here, both by error number.
	Failed map[string]int `json:"failed,omitempty"`
	Lost   map[string]int `json:"lost,omitempty"`
}

// Counts gives the counts of now.
func (f *Fleet) Counts() Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.count
	c.Failed, c.Lost = maps.Clone(c.Failed), maps.Clone(c.Lost)
	return c
}

// member is the place of one PBX, which is made anew whenever it was switched off.
type member struct {
	fleet *Fleet
	cfg   pbx.Config
	// off and on are where run takes orders from, when it can follow them.
	off, on chan order

	// What follows is guarded by fleet.mu.

	pbx     *pbx.PBX
	online  bool
	session string // of the last welcome
}

// order is one to switch a PBX off or on.
type order struct {
	done chan error // holds one; the outcome
}

func (f *Fleet) newMember(i int) (*member, error) {
	m := &member{fleet: f, cfg: f.config(i), off: make(chan order), on: make(chan order)}
	m.cfg.Agent.OnStatus = m.status
	var err error
	m.pbx, err = pbx.New(m.cfg)
	return m, err
}

// run runs the PBX until ctx ends, and a new one each time that it was off.
func (m *member) run(ctx context.Context) error {
	for {
		life, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- m.current().Run(life) }()
		var off order
		select {
		case err := <-ended:
			cancel()
			return m.failed(err)
		case off = <-m.off:
		}
		cancel()
		err := <-ended
		off.done <- err
		if err != nil {
			return m.failed(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case on := <-m.on:
			next, err := pbx.New(m.cfg)
			on.done <- err
			if err != nil {
				return m.failed(err)
			}
			m.fleet.mu.Lock()
			m.pbx = next
			m.fleet.mu.Unlock()
		}
	}
}

func (m *member) current() *pbx.PBX {
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	return m.pbx
}

func (m *member) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("PBX %s: %w", m.cfg.Credentials.ID().Serial(), err)
}

// status takes the changes of the tunnel.
func (m *member) status(st agent.SlotStatus) {
	f := m.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case st.State == agent.StateConnecting:
	case st.State.Online():
		if st.Session == m.session {
			return
		}
		m.session = st.Session
		f.count.Welcomes++
		if !m.online {
			m.online = true
			f.count.Online++
		}
	case m.online:
		m.online = false
		f.count.Online--
		if st.State != agent.StateStopped {
			f.count.Lost[st.LastCode.String()]++
		}
	case st.State != agent.StateStopped:
		f.count.Failed[st.LastCode.String()]++
	}
}

// ErrUnknown: the fleet has no PBX of the serial.
var ErrUnknown = errors.New("the fleet has no such PBX")

// Off ends a PBX of a fleet that runs, as if somebody had pulled its plug, and returns
// when it has ended. One that is off already has to be switched on first.
func (f *Fleet) Off(ctx context.Context, s identity.Serial) error {
	return f.order(ctx, s, func(m *member) chan order { return m.off })
}

// On makes a PBX that is off anew, from its state, and has it run.
func (f *Fleet) On(ctx context.Context, s identity.Serial) error {
	return f.order(ctx, s, func(m *member) chan order { return m.on })
}

func (f *Fleet) order(ctx context.Context, s identity.Serial, way func(*member) chan order) error {
	i, ok := f.serials[s]
	if !ok {
		return fmt.Errorf("%s: %w", s, ErrUnknown)
	}
	o := order{make(chan error, 1)}
	select {
	case way(f.members[i]) <- o:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// IsOnline tells whether the PBX of a serial holds a tunnel.
func (f *Fleet) IsOnline(s identity.Serial) bool {
	i, ok := f.serials[s]
	if !ok {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[i].online
}
