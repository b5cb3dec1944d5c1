package muxtun_test

import (
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
)

func TestConformance(t *testing.T) {
	for _, tr := range []tunnel.Transport{tunnel.TCP, tunnel.InnerMux} {
		t.Run(string(tr), func(t *testing.T) {
			if tr == tunnel.InnerMux && testing.Short() {
				t.Skip("the same code on another connection; it takes long")
			}
			pair := func(t *testing.T) (client, server tunnel.Session, stop func()) {
				t.Helper()
				return tunneltest.NewPair(t, tunneltest.Options{Transport: tr})
			}
			tunneltest.Run(t, pair)
			tunneltest.RunAwait(t, pair)
		})
	}
}
