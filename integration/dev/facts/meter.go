package facts

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
)

// meter measures this machine. It keeps the processor's times of the measurement
// before, because the library's own memory of them is shared by the process.
type meter struct {
	before cpu.TimesStat
}

func (m *meter) measure(ctx context.Context) (Facts, error) {
	f := Facts{Time: time.Now().UTC()}
	machine, err := machine()
	if err != nil {
		return f, fmt.Errorf("host: %w", err)
	}
	f.Host = machine
	if f.Host.Uptime, err = host.UptimeWithContext(ctx); err != nil {
		return f, fmt.Errorf("uptime: %w", err)
	}
	times, err := cpu.TimesWithContext(ctx, false)
	if err != nil {
		return f, fmt.Errorf("cpu: %w", err)
	}
	if len(times) == 0 {
		return f, errors.New("cpu: no times")
	}
	f.CPU = CPU{Cores: runtime.NumCPU(), Percent: busy(m.before, times[0])}
	m.before = times[0]
	avg, err := load.AvgWithContext(ctx)
	if err != nil {
		return f, fmt.Errorf("load: %w", err)
	}
	f.CPU.Load = avg.Load1
	memory, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return f, fmt.Errorf("memory: %w", err)
	}
	f.Memory = Space{memory.Total, memory.Used, memory.UsedPercent}
	root, err := disk.UsageWithContext(ctx, "/")
	if err != nil {
		return f, fmt.Errorf("disk: %w", err)
	}
	f.Disk = Space{root.Total, root.Used, root.UsedPercent}
	return f, nil
}

// machine tells what does not change, once for all devices of a process: where there
// is an lsb_release, the library runs it for each answer.
var machine = sync.OnceValues(func() (Host, error) {
	info, err := host.Info()
	if err != nil {
		return Host{}, err
	}
	return Host{
		Name:   info.Hostname,
		System: strings.TrimSpace(info.Platform + " " + info.PlatformVersion),
		Kernel: strings.TrimSpace(info.KernelVersion + " " + info.KernelArch),
	}, nil
})

// busy is the share of the time between two readings that was not idle, in
// percent; 0 if there is no reading before.
func busy(before, now cpu.TimesStat) float64 {
	if before == (cpu.TimesStat{}) {
		return 0
	}
	idle := (now.Idle + now.Iowait) - (before.Idle + before.Iowait)
	all := total(now) - total(before)
	if all <= 0 {
		return 0
	}
	return min(max(100*(1-idle/all), 0), 100)
}

// total leaves out guest times, which Linux counts in user and nice already.
func total(t cpu.TimesStat) float64 {
	return t.User + t.Nice + t.System + t.Idle + t.Iowait + t.Irq + t.Softirq + t.Steal
}
