package daemon

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// diary records what happens, in order.
type diary struct {
	mu     sync.Mutex // guards events
	events []string
}

func (l *diary) add(event string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, event)
}

func (l *diary) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// component writes its life into the diary.
func (l *diary) component(name string) Component {
	ready := make(chan struct{})
	return Component{
		Name:  name,
		Ready: ready,
		Run: func(ctx context.Context) error {
			l.add("run " + name)
			close(ready)
			<-ctx.Done()
			l.add("end " + name)
			return ctx.Err()
		},
		Drain: func(context.Context) error {
			l.add("drain " + name)
			return nil
		},
	}
}

var inOrder = []string{"run a", "run b", "run c", "drain c", "end c", "drain b", "end b", "drain a", "end a"}

func TestRunInOrder(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		stop func(d *Daemon, cancel context.CancelFunc)
	}{
		{"signal", func(d *Daemon, _ context.CancelFunc) { d.signals <- syscall.SIGTERM }},
		{"context", func(_ *Daemon, cancel context.CancelFunc) { cancel() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, log := newDaemon(t, Config{})
			var l diary
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			result := make(chan error, 1)
			go func() { result <- d.Run(ctx, l.component("a"), l.component("b"), l.component("c")) }()
			<-d.Started()
			tt.stop(d, cancel)
			if err := <-result; err != nil {
				t.Error(err)
			}
			if got := l.all(); !slices.Equal(got, inOrder) {
				t.Errorf("got %v, want %v", got, inOrder)
			}
			if !strings.Contains(log.String(), "told to stop") {
				t.Errorf("the log does not name the cause: %s", log)
			}
		})
	}
}

func TestRunEndsWithComponent(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, tt := range []struct {
		name string
		err  error
		want error
	}{
		{"error", broken, broken},
		{"no error", nil, ErrEnded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, _ := newDaemon(t, Config{})
			var l diary
			breaks := make(chan struct{})
			result := running(t, d, l.component("a"), Component{Name: "b", Run: func(context.Context) error {
				<-breaks
				return tt.err
			}})
			close(breaks)
			err := <-result
			if !errors.Is(err, tt.want) || err.Error() != "b: "+tt.want.Error() {
				t.Errorf("got %v, want b: %v once", err, tt.want)
			}
			if want := []string{"run a", "drain a", "end a"}; !slices.Equal(l.all(), want) {
				t.Errorf("got %v, want %v", l.all(), want)
			}
		})
	}
}

// TestRunStopsWhileStarting: what comes after a component that never gets ready
// is not started, and what was started is stopped.
func TestRunStopsWhileStarting(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	d, _ := newDaemon(t, Config{})
	var l diary
	err := d.Run(t.Context(), l.component("a"),
		Component{Name: "b", Ready: make(chan struct{}), Run: func(context.Context) error { return broken }},
		l.component("c"))
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if want := []string{"run a", "drain a", "end a"}; !slices.Equal(l.all(), want) {
		t.Errorf("got %v, want %v", l.all(), want)
	}
	select {
	case <-d.Started():
		t.Error("says that it has started")
	default:
	}
}

func TestReadyWhileStartingAndDraining(t *testing.T) {
	t.Parallel()
	d, _ := newDaemon(t, Config{})
	up, runs := make(chan struct{}), make(chan struct{})
	drains, goOn := make(chan struct{}), make(chan struct{})
	relay := idle("relay")
	relay.Ready = up
	run := relay.Run
	relay.Run = func(ctx context.Context) error { close(runs); return run(ctx) }
	relay.Drain = func(context.Context) error { close(drains); <-goOn; return nil }
	result := make(chan error, 1)
	go func() { result <- d.Run(t.Context(), relay) }()
	<-runs
	if _, body := request(t, d, "GET", "/readyz", "", nil); !strings.Contains(body, `"relay":"starting"`) {
		t.Errorf("while starting: %s", body)
	}
	close(up)
	<-d.Started()
	d.signals <- os.Interrupt
	<-drains
	status, body := request(t, d, "GET", "/readyz", "", nil)
	if status != 503 || !strings.Contains(body, `"relay":"draining"`) {
		t.Errorf("while draining: %d %s", status, body)
	}
	close(goOn)
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestErrorsWhileStoppingAreJoined(t *testing.T) {
	t.Parallel()
	noDrain, noStop := errors.New("no drain"), errors.New("no stop")
	d, _ := newDaemon(t, Config{})
	result := running(t, d, Component{
		Name:  "relay",
		Run:   func(ctx context.Context) error { <-ctx.Done(); return noStop },
		Drain: func(context.Context) error { return noDrain },
	})
	d.signals <- os.Interrupt
	err := <-result
	if !errors.Is(err, noDrain) || !errors.Is(err, noStop) {
		t.Errorf("got %v", err)
	}
}

func TestSecondSignalExits(t *testing.T) {
	t.Parallel()
	d, _ := newDaemon(t, Config{})
	codes := make(chan int, 1)
	d.exit = func(code int) { codes <- code }
	drains, goOn := make(chan struct{}), make(chan struct{})
	c := idle("relay")
	c.Drain = func(context.Context) error { close(drains); <-goOn; return nil }
	result := running(t, d, c)
	d.signals <- os.Interrupt
	<-drains
	d.signals <- os.Interrupt
	if code := <-codes; code != 1 {
		t.Errorf("exit(%d), want 1", code)
	}
	close(goOn)
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// heapGoal is the size at which the next collection starts.
func heapGoal() uint64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// Not parallel: the floor is the whole process's, and so is the percentage.
func TestHeapFloor(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // daemons that ran at once may leave another
	const floor = 256 << 20
	goal := func(floor int64, percent int) uint64 {
		d, _ := newDaemon(t, Config{HeapFloor: floor, GCPercent: percent})
		var got uint64
		if err := d.Run(t.Context(), Component{Name: "a", Run: func(context.Context) error {
			got = heapGoal()
			return errStop
		}}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	for percent, want := range map[int]uint64{0: floor * 3 / 2, 100: floor * 2} {
		if got := goal(floor, percent); got < want || got > want+floor/4 {
			t.Errorf("at %d %%: collects at %d bytes, want %d or a little more", percent, got, want)
		}
	}
	t.Setenv("GOGC", "100") // not read again: the percentage stays that of the process
	if got := goal(floor, 50); got < floor*2 {
		t.Errorf("with GOGC: collects at %d bytes, want %d or more", got, floor*2)
	}
	if got := goal(-1, 0); got >= floor {
		t.Errorf("without a floor: collects at %d bytes", got)
	}
}

// supervise runs the supervisor without the admin listener, so that time can be
// synctest's.
func supervise(t *testing.T, timeout time.Duration, components ...Component) error {
	t.Helper()
	d, _ := newDaemon(t, Config{ShutdownTimeout: timeout})
	s := &supervisor{daemon: d, base: t.Context(), ended: make(chan *part, len(components))}
	if err := s.start(t.Context(), d.signals, components); err != nil {
		t.Fatal(err)
	}
	return s.stop()
}

func TestDeadlineCancelsEverything(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l diary
		slow := l.component("b")
		slow.Drain = func(ctx context.Context) error { l.add("drain b"); <-ctx.Done(); return ctx.Err() }
		begin := time.Now()
		err := supervise(t, 10*time.Second, l.component("a"), slow)
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("took %v, want 10s", took)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if got := l.all(); slices.Contains(got, "drain a") || !slices.Contains(got, "end a") || !slices.Contains(got, "end b") {
			t.Errorf("got %v, want both ended and a not drained", got)
		}
	})
}

func TestStuckComponentIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{})
		defer close(wake)
		var l diary
		begin := time.Now()
		err := supervise(t, 10*time.Second, l.component("a"),
			Component{Name: "stuck", Run: func(context.Context) error { <-wake; return nil }})
		if took, want := time.Since(begin), 10*time.Second+stopGrace; took != want {
			t.Errorf("took %v, want %v", took, want)
		}
		if !errors.Is(err, errStuck) || !strings.Contains(err.Error(), "stop stuck:") {
			t.Errorf("got %v", err)
		}
		if !slices.Contains(l.all(), "end a") {
			t.Error("the component before it was not stopped")
		}
	})
}

func TestStuckDrainIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{})
		defer close(wake)
		c := idle("relay")
		c.Drain = func(context.Context) error { <-wake; return nil }
		if err := supervise(t, 10*time.Second, c); !errors.Is(err, errStuck) || !strings.Contains(err.Error(), "drain relay:") {
			t.Errorf("got %v", err)
		}
	})
}

// TestRealSignal runs a daemon in a process of its own, as the signals of this
// one belong to the test runner.
func TestRealSignal(t *testing.T) {
	t.Parallel()
	const child = "DAEMON_TEST_CHILD"
	if os.Getenv(child) != "" {
		d, err := New(Config{Admin: AdminConfig{Listen: "127.0.0.1:0"}}, "child")
		if err != nil {
			t.Fatal(err)
		}
		err = d.Run(context.Background(), Component{Name: "self", Run: func(ctx context.Context) error {
			<-d.Started()
			if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestRealSignal$", "-test.timeout=30s")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "told to stop: terminated") {
		t.Errorf("%v\n%s", err, out)
	}
}
