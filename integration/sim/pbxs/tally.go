package pbxs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/ccc/api"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing/wire"
)

// errPatience: something took longer than [Options].Patience.
var errPatience = errors.New("no end within the patience")

// tally counts what went wrong. The zero value is empty.
type tally struct {
	mu     sync.Mutex     // guards what follows
	counts map[string]int // by the name of the error
	first  []failure      // the first of each kind, in order
}

type failure struct {
	kind, text string
	n          int
}

// failed notes a failure of a phase.
func (t *tally) failed(phase string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := nameOf(err)
	if name != "" {
		if t.counts == nil {
			t.counts = make(map[string]int)
		}
		t.counts[name]++
	}
	kind := phase + " " + name
	for i := range t.first {
		if t.first[i].kind == kind && name != "" {
			t.first[i].n++
			return
		}
	}
	t.first = append(t.first, failure{kind, phase + ": " + err.Error(), 1})
}

// errors gives the counts by name.
func (t *tally) errors() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.counts)
}

// failures gives a line for each kind.
func (t *tally) failures() (list []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.first {
		if f.n > 1 {
			f.text += fmt.Sprintf(" (and %d more of the kind)", f.n-1)
		}
		list = append(list, f.text)
	}
	return list
}

// nameOf gives the number or the stable word by which an error is counted; empty where it
// has none.
func nameOf(err error) string {
	if p, ok := errors.AsType[*api.Problem](err); ok {
		return "api." + string(p.Code)
	}
	if c := wire.CodeOf(err); c != "" {
		return "pairing." + string(c)
	}
	if e, ok := errors.AsType[*tunnel.Error](err); ok {
		return e.Code.String()
	}
	if errors.Is(err, errPatience) || errors.Is(err, context.DeadlineExceeded) {
		return "timeout"
	}
	return ""
}
