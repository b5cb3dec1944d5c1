//go:build !race

package quictun_test

import (
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
)

// All of them are those of quic-go and of the system calls' addresses.
func TestRequestAllocs(t *testing.T) { //nolint:paralleltest // allocations of all goroutines are counted
	const most = 12
	if n := tunneltest.RequestAllocs(t, tunneltest.Options{Transport: tunnel.QUIC}); n > most {
		t.Errorf("a request and its answer allocate %v times, want at most %d", n, most)
	}
}
