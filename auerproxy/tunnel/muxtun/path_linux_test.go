package muxtun_test

import (
	"io"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
)

// A session on TCP measures its path; one inside another session has none of its own.
func TestPath(t *testing.T) {
	t.Parallel()
	for _, transport := range []tunnel.Transport{tunnel.TCP, tunnel.InnerMux} {
		client, server := tunneltest.Pair(t, tunneltest.Options{Transport: transport})
		a, b := tunneltest.Streams(t, client, server)
		for _, way := range [][2]tunnel.Stream{{a, b}, {b, a}} {
			if _, err := way[0].Write([]byte{1}); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(way[1], make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range []tunnel.Session{client, server} {
			p := tunnel.PathOf(s)
			if transport == tunnel.InnerMux {
				if p != nil {
					t.Errorf("%s: %v", transport, p)
				}
				continue
			}
			if p.GetRttUs() == 0 || p.GetSent() == 0 || p.GetRate() == 0 || p.GetMinRttUs() > p.GetRttUs() {
				t.Errorf("%s: %v", transport, p)
			}
		}
	}
}
