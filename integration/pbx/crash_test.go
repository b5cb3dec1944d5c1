package pbx

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/state"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// mortal is a disk of a process that is killed at a step; after is called then.
type mortal struct {
	*state.Memory
	after func()

	mu    sync.Mutex // guards steps
	steps int        // that it has left; negative: it lives
}

var errKilled = errors.New("killed")

// step takes one step, before or after which the process is killed.
func (m *mortal) step(f func() error) error {
	m.mu.Lock()
	left := m.steps
	if left > 0 {
		m.steps--
	}
	m.mu.Unlock()
	switch left {
	case 0:
		return errKilled
	case 1:
		err := f() // the last one is done, but nobody hears of it
		m.after()
		return errors.Join(err, errKilled)
	default:
		return f()
	}
}

func (m *mortal) Write(name string, data []byte) error {
	return m.step(func() error { return m.Memory.Write(name, data) })
}

func (m *mortal) Create(name string) (f io.WriteCloser, err error) {
	err = m.step(func() (err error) {
		f, err = m.Memory.Create(name)
		return err
	})
	return &mortalFile{f, m}, err
}

// mortalFile is whole when it is closed.
type mortalFile struct {
	io.WriteCloser
	disk *mortal
}

func (f *mortalFile) Close() error { return f.disk.step(f.WriteCloser.Close) }

// left is how many steps it has left, set gives it so many.
func (m *mortal) left() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.steps
}

func (m *mortal) set(steps int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steps = steps
}

func (m *mortal) Rename(from, to string) error {
	return m.step(func() error { return m.Memory.Rename(from, to) })
}

func (m *mortal) Remove(name string) error {
	return m.step(func() error { return m.Memory.Remove(name) })
}

func (m *mortal) Sync() error { return m.step(m.Memory.Sync) }

// life is what happens to a PBX: it is paired, dissolved, and paired again. Errors are
// those of a process that has been killed.
func life(b *box, offers map[wire.OfferID]*fakeOffer) {
	for _, id := range []wire.OfferID{"one", "two"} {
		o := b.ccc.offer(id)
		offers[id] = o
		if b.ccc.deliver(b.PBX, o) != nil || b.Enable(b.ccc.t.Context(), o.Token.Reveal(), id) != nil {
			return
		}
		time.Sleep(time.Minute)
		if id == "one" && b.Dissolve() != nil {
			return
		}
		time.Sleep(time.Minute)
	}
}

// TestKilledAtEveryStep kills the PBX after each step that its disk takes in a life, and
// starts it again: it is paired with what the control centre has, or neither is, and
// nobody is left over.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	ends := make(map[state.Phase]int)
	for steps, alive := 1, false; !alive; steps++ {
		t.Run(fmt.Sprint(steps), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := pkitest.New(t, td)
				ccc := newFakeCCC(t, ca)
				disk := &mortal{Memory: new(state.Memory), steps: steps}
				disk.after = func() { ccc.set(func() { ccc.down = true }) } // nor does it say any more
				b := &box{ccc: ccc, cfg: Config{
					Credentials: ca.Credentials(identity.Device(td, serial)), FirstPassword: first,
					Hasher: quick, Facts: noFacts, Dial: ccc.dial, Disk: disk,
				}}
				offers := make(map[wire.OfferID]*fakeOffer)
				if p, err := New(b.cfg); err == nil {
					b.PBX = p
					b.run(t)
					life(b, offers)
					b.stop()
				}
				alive = disk.steps > 0
				disk.steps = -1
				ccc.set(func() { ccc.down = false })

				b.start(t)
				defer func() { b.stop() }()
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				s := b.State()
				ends[s.Phase()]++
				want := wire.PairingID("")
				if ccc.pairing != nil {
					want = ccc.pairing.id
				}
				switch {
				case s.Pairing != nil && s.Pairing.ID != want || s.Pairing == nil && want != "":
					t.Errorf("the PBX has %+v, the control centre %q", s.Pairing, want)
				case s.Completing != nil || len(s.Tombstones) > 0 || len(s.Declined) > 0:
					t.Errorf("not at rest: %+v", s)
				case s.Pairing == nil && len(s.Users) != 1 || s.Pairing != nil && len(s.Users) != 2:
					t.Errorf("users %v", b.users())
				}
				if s.Pairing != nil {
					b.logIn(t, ccc.pairing.user, ccc.pairing.pass)
				}
				// Whatever is left of it all, the PBX can be paired.
				if s.Pairing == nil {
					b.pair(t)
				}
			})
		})
		if t.Failed() || steps > 500 {
			break
		}
	}
	if ends[state.PhasePaired] == 0 || ends[state.PhaseUnpaired] == 0 {
		t.Errorf("the ends %v", ends)
	}
}
