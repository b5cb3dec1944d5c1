package score

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/prometheus/procfs"
)

// Host is what of the machine matters for a comparison. Fields that cannot be read
// are empty.
type Host struct {
	CPU    string `json:"cpu"`
	Kernel string `json:"kernel"`
	// Congestion is the default TCP congestion control.
	Congestion string `json:"congestion_control"`
}

// ReadHost reads the /proc that is mounted at a path.
func ReadHost(proc string) Host {
	var h Host
	if fs, err := procfs.NewFS(proc); err == nil {
		if cpus, err := fs.CPUInfo(); err == nil && len(cpus) > 0 {
			h.CPU = cpus[0].ModelName
		}
	}
	line := func(name string) string {
		text, err := os.ReadFile(filepath.Join(proc, "sys", filepath.FromSlash(name))) //nolint:gosec // the kernel's
		if err != nil {
			return "" // another system, or a kernel without it
		}
		return strings.TrimSpace(string(text))
	}
	h.Kernel, h.Congestion = line("kernel/osrelease"), line("net/ipv4/tcp_congestion_control")
	return h
}

var notName = regexp.MustCompile(`[^A-Za-z0-9.]+`)

// Name is what the directory of a report is called: date, commit, and machine, as
// in "2026-01-31T1504-1a2b3c4-2x-AMD-EPYC", so that names sort by time; before them
// the subject, where there is one.
func (r *Report) Name() string {
	cpu := notName.ReplaceAllString(r.Host.CPU, "-")
	return strings.Trim(fmt.Sprintf("%s-%s-%s-%dx-%s", strings.ToLower(r.Subject), r.Started.UTC().Format("2006-01-02T1504"),
		notName.ReplaceAllString(r.Version, "-"), r.Machine.CPUs, cpu), "-")
}
