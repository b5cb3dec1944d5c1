package score

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// What a program of others spends is seen, and nothing of ours is taken for it: not
// the soft interrupts of the loopback, no child, no grandchild, none that has ended.
func TestReadSpent(t *testing.T) {
	t.Parallel()
	a, err := txtar.ParseFile(filepath.Join("testdata", "busy.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := txtar.Write(a, dir); err != nil {
		t.Fatal(err)
	}
	read := func(name string, pid int) Spent {
		s, err := ReadSpent(filepath.Join(dir, name), pid)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const tick = 10 * time.Millisecond
	const over = 4017 * time.Millisecond
	got := read("after", 100).Since(read("before", 100))
	got.Machine = got.Machine.Round(tick) // from floating point
	if want := (Spent{Machine: 776 * tick, Ours: 548 * tick}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	// The program spent 231 ticks, 28.8 % of the machine.
	if share := Share(got.Machine-got.Ours, over, 2); share < 0.27 || share > 0.30 {
		t.Errorf("others had %.3f of the machine", share)
	}
	// Were that program ours, hardly anything would be left.
	other := read("after", 1).Since(read("before", 1))
	if share := Share(other.Machine-other.Ours, over, 2); share > 0.01 {
		t.Errorf("with everything ours, others had %.3f of the machine", share)
	}
	if _, err := ReadSpent(filepath.Join(dir, "after"), 4711); err == nil {
		t.Error("a process that does not exist has spent something")
	}
}

// The real files have what is read from them, and time only grows.
func TestReadSpentHere(t *testing.T) {
	t.Parallel()
	const proc = "/proc"
	before, err := ReadSpent(proc, os.Getpid())
	if os.IsNotExist(err) {
		t.Skip("there is no /proc here")
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		Spin()
	}
	after, err := ReadSpent(proc, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if d := after.Since(before); d.Machine < 0 || d.Ours < 0 || before.Machine == 0 {
		t.Errorf("before %v, after %v", before, after)
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	if got := Share(time.Second, 5*time.Second, 2); got != 0.1 {
		t.Errorf("got %v", got)
	}
	if got := Share(time.Second, 0, 2); got != 0 {
		t.Errorf("over no time: %v", got)
	}
}
