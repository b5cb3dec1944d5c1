package fleet

import (
	"context"
	"errors"
	"sync"

	machine "github.com/comtrexx-cloud/comtrexx/integration/dev/facts"
	"github.com/comtrexx-cloud/comtrexx/integration/pbx"
)

// facts are measured once for all PBXs.
type facts struct {
	mu     sync.Mutex                    // guards source
	source func() (machine.Facts, error) // nil while the fleet does not run
}

var errNoFacts = errors.New("the fleet does not run")

// get gives the last measurement.
func (f *facts) get() (machine.Facts, error) {
	f.mu.Lock()
	source := f.source
	f.mu.Unlock()
	if source == nil {
		return machine.Facts{}, errNoFacts
	}
	return source()
}

// run measures until ctx ends.
func (f *facts) run(ctx context.Context) error {
	source, run := pbx.Measure("", nil)
	f.mu.Lock()
	f.source = source
	f.mu.Unlock()
	return run(ctx)
}
