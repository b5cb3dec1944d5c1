package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDisk = errors.New("the disk is full")

// memory is a disk that can fail, and be slow.
type memory struct {
	mu    sync.Mutex
	files map[string][]byte
	// left is how many steps work yet; below 0: all do.
	left int
	slow func() // before each write; nil: not
}

func newMemory() *memory { return &memory{files: make(map[string][]byte), left: -1} }

func (d *memory) step(f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		return errDisk
	}
	d.left = max(d.left-1, -1)
	return f()
}

func (d *memory) Read(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	data, ok := d.files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return data, nil
}

func (d *memory) Write(name string, data []byte) error {
	if d.slow != nil {
		d.slow()
	}
	return d.step(func() error { d.files[name] = data; return nil })
}

func (d *memory) Rename(from, to string) error {
	return d.step(func() error {
		data, ok := d.files[from]
		if !ok {
			return fs.ErrNotExist
		}
		delete(d.files, from)
		d.files[to] = data
		return nil
	})
}

func (d *memory) Remove(name string) error {
	return d.step(func() error { delete(d.files, name); return nil })
}

func (d *memory) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.files)), nil
}

func (d *memory) Sync() error { return d.step(func() error { return nil }) }

func (d *memory) fail(after int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = after
}

// crashed is the disk as the next start finds it.
func (d *memory) crashed() *memory {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &memory{files: maps.Clone(d.files), left: -1}
}

// world is a Machine and what its administrator has set.
type world struct {
	*Machine
	t    testing.TB
	disk *memory

	mu     sync.Mutex
	policy Policy
}

var installed = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, disk: newMemory(), policy: Policy{
		On: true, Pairing: "pairing-1", Epoch: 2,
		Targets: []Target{{Name: "switch", Service: grant.SSH, Address: "192.168.1.2:22", HostKeys: []string{"ssh-ed25519 AAAA"}}},
	}}
	w.open()
	t.Cleanup(func() { w.Close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	m, err := Open(Config{Disk: w.disk, Installed: installed, Policy: w.get})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Machine = m
}

// crash starts anew with what is on the disk.
func (w *world) crash() {
	w.t.Helper()
	w.disk = w.disk.crashed()
	w.Close()
	w.open()
}

func (w *world) get() Policy {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.policy
}

func (w *world) set(f func(*Policy)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.policy)
}

// request is one of the CCC for so long.
func request(id grant.SessionID, life time.Duration) wire.Remote {
	now := time.Now()
	return wire.Remote{
		Session: id, Pairing: "pairing-1", Serial: "0123456789", Epoch: 2, Tenant: "Acker GmbH", User: "Erika Muster",
		Reason: "no dial tone", Service: grant.Web, Life: life, IssuedAt: now, ExpiresAt: now.Add(time.Hour), ExpiresIn: time.Hour,
	}
}

func (w *world) take(id grant.SessionID, life time.Duration) {
	w.t.Helper()
	if _, err := w.Take(request(id, life)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) allow(id grant.SessionID, life time.Duration) {
	w.t.Helper()
	if err := w.Allow(id, life); err != nil {
		w.t.Fatal(err)
	}
}

// stream is a call that is let in, and a count of how often it was cut.
func (w *world) stream(id grant.SessionID) (*Stream, *atomic.Int32) {
	w.t.Helper()
	cut := new(atomic.Int32)
	s, err := w.Admit(id.Purpose(), grant.Web, func() { cut.Add(1) })
	if err != nil {
		w.t.Fatal(err)
	}
	return s, cut
}

func (w *world) is(id grant.SessionID, state grant.State, cause grant.Cause) Session {
	w.t.Helper()
	s, ok := w.Session(id)
	if !ok || s.State != state || s.Cause != cause {
		w.t.Errorf("%s is %q %q, want %q %q", id, s.State, s.Cause, state, cause)
	}
	return s
}

// drain gives all reports, and has them acknowledged.
func (w *world) drain() (all []wire.RemoteReport) {
	for {
		q, ok := w.NextReport()
		if !ok {
			return all
		}
		all = append(all, q.Report)
		w.Told(q.Seq)
	}
}
