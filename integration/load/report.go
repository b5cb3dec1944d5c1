package load

import (
	"cmp"
	"slices"
	"time"
)

// Report is the outcome of a simulation. Parts that did not take place are nil.
// Times are in nanoseconds, memory in bytes.
type Report struct {
	// Version of the program, and when the simulation began.
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Machine Machine   `json:"machine"`
	// Settings are the command line's, as name and value.
	Settings []Setting `json:"settings"`

	Connect *ConnectReport `json:"connect,omitempty"`
	// Memory of the relay, in the order of time.
	Memory []MemoryPoint `json:"memory,omitempty"`
	Idle   *IdleReport   `json:"idle,omitempty"`
	Load   *LoadReport   `json:"load,omitempty"`
	// Attacks are the attacks that were measured, in order.
	Attacks []AttackReport `json:"attacks,omitempty"`
	Storm   *StormReport   `json:"storm,omitempty"`
	Kill    *KillReport    `json:"kill,omitempty"`
	// Fleet holds the final counts.
	Fleet Counts `json:"fleet"`
	// Simulator is the memory of the simulator itself when the fleet was connected.
	Simulator MemoryPoint `json:"simulator"`
	// Failures say what was not as it should be; empty if all is well.
	Failures []string `json:"failures,omitempty"`
}

// Machine is where the simulation ran.
type Machine struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
}

// Setting is one flag of the command line.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ConnectReport tells about the first connect of the fleet.
type ConnectReport struct {
	Devices int `json:"devices"`
	Online  int `json:"online"`
	// Elapsed is the time from the start of the first device to the welcome of the
	// last, and PerSecond the tunnels per second in it.
	Elapsed   time.Duration `json:"elapsed_ns"`
	PerSecond float64       `json:"per_second"`
	// Latency is the time from the start of a device to its welcome.
	Latency Latency `json:"latency"`
	// Failed counts the attempts that ended without a welcome, by error number.
	Failed map[string]int `json:"failed,omitempty"`
	// CPUPerTunnel is the relay's CPU time for each; 0 if it is not known.
	CPUPerTunnel time.Duration `json:"relay_cpu_per_tunnel_ns,omitempty"`
}

// MemoryPoint is the resident memory of a process at one moment.
type MemoryPoint struct {
	// When, in words.
	When    string `json:"when"`
	RSS     uint64 `json:"rss"`
	Tunnels int    `json:"tunnels"`
	// PerTunnel is the growth over the process without tunnels, for each tunnel.
	PerTunnel uint64 `json:"per_tunnel,omitempty"`
}

// Per fills in PerTunnel, given the memory of the process without tunnels.
func (m MemoryPoint) Per(empty uint64) MemoryPoint {
	if m.Tunnels > 0 && m.RSS > empty {
		m.PerTunnel = (m.RSS - empty) / uint64(m.Tunnels)
	}
	return m
}

// IdleReport is what idle tunnels cost the relay: heartbeats and nothing else.
type IdleReport struct {
	Window  time.Duration `json:"window_ns"`
	Tunnels int           `json:"tunnels"`
	// Heartbeat is the time between two of a device; 0 if it is not known.
	Heartbeat time.Duration `json:"heartbeat_ns,omitempty"`
	CPU       time.Duration `json:"relay_cpu_ns"`
	// Core is the share of one core, from 0 to 1.
	Core float64 `json:"relay_core"`
	// PerTunnel is CPU time per tunnel and second.
	PerTunnel time.Duration `json:"relay_cpu_per_tunnel_second_ns"`
}

// NewIdleReport computes the shares from the usage at both ends of the window.
func NewIdleReport(before, after Usage, tunnels int) *IdleReport {
	r := &IdleReport{Window: after.At.Sub(before.At), Tunnels: tunnels, CPU: after.CPU - before.CPU}
	if r.Window > 0 {
		r.Core = r.CPU.Seconds() / r.Window.Seconds()
		if tunnels > 0 {
			r.PerTunnel = time.Duration(r.Core / float64(tunnels) * float64(time.Second))
		}
	}
	return r
}

// LoadReport is a run of calls and what it cost the relay.
type LoadReport struct {
	Result
	// CPUPerCall is the relay's CPU time for each call, the idle tunnels' share
	// included; 0 if it is not known.
	CPUPerCall time.Duration `json:"relay_cpu_per_call_ns,omitempty"`
}

// KillReport tells how the fleet came back after the relay was killed (SIGKILL)
// and started again at once at the same address.
type KillReport struct {
	Devices int `json:"devices"`
	// Outage is the time from the kill until the relay listened again.
	Outage time.Duration `json:"outage_ns"`
	Comeback
	// Lost counts the sessions that ended and Failed the attempts without a
	// welcome, since the kill, by error number.
	Lost   map[string]int `json:"lost,omitempty"`
	Failed map[string]int `json:"failed,omitempty"`
}

// RelayState is what an attack could use up in a relay's process.
type RelayState struct {
	Goroutines int64 `json:"goroutines"`
	// Files are the open file descriptors.
	Files int64 `json:"files"`
	// Heap is the memory in use after a garbage collection, in bytes.
	Heap int64 `json:"heap"`
	// Dropped counts what the relay threw away since it started, by reason.
	Dropped map[string]int64 `json:"dropped"`
}

// AttackReport tells how the calls of everybody else fared during an attack, and
// what was left of it in the relay.
type AttackReport struct {
	Attack string `json:"attack"`
	About  string `json:"about"`
	// Done counts what the attacker did: streams, connections, datagrams.
	Done int64 `json:"done"`
	// Quiet and Attacked are the latencies of the calls right before and during
	// the attack, one of each per round.
	Quiet    []Latency `json:"quiet"`
	Attacked []Latency `json:"attacked"`
	// Ratio is the median over the rounds of the 99th percentile during the attack,
	// divided by the one before it.
	Ratio float64 `json:"p99_ratio"`
	Calls int64   `json:"calls"`
	// Failed calls, also those without an attack.
	Failed int64 `json:"failed"`
	// Before and After are the relay without and after the attack; Settled is how
	// long it took from the end of the attack until goroutines, files and heap were as
	// before, or as long as it was waited for.
	Before  RelayState    `json:"before"`
	After   RelayState    `json:"after"`
	Settled time.Duration `json:"settled_ns"`
}

// StormReport tells how the calls of bystanders fared while a whole fleet was
// restarted at once and connected to the same relay again. Bystanders are devices
// and a caller that nothing happens to.
type StormReport struct {
	// Devices were restarted, and Back is how many came back in the storm where it
	// was the fewest.
	Devices int `json:"devices"`
	Back    int `json:"back"`
	// Times until the last was back, of each storm.
	Times []time.Duration `json:"times_ns"`
	// Bystanders is how many devices are called, and Model how.
	Bystanders int   `json:"bystanders"`
	Model      Model `json:"model"`
	// Quiet and Stormy are the latencies of their calls right before and during a
	// storm, one of each per round. A storm is measured until the last is back.
	Quiet  []Latency `json:"quiet"`
	Stormy []Latency `json:"stormy"`
	// Ratio is the median over the rounds of the 99th percentile in the storm,
	// divided by the one before it.
	Ratio float64 `json:"p99_ratio"`
	// Calls in all, and those that failed.
	Calls  int64 `json:"calls"`
	Failed int64 `json:"failed"`
	// FirstError is the text of one that failed.
	FirstError string `json:"first_error,omitempty"`
}

// Add adds a round: the calls before a storm, those during it, and the comeback.
func (r *StormReport) Add(quiet, stormy Result, back Comeback) {
	r.Calls += quiet.Calls + stormy.Calls
	r.Failed += quiet.Failed + stormy.Failed
	r.FirstError = cmp.Or(r.FirstError, quiet.FirstError, stormy.FirstError)
	r.Quiet = append(r.Quiet, quiet.Latency[All])
	r.Stormy = append(r.Stormy, stormy.Latency[All])
	if len(r.Times) == 0 || back.Back < r.Back {
		r.Back = back.Back
	}
	r.Times = append(r.Times, back.Elapsed)
	r.Ratio = p99Ratio(r.Quiet, r.Stormy)
}

// Add adds the two results of a round.
func (r *AttackReport) Add(quiet, attacked Result) {
	r.Calls += quiet.Calls + attacked.Calls
	r.Failed += quiet.Failed + attacked.Failed
	r.Quiet = append(r.Quiet, quiet.Latency[All])
	r.Attacked = append(r.Attacked, attacked.Latency[All])
	r.Ratio = p99Ratio(r.Quiet, r.Attacked)
}

// p99Ratio is the median of the ratios of the rounds.
func p99Ratio(before, during []Latency) float64 {
	ratios := make([]float64, len(before))
	for i := range ratios {
		ratios[i] = float64(during[i].P99) / float64(max(1, before[i].P99))
	}
	return median(ratios)
}

// median sorts the list, which is not empty, and gives its middle.
func median[T float64 | time.Duration](list []T) T {
	slices.Sort(list)
	n := len(list)
	return (list[(n-1)/2] + list[n/2]) / 2
}

// Since gives what was counted after an earlier snapshot.
func Since(now, before map[string]int) map[string]int {
	diff := make(map[string]int)
	for k, n := range now {
		if n -= before[k]; n != 0 {
			diff[k] = n
		}
	}
	return diff
}
