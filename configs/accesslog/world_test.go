package accesslog

import (
	"context"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// fastDir gives a directory that is fast to sync where the system has one.
func fastDir(t testing.TB) string {
	t.Helper()
	base := "/dev/shm"
	if info, err := os.Stat(base); err != nil || !info.IsDir() {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(base, "accesslog-") //nolint:usetesting // not where TempDir is
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// world is a log in a bubble of package synctest, whose system clock can be set.
type world struct {
	t   *testing.T
	dir string
	cfg Config

	mu     sync.Mutex
	offset time.Duration // of the system's clock to that of the bubble

	log  *Log
	stop context.CancelFunc
	done chan error
}

// begin is when the worlds start; the bubble's clock is at midnight UTC 2000-01-01.
var begin = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func newWorld(t *testing.T, cfg Config) *world {
	w := &world{t: t, dir: fastDir(t), offset: time.Until(begin)}
	cfg.Dir, cfg.Service, cfg.Now = w.dir, "test", w.now
	w.cfg = cfg
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.offset)
}

// setClock sets the system's clock forward, or back.
func (w *world) setClock(by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offset += by
}

func (w *world) start() {
	w.t.Helper()
	l, err := New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := l.Open(); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.log, w.stop, w.done = l, cancel, make(chan error, 1)
	go func() { w.done <- l.Run(ctx) }()
	synctest.Wait()
}

func (w *world) end() {
	w.t.Helper()
	w.stop()
	if err := <-w.done; err != nil {
		w.t.Error(err)
	}
}

// sleep lets time pass, and what is due then be done.
func (w *world) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) reader() Reader { return Reader{Dir: w.dir, Now: w.now} }

func (w *world) records() []Record {
	w.t.Helper()
	return collect(w.t, w.reader().Raw(time.Time{}, time.Time{}))
}

func (w *world) rows() []Stat {
	w.t.Helper()
	return collect(w.t, w.reader().Stats(time.Time{}, time.Time{}))
}

// total is the number of accesses in the anonymous stream.
func (w *world) total() (n uint64) {
	w.t.Helper()
	for _, s := range w.rows() {
		n += s.Count
	}
	return n
}

func collect[T any](t testing.TB, seq func(func(T, error) bool)) []T {
	t.Helper()
	var all []T
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

// files gives the names of all files that match.
func files(t testing.TB, dir, pattern string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// contents gives every file below dir by its name.
func contents(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		all[d.Name()], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// gauge gives the value of a metric without labels.
func gauge(t testing.TB, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
