package load

import (
	"fmt"
	"time"

	"github.com/prometheus/procfs"
)

// Usage is what a process costs at one moment.
type Usage struct {
	At time.Time
	// RSS is the resident memory in bytes (VmRSS of /proc/<pid>/status).
	RSS uint64
	// Anon is the part of RSS that is no file's (RssAnon): what the process itself
	// took, and not what it has mapped and the kernel may take back.
	Anon uint64
	// CPU is the time spent so far, in user mode and in the kernel (utime and
	// stime of /proc/<pid>/stat), in steps of 10 ms.
	CPU time.Duration
}

// userHz is the unit of times in /proc/<pid>/stat: 100 per second on every Linux
// that Go runs on.
const userHz = 100

// ReadUsage reads /proc, and so works on Linux only.
func ReadUsage(pid int) (Usage, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	status, err := p.NewStatus()
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	stat, err := p.Stat()
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	ticks := time.Duration(stat.UTime + stat.STime) //nolint:gosec // centuries
	return Usage{At: time.Now(), RSS: status.VmRSS, Anon: status.RssAnon, CPU: ticks * time.Second / userHz}, nil
}
