package clients

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
)

// startPrometheus starts the packaged Prometheus, which scrapes itself, and gives
// its address.
func (c *cloud) startPrometheus() (addr string) {
	c.t.Helper()
	bin := tool(c.t, "prometheus")
	dir := c.t.TempDir()
	// It cannot be given a socket or say which port it took, so a port that is free
	// now has to do.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	addr = ln.Addr().String()
	if err := ln.Close(); err != nil {
		c.t.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	text := "global: {scrape_interval: 1s}\nscrape_configs: [{job_name: itself, static_configs: [{targets: ['" + addr + "']}]}]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	p := c.daemon(c.command(bin, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr))
	client := &http.Client{Transport: new(http.Transport), Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	p.await(c.t, "Prometheus is ready", func() bool {
		resp, err := client.Get("http://" + addr + "/-/ready")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return addr
}

func TestPrometheus(t *testing.T) {
	t.Parallel()
	tool(t, "curl")
	c := newCloud(t)
	target := c.startPrometheus()
	c.device(serial, agent.TransportAuto, agent.Service{Name: "web", Target: target, Identity: agent.IdentityHeader})

	body := c.good(c.curl("--fail", "--compressed", "--data-urlencode", "query=6*7", deviceURL(serial, "/api/v1/query")))
	if !strings.Contains(body, `"status":"success"`) || !strings.Contains(body, `"42"`) {
		t.Errorf("the API answers %s", body)
	}
	if got := c.good(c.curl("--fail", deviceURL(serial, "/metrics"))); !strings.Contains(got, "prometheus_build_info") {
		t.Errorf("the metrics are %.200s", got)
	}
}

// TestBrowserPrometheus opens a page that JavaScript makes from what an API answers.
func TestBrowserPrometheus(t *testing.T) {
	t.Parallel()
	tool(t, "curl")
	c := newCloud(t)
	b := c.newBrowser()
	c.device(serial, agent.TransportAuto, agent.Service{Name: "web", Target: c.startPrometheus(), Identity: agent.IdentityHeader, CallerAuth: agent.CallerAuthRelay})
	// Where the query page is depends on the version.
	page := c.good(c.curl("--output", os.DevNull, "--write-out", "%{redirect_url}", deviceURL(serial, "/")))
	if !strings.HasPrefix(page, deviceURL(serial, "/")) {
		t.Fatalf("/ redirects to %q", page)
	}
	screenshot, _ := b.visit("http://"+c.localProxy(), page+"?g0.expr=123*1000&g0.tab=1", "Prometheus Time Series", "123000")
	keep(t, screenshot, "prometheus")
}
