package main

import (
	"testing"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/figure"
)

// TestGrownHaveNames: each metric of growth has a file of its own.
func TestGrownHaveNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, m := range grown() {
		if name := figure.FileName(m); name == "" || seen[name] {
			t.Errorf("%s is drawn to %q, as something else is or without a name", m, name)
		} else {
			seen[name] = true
		}
	}
}
