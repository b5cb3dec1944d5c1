package remote

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

// A model of who may be inside: it knows what the administrator has done, and the clock,
// and nothing of how the Machine works. Random sequences of what administrator, control
// centre, gateway and the power supply do are held against it after each step.

// consented is what the administrator has let in.
type consented struct {
	service grant.Service
	pairing wire.PairingID
	until   time.Time
	always  bool // by the standing setting
	wish    time.Duration
}

// call is one stream that the Machine has let in and not cut.
type call struct {
	*Stream
	service grant.Service
	cut     atomic.Bool
}

type model struct {
	*world
	rand    *rand.Rand
	fault   string
	may     map[grant.SessionID]*consented
	pending map[grant.SessionID]*consented // until: it expires; wish: what was asked for
	calls   []*call
	pin     string
	pinLife time.Duration
	pinEnds time.Time
	nextID  int
	log     []string
	let     int // in
	kept    int // out though the session was known
	reports map[grant.SessionID][]wire.RemoteReport
}

// check gives what is wrong.
func (m *model) check() error {
	synctest.Wait() // for what was due
	now, p := time.Now(), m.get()
	for _, c := range m.calls {
		if c.cut.Load() {
			continue
		}
		ok := m.may[c.Session]
		switch {
		case ok == nil:
			return fmt.Errorf("a call of %s is open, to which nobody has consented", c.Session)
		case !now.Before(ok.until):
			return fmt.Errorf("a call of %s is open %s after the end", c.Session, now.Sub(ok.until))
		case !p.On:
			return fmt.Errorf("a call of %s is open, though switched off", c.Session)
		case p.Pairing != ok.pairing:
			return fmt.Errorf("a call of %s is open, of another pairing", c.Session)
		case c.service != ok.service:
			return fmt.Errorf("a call of %s is to %s, not to %s", c.Session, c.service, ok.service)
		}
	}
	for id, c := range m.may {
		s, ok := m.Session(id)
		if active := now.Before(c.until); !ok || active != (s.State == grant.Active) || active && !s.Until.Equal(c.until) {
			return fmt.Errorf("%s is %s until %s, want until %s", id, s.State, s.Until, c.until)
		}
	}
	return nil
}

// any gives the id of some session, or of none.
func (m *model) any() grant.SessionID {
	if inside := slices.Sorted(maps.Keys(m.may)); len(inside) > 0 && m.rand.IntN(2) == 0 {
		return inside[m.rand.IntN(len(inside))]
	}
	return grant.SessionID(fmt.Sprintf("s-%d", max(0, m.nextID-m.rand.IntN(5))))
}

// drop ends what the model knows; "" ends all.
func (m *model) drop(id grant.SessionID) {
	if id != "" {
		delete(m.may, id)
		delete(m.pending, id)
		return
	}
	clear(m.may)
	clear(m.pending)
	m.pin = ""
}

func (m *model) minutes() time.Duration { return time.Duration(1+m.rand.IntN(90)) * time.Minute }

// consent notes a consent where the Machine takes it.
func (m *model) consent(id grant.SessionID, life time.Duration, always bool) error {
	c := m.pending[id]
	if c == nil || !time.Now().Before(c.until) {
		return fmt.Errorf("%s was let in, which did not wait", id)
	}
	if life == 0 {
		life = min(c.wish, time.Hour)
	}
	delete(m.pending, id)
	m.may[id] = &consented{c.service, c.pairing, time.Now().Add(life), always, 0}
	return nil
}

// step does one thing that somebody does.
func (m *model) step() error {
	steps := []struct {
		name string
		n    int // how often, against the others
		f    func() error
	}{
		{"request", 30, m.request},
		{"allow", 40, m.allowSome},
		{"refuse", 3, func() error {
			id := m.any()
			if m.Refuse(id) == nil {
				delete(m.pending, id)
			}
			return nil
		}},
		{"end", 4, func() error {
			id := m.any()
			_ = m.End(id, []grant.Cause{grant.CauseAdmin, grant.CauseCCC, grant.CauseUser}[m.rand.IntN(3)])
			m.drop(id)
			return nil
		}},
		{"switch off", 1, func() error {
			m.set(func(p *Policy) { p.On = false })
			if m.fault != "switch" {
				m.EndAll(grant.CauseSwitch)
			}
			m.drop("")
			return nil
		}},
		{"switch on", 15, func() error { m.set(func(p *Policy) { p.On = true }); return nil }},
		{"always", 1, func() error { m.set(func(p *Policy) { p.Always = true }); return nil }},
		{"ask", 3, func() error {
			m.set(func(p *Policy) { p.Always = false })
			if m.fault != "standing" {
				m.Recheck()
			}
			for id, c := range m.may {
				if c.always {
					delete(m.may, id)
				}
			}
			return nil
		}},
		{"another pairing", 1, func() error {
			m.set(func(p *Policy) { p.Pairing += "x" })
			m.EndAll(grant.CauseDissolved)
			m.drop("")
			return nil
		}},
		{"make PIN", 10, func() (err error) {
			m.pinLife = []time.Duration{0, m.minutes()}[m.rand.IntN(2)]
			if m.pin, err = m.NewPIN(m.pinLife); err != nil {
				m.pin = ""
			}
			m.pinEnds = time.Now().Add(15 * time.Minute)
			return nil
		}},
		{"type PIN", 15, m.typePIN},
		{"wish", 15, func() error {
			id, wish := m.any(), m.minutes()
			if m.Extend(id, wish) == nil {
				if m.may[id] == nil {
					return fmt.Errorf("%s may wish", id)
				}
				m.may[id].wish = wish
				if m.fault == "extension" {
					_ = m.AllowExtension(id, wish)
				}
			}
			return nil
		}},
		{"extend", 12, m.extend},
		{"call", 80, m.call},
		{"hang up", 15, func() error {
			if len(m.calls) > 0 {
				i := m.rand.IntN(len(m.calls))
				m.calls[i].Close()
				m.calls = append(m.calls[:i], m.calls[i+1:]...)
			}
			return nil
		}},
		{"time", 15, func() error {
			time.Sleep(time.Duration(m.rand.Int64N(int64(10 * time.Minute))))
			if m.fault == "timer" {
				m.mu0(func() { m.timer.Stop() })
			}
			return nil
		}},
		{"power", 1, func() error {
			m.crash()
			m.drop("")
			m.calls = nil
			return nil
		}},
		{"reset", 1, func() error {
			m.Reset(installed)
			m.drop("")
			m.nextID += 6 // what is forgotten does not come again
			return nil
		}},
		{"deliver", 10, m.deliver},
	}
	total := 0
	for _, s := range steps {
		total += s.n
	}
	at := m.rand.IntN(total)
	for _, s := range steps {
		if at -= s.n; at < 0 {
			m.log = append(m.log, s.name)
			return s.f()
		}
	}
	return nil
}

// mu0 runs f where there is a timer, with the Machine's lock held.
func (m *model) mu0(f func()) {
	m.Machine.mu.Lock()
	defer m.Machine.mu.Unlock()
	if m.timer != nil {
		f()
	}
}

func (m *model) request() error {
	id := m.any() // which may be known already
	if m.rand.IntN(5) > 0 {
		m.nextID++
		id = grant.SessionID(fmt.Sprintf("s-%d", m.nextID))
	}
	r := request(id, m.minutes())
	r.Pairing = m.get().Pairing
	if m.rand.IntN(3) == 0 {
		r.Service, r.Target = grant.SSH, "switch"
	}
	_, known := m.Session(id)
	state, err := m.Take(r)
	if err != nil || known {
		return nil
	}
	p := m.get()
	m.pending[id] = &consented{service: r.Service, pairing: r.Pairing, until: time.Now().Add(15 * time.Minute), wish: r.Life}
	if state == grant.Active {
		if !p.Always {
			return fmt.Errorf("%s is active at once", id)
		}
		return m.consent(id, 0, true)
	}
	if m.fault == "consent" {
		_ = m.Allow(id, 0)
	}
	return nil
}

func (m *model) allowSome() error {
	id, life := m.any(), []time.Duration{0, m.minutes()}[m.rand.IntN(2)]
	if m.Allow(id, life) != nil {
		return nil
	}
	return m.consent(id, life, false)
}

func (m *model) typePIN() error {
	id, pin := m.any(), m.pin
	if pin == "" || m.rand.IntN(2) == 0 {
		pin = "00000000"
	}
	if err := m.PIN(id, pin); err != nil {
		if errors.Is(err, ErrTries) {
			m.drop(id)
		}
		if pin == m.pin && (errors.Is(err, ErrTooMany) || errors.Is(err, ErrOff) || errors.Is(err, ErrPairing)) {
			m.pin = "" // used up
		}
		return nil
	}
	if pin != m.pin || !time.Now().Before(m.pinEnds) {
		return fmt.Errorf("a PIN that is none lets %s in", id)
	}
	m.pin = ""
	life := m.pinLife
	if c := m.pending[id]; c != nil && life != 0 {
		life = min(life, c.wish)
	}
	return m.consent(id, life, false)
}

func (m *model) extend() error {
	id, life := m.any(), []time.Duration{0, m.minutes()}[m.rand.IntN(2)]
	if m.rand.IntN(3) == 0 {
		if m.RefuseExtension(id) == nil && m.may[id] != nil {
			m.may[id].wish = 0
		}
		return nil
	}
	if m.AllowExtension(id, life) != nil {
		return nil
	}
	c := m.may[id]
	if c == nil || c.wish == 0 {
		return fmt.Errorf("%s has more time, for which nobody has asked", id)
	}
	if life == 0 {
		life = min(c.wish, time.Hour)
	}
	if until := time.Now().Add(life); until.After(c.until) {
		c.until = until
	}
	c.wish = 0
	return nil
}

func (m *model) call() error {
	id, service := m.any(), []grant.Service{grant.Web, grant.Web, grant.SSH, grant.TCP}[m.rand.IntN(4)]
	c := &call{service: service}
	cut := func() { c.cut.Store(true) }
	if m.fault == "cut" {
		cut = func() {}
	}
	asked := service
	if s, ok := m.Session(id); ok && m.fault == "service" {
		asked = s.Service
	}
	var err error
	c.Stream, err = m.Admit(id.Purpose(), asked, cut)
	ok := m.may[id]
	good := ok != nil && ok.service == service && time.Now().Before(ok.until)
	if err == nil {
		m.calls = append(m.calls, c)
		m.let++
		c.Count(m.rand.IntN(1000), m.rand.IntN(1000))
		return nil // check looks whether that is right
	}
	m.kept++
	if good && m.get().On && !errors.Is(err, ErrTooMany) {
		return fmt.Errorf("%s is kept out: %w", id, err)
	}
	return nil
}

// deliver takes some reports, which have to be in order and to fit together.
func (m *model) deliver() error {
	for range m.rand.IntN(5) {
		q, ok := m.NextReport()
		if !ok {
			return nil
		}
		r := q.Report
		before := m.reports[r.Session]
		m.reports[r.Session] = append(before, r)
		if m.rand.IntN(10) > 0 { // otherwise the answer is lost
			m.Told(q.Seq)
		} else {
			m.reports[r.Session] = before
		}
		if len(before) == 0 {
			continue
		}
		last := before[len(before)-1]
		switch {
		case last.State.Final():
			return fmt.Errorf("%s: %s after %s", r.Session, r.State, last.State)
		case r.At.Before(last.At), r.BytesIn < last.BytesIn:
			return fmt.Errorf("%s: %+v after %+v", r.Session, r, last)
		}
	}
	return nil
}

// run does so many steps and gives the first thing that is wrong.
func (m *model) run(steps int) error {
	for range steps {
		if err := m.step(); err != nil {
			return err
		}
		if err := m.check(); err != nil {
			return err
		}
	}
	return nil
}

func newModel(t *testing.T, seed uint64, fault string) *model {
	return &model{
		world: newWorld(t), rand: rand.New(rand.NewPCG(seed, 7)), fault: fault,
		may: make(map[grant.SessionID]*consented), pending: make(map[grant.SessionID]*consented),
		reports: make(map[grant.SessionID][]wire.RemoteReport),
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	let, kept := 0, 0
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t, seed, "")
			if err := m.run(400); err != nil {
				t.Errorf("seed %d: %v\n%q", seed, err, m.log)
			}
			let, kept = let+m.let, kept+m.kept
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("let in %d times, kept out %d times", let, kept)
	if let < 400 || kept < 1000 {
		t.Error("the sequences show little")
	}
}

// TestModelFindsFaults plants a fault of each kind, which has to be found.
func TestModelFindsFaults(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"cut", "switch", "standing", "consent", "extension", "timer", "service"} {
		found := false
		for seed := range uint64(40) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(t, seed, fault)
				found = m.run(400) != nil
			})
			if found {
				break
			}
		}
		if !found {
			t.Errorf("nobody finds the fault %q", fault)
		}
	}
}
