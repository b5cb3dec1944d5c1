package muxtun_test

import (
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
)

// go test -run '^$' -bench . -count 6 ./auerproxy/tunnel/muxtun

func BenchmarkTCP(b *testing.B) { tunneltest.Bench(b, tunneltest.Options{}) }

func BenchmarkInner(b *testing.B) {
	tunneltest.Bench(b, tunneltest.Options{Transport: tunnel.InnerMux})
}
