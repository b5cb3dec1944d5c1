package muxtun_test

import (
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/muxtun"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
)

// smallWindow is the least that a session takes. The suite fills hundreds of streams
// that nobody reads: the bytes are what it costs, and their number proves nothing.
const smallWindow = 256 << 10

func TestConformance(t *testing.T) {
	for _, tr := range []tunnel.Transport{tunnel.TCP, tunnel.InnerMux} {
		t.Run(string(tr), func(t *testing.T) {
			if tr == tunnel.InnerMux && testing.Short() {
				t.Skip("the same code on another connection; it takes long")
			}
			pair := func(t *testing.T) (client, server tunnel.Session, stop func()) {
				t.Helper()
				return tunneltest.NewPair(t, tunneltest.Options{Transport: tr, Mux: muxtun.Config{StreamWindow: smallWindow}})
			}
			tunneltest.Run(t, pair)
			tunneltest.RunAwait(t, pair)
		})
	}
}
