package pbxs

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx/fleet"
)

// Report is what came of a simulation. Parts that did not take place are nil. Times are
// in nanoseconds in JSON, memory in bytes.
type Report struct {
	Version string       `json:"version"`
	Started time.Time    `json:"started"`
	Machine load.Machine `json:"machine"`
	// Settings are the command line's, as name and value.
	Settings []load.Setting `json:"settings"`

	// PBXs are good and hostile ones; Restored of the good ones were paired from before.
	PBXs     int `json:"pbxs"`
	Good     int `json:"good"`
	Hostile  int `json:"hostile"`
	Restored int `json:"restored"`

	Connect *Connect  `json:"connect,omitempty"`
	Pair    *Pairings `json:"pair,omitempty"`
	Attacks []Attack  `json:"attacks,omitempty"`
	Churn   *Churn    `json:"churn,omitempty"`
	End     End       `json:"end"`

	// Errors counts what went wrong by its number (AUER-…), or the stable code of the API
	// ("api.…") or of the talk between PBX and control centre ("pairing.…").
	Errors map[string]int `json:"errors,omitempty"`
	// Failures say what was not as it should be; empty if all is well.
	Failures []string `json:"failures,omitempty"`
}

// wantPaired is how many good PBXs should be paired in the end.
func (r *Report) wantPaired() int {
	if r.Pair == nil {
		return r.Restored
	}
	return r.Restored + r.Pair.Asked
}

// Connect tells about the start of the good PBXs.
type Connect struct {
	Online    int           `json:"online"`
	Elapsed   time.Duration `json:"elapsed_ns"`
	PerSecond float64       `json:"per_second"`
	// RSS of this process after it, what each PBX added, and the CPU time that it took.
	RSS    uint64        `json:"rss"`
	PerPBX uint64        `json:"per_pbx"`
	CPU    time.Duration `json:"cpu_ns"`
}

// Pairings are those that were made at first.
type Pairings struct {
	Asked  int `json:"asked"`
	Offers int `json:"offers"` // that a PBX has got
	Paired int `json:"paired"`
	// Elapsed is from the first to the last.
	Elapsed time.Duration `json:"elapsed_ns"`
	// From the begin of each: the token is there, the PBX has the offer, and the page
	// shows that it is paired.
	Saved   load.Latency `json:"saved"`
	Offered load.Latency `json:"offered"`
	Latency load.Latency `json:"paired_latency"`
}

// Attack is what came of one kind of hostile PBXs.
type Attack struct {
	Kind Kind `json:"kind"`
	PBXs int  `json:"pbxs"`
	// Tries were refused or got through. Unjudged PBXs had no answer.
	Tries    int `json:"tries"`
	Refused  int `json:"refused"`
	Through  int `json:"got_through"`
	Unjudged int `json:"unjudged"`
	// Answers counts how it was refused.
	Answers map[string]int `json:"answers"`
}

func (a *Attack) add(o outcome, err error) {
	a.PBXs++
	a.Tries += o.refused + o.through
	a.Refused += o.refused
	a.Through += o.through
	if err != nil {
		a.Unjudged++
	}
	for _, answer := range o.answers {
		a.Answers[answer]++
	}
}

// Churn is what happened to single PBXs.
type Churn struct {
	Events  int           `json:"events"`
	Elapsed time.Duration `json:"elapsed_ns"`
	// Anew is from the end of a pairing to the next one, Back from the power to the
	// tunnel.
	Anew load.Latency `json:"anew"`
	Back load.Latency `json:"back"`
}

// Cost of a process: resident memory, and CPU time in all.
type Cost struct {
	RSS uint64        `json:"rss"`
	CPU time.Duration `json:"cpu_ns"`
}

// End is how it was when all was over.
type End struct {
	// Online are PBXs with a tunnel, also hostile ones; Paired are good ones, and Pending
	// offers that nobody has typed the token of.
	Online  int `json:"online"`
	Paired  int `json:"paired"`
	Pending int `json:"pending_offers"`
	// Calls is how many records the call data of all PBXs have.
	Calls int `json:"calls"`
	// Tunnels are those of the good PBXs.
	Tunnels fleet.Counts `json:"tunnels"`
	// Own is what this process costs, Relay and Centre where they are ours.
	Own    Cost  `json:"own"`
	Relay  *Cost `json:"relay,omitempty"`
	Centre *Cost `json:"centre,omitempty"`
}

// Write prints the report for people.
func (r *Report) Write(w io.Writer) error {
	p := load.NewPrinter(w)
	m := r.Machine
	p.Line("simulation of PBXs, %s, %s/%s, %d CPUs, %s", r.Version, m.OS, m.Arch, m.CPUs, m.Go)
	var settings []string
	for _, s := range r.Settings {
		settings = append(settings, s.Name+"="+s.Value)
	}
	p.Line("%s", strings.Join(settings, " "))
	p.Line("%d PBXs: %d good, of which %d were paired before, and %d hostile", r.PBXs, r.Good, r.Restored, r.Hostile)
	if c := r.Connect; c != nil {
		p.Line("\nCONNECT  %d of %d online in %s, %.0f/s; %s for each PBX, CPU %s",
			c.Online, r.Good, load.Short(c.Elapsed), c.PerSecond, load.Size(c.PerPBX), load.Short(c.CPU))
	}
	if c := r.Pair; c != nil {
		p.Line("\nPAIR     %d of %d paired in %s, %d offers", c.Paired, c.Asked, load.Short(c.Elapsed), c.Offers)
		p.Latencies([]load.Row{{Name: "token is there", Latency: c.Saved}, {Name: "offer at the PBX", Latency: c.Offered}, {Name: "paired", Latency: c.Latency}})
	}
	if len(r.Attacks) > 0 {
		p.Line("\nATTACKS  on the cloud")
		t := &cli.Table{Header: []string{"  KIND", "PBXS", "TRIES", "REFUSED", "GOT THROUGH", "NO ANSWER", "REFUSED BY"}}
		for _, a := range r.Attacks {
			by := make([]string, 0, len(a.Answers))
			for _, k := range slices.Sorted(maps.Keys(a.Answers)) {
				by = append(by, fmt.Sprintf("%s %d", k, a.Answers[k]))
			}
			t.Add("  "+string(a.Kind), a.PBXs, a.Tries, a.Refused, a.Through, a.Unjudged, strings.Join(by, ", "))
		}
		p.Table(t)
	}
	if c := r.Churn; c != nil {
		p.Line("\nCHURN    %d events in %s", c.Events, load.Short(c.Elapsed))
		p.Latencies([]load.Row{{Name: "paired anew", Latency: c.Anew}, {Name: "back online", Latency: c.Back}})
	}
	e := &r.End
	p.Line("\nEND      %d online, %d paired, %d offers pending, %d calls in the call data", e.Online, e.Paired, e.Pending, e.Calls)
	t := &cli.Table{Header: []string{"  PROCESS", "RSS", "CPU"}}
	for _, c := range []struct {
		name string
		*Cost
	}{{"PBXs", &e.Own}, {"relay", e.Relay}, {"control centre", e.Centre}} {
		if c.Cost != nil && c.RSS > 0 {
			t.Add("  "+c.name, load.Size(c.RSS), load.Short(c.CPU))
		}
	}
	p.Table(t)
	p.Errors("failed attempts to connect", e.Tunnels.Failed)
	p.Errors("sessions lost", e.Tunnels.Lost)
	p.Errors("errors", r.Errors)
	for _, f := range r.Failures {
		p.Line("FAILED   %s", f)
	}
	return p.Err()
}
