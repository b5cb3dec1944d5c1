package relay_test

import (
	"crypto/tls"
	"io"
	"maps"
	"net"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/relay"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// Each session of both transports is noted once, those too that are refused at the
// welcome or in the handshake, and so are connections to an entry and strangers.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log, err := accesslog.New(accesslog.Config{Dir: dir, Service: "auerproxy"})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Open(); err != nil {
		t.Fatal(err)
	}
	stopLog := run(t, log.Run)
	w := entryWorld(t, func(c *relay.Config) {
		c.AccessLog = log
		c.Limits.Tunnels = 2
	})
	want := map[accesslog.Class]int{}
	good := func(s identity.Serial) tls.Certificate { return w.ca.Credentials(identity.Device(td, s)).Certificate() }
	relays := w.ca.Issue(identity.Relay(td, "r2"), pkitest.Options{})
	for i, tr := range []tunnel.Transport{tunnel.QUIC, tunnel.TCP} {
		if _, _, err := w.join(tr, w.clientTLS(good([]identity.Serial{serial, "0200000001"}[i])), newHello()); err != nil {
			t.Fatal(err)
		}
		want[accesslog.OK]++
	}
	for _, tr := range []tunnel.Transport{tunnel.QUIC, tunnel.TCP} {
		if _, _, err := w.join(tr, w.clientTLS(good("0300000001")), newHello()); tunnel.CodeOf(err) != tunnel.CodeTryLater {
			t.Errorf("one too many over %s: %v", tr, err)
		}
		want[accesslog.Limited]++
		if _, _, err := w.join(tr, w.clientTLS(relays), newHello()); err == nil {
			t.Errorf("a relay's certificate is taken over %s", tr)
		}
		want[accesslog.Refused]++
	}
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "\x16 no hello, no hello, no hello, no hello")
	_, _ = io.Copy(io.Discard, conn)
	_ = conn.Close()
	want[accesslog.Refused]++
	w.wantRefused(t, 0) // echo is not raw on the device
	entry := accesslog.Failed

	read := func() map[accesslog.Class]int {
		got := map[accesslog.Class]int{}
		for r, err := range (accesslog.Reader{Dir: dir}).Raw(time.Time{}, time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			got[r.Class]++
		}
		return got
	}
	want[entry]++
	// The end of a QUIC handshake that failed is noticed later.
	eventually(t, patience, "everything is noted", func() bool { return sum(read()) >= sum(want) })
	w.stop()
	stopLog()
	if got := read(); !maps.Equal(got, want) {
		t.Errorf("noted %v, want %v", got, want)
	}
}

func sum(counts map[accesslog.Class]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}
