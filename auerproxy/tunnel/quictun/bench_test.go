package quictun_test

import (
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/quictun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
)

// go test -run '^$' -bench . -count 6 ./auerproxy/tunnel/quictun

func BenchmarkQUIC(b *testing.B) { tunneltest.Bench(b, tunneltest.Options{Transport: tunnel.QUIC}) }

// BenchmarkNoGRO is what the joining of datagrams is worth, compared with
// BenchmarkQUIC in the same run.
func BenchmarkNoGRO(b *testing.B) {
	tunneltest.Bench(b, tunneltest.Options{Transport: tunnel.QUIC, QUIC: quictun.Config{DisableGRO: true}})
}
