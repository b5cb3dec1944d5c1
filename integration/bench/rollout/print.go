package rollout

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/configs/cli"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
)

// Write prints the report for people.
func (r Report) Write(w io.Writer) error {
	p := load.NewPrinter(w)
	p.Line("%s: %d PBXs, %d at once; %d refuse in the second ring, and %d in the last one", r.Engine, r.PBXs, r.Parallel, r.Faulty, r.Faulty)
	p.Line("  all paired in %s; dry run of all %s", load.Short(r.Pairing), load.Short(r.DryRun))
	t := &cli.Table{Header: []string{"  RING", "PBXS", "TIME", "HALTED AFTER"}}
	for i, one := range r.Rings {
		halted := "-"
		if one.Halted > 0 {
			halted = load.Short(one.Halted)
		}
		t.Add(fmt.Sprintf("  %d", i+1), one.Systems, load.Short(one.Elapsed), halted)
	}
	p.Table(t)
	done := r.Results["done"]
	p.Line("  %d changed in %s, %.1f/s; %d halts; all set back in %s", done, load.Short(r.Elapsed), float64(done)/r.Elapsed.Seconds(), r.Halts, load.Short(r.Revert))
	results := make([]string, 0, len(r.Results))
	for _, what := range slices.Sorted(maps.Keys(r.Results)) {
		results = append(results, fmt.Sprintf("%s %d", what, r.Results[what]))
	}
	p.Line("  results: %s", strings.Join(results, ", "))
	p.Line("  CPU of ccc %s, of the relay %s; memory of ccc %s", load.Short(r.CentreCPU), load.Short(r.RelayCPU), load.Size(r.CentreMemory))
	return p.Err()
}
