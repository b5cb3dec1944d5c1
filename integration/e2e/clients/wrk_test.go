package clients

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
)

var wrkFigures = regexp.MustCompile(`(?s)\n\s+(\d+) requests in .*Requests/sec:\s+([\d.]+)`)

// TestWrk puts a device under load through "auerproxy connect --listen". It asserts
// that nothing goes wrong, and reports how fast it was.
func TestWrk(t *testing.T) {
	t.Parallel()
	wrk := tool(t, "wrk")
	for _, transport := range []string{agent.TransportTCP, agent.TransportQUIC} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			n := c.startNginx()
			c.device(serial, transport, agent.Service{Name: "web", Target: n.web})
			addr := c.announced(`forwarding (\S+) `, "connect", string(serial), "web", "--listen", "127.0.0.1:0", "--relay", c.relay(), "--credentials", c.creds)
			out := c.good(c.command(wrk, "--threads", "1", "--connections", "16", "--duration", "2s", "--latency", "http://"+addr+"/digits"))
			m := wrkFigures.FindStringSubmatch(out)
			if m == nil {
				t.Fatalf("wrk says:\n%s", out)
			}
			if requests, err := strconv.Atoi(m[1]); err != nil || requests == 0 {
				t.Errorf("no requests:\n%s", out)
			}
			if strings.Contains(out, "Socket errors") || strings.Contains(out, "Non-2xx") {
				t.Errorf("errors:\n%s", out)
			}
			t.Logf("%s requests/s:\n%s", m[2], out)
		})
	}
}
