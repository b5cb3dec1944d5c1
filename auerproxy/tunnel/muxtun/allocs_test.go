//go:build !race

package muxtun_test

import (
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
)

// Three for each of two frames, all of them yamux' own.
func TestRequestAllocs(t *testing.T) { //nolint:paralleltest // allocations of all goroutines are counted
	const most = 6
	if n := tunneltest.RequestAllocs(t, tunneltest.Options{}); n > most {
		t.Errorf("a request and its answer allocate %v times, want at most %d", n, most)
	}
}
