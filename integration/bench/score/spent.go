package score

import (
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/procfs"
)

// userHz is the unit of times in /proc/<pid>/stat: 100 per second on every Linux
// that Go runs on.
const userHz = 100

// Spent is CPU time so far.
type Spent struct {
	// Machine is what the whole machine was busy, interrupts and stolen time
	// included.
	Machine time.Duration
	// Ours is the part of some processes and of all that they started, those included
	// that have ended and were waited for.
	Ours time.Duration
}

// ReadSpent reads the /proc that is mounted at a path, [procfs.DefaultMountPoint]
// as a rule, for the processes pids and their descendants. None of them may be another
// one's descendant.
//
// The machine's time is sampled at its ticks, that of processes is exact: over some
// seconds the two differ by about 2 %. Loopback traffic is done in soft
// interrupts. Where the kernel accounts these by themselves
// (CONFIG_IRQ_TIME_ACCOUNTING), they are the machine's and nobody's, and count as
// noise, so that the gate closes too early and never too late.
func ReadSpent(proc string, pids ...int) (Spent, error) {
	fs, err := procfs.NewFS(proc)
	if err != nil {
		return Spent{}, err
	}
	st, err := fs.Stat()
	if err != nil {
		return Spent{}, err
	}
	t := st.CPUTotal
	s := Spent{Machine: time.Duration((t.User + t.Nice + t.System + t.IRQ + t.SoftIRQ + t.Steal) * float64(time.Second))}
	procs, err := fs.AllProcs()
	if err != nil {
		return Spent{}, err
	}
	children := make(map[int][]procfs.ProcStat)
	found := 0
	ticks := func(p procfs.ProcStat) time.Duration {
		return time.Duration(int(p.UTime)+int(p.STime)+p.CUTime+p.CSTime) * time.Second / userHz //nolint:gosec // centuries
	}
	for _, p := range procs {
		ps, err := p.Stat()
		if err != nil {
			continue // it has ended meanwhile
		}
		if slices.Contains(pids, ps.PID) {
			found++
			s.Ours += ticks(ps)
		}
		children[ps.PPID] = append(children[ps.PPID], ps)
	}
	if found < len(pids) {
		return Spent{}, fmt.Errorf("%s has not all of the processes %d", proc, pids)
	}
	for todo := slices.Clone(pids); len(todo) > 0; todo = todo[1:] {
		for _, c := range children[todo[0]] {
			s.Ours += ticks(c)
			todo = append(todo, c.PID)
		}
	}
	return s, nil
}

// Since is what was spent after an earlier reading.
func (s Spent) Since(before Spent) Spent {
	return Spent{Machine: s.Machine - before.Machine, Ours: s.Ours - before.Ours}
}

// Share is the part of cpus processors over a time.
func Share(spent, over time.Duration, cpus int) float64 {
	if over <= 0 || cpus < 1 {
		return 0
	}
	return float64(spent) / (float64(over) * float64(cpus))
}
