package quictun_test

import (
	"io"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel/tunneltest"
)

func TestPath(t *testing.T) {
	t.Parallel()
	client, server := tunneltest.Pair(t, tunneltest.Options{Transport: tunnel.QUIC})
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
		if p := tunnel.PathOf(s); p.GetRttUs() == 0 || p.GetSent() == 0 || p.GetRate() == 0 || p.GetMinRttUs() > p.GetRttUs() {
			t.Errorf("%v", p)
		}
	}
}
