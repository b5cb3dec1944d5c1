package clients

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
)

// curl is a call of curl to devices: through the relay with the caller's
// certificate, and with it to the device, too.
func (c *cloud) curl(args ...string) *exec.Cmd {
	c.t.Helper()
	return c.command(tool(c.t, "curl"), append([]string{
		"--silent", "--show-error", "--proxy", "https://" + c.relay(),
		"--proxy-cacert", c.roots(), "--proxy-cert", c.cert(), "--proxy-key", c.key(),
		"--cacert", c.roots(), "--cert", c.cert(), "--key", c.key(),
	}, args...)...)
}

// transfer downloads a file from a device, uploads it again, and compares. cmd
// makes a curl from its last arguments.
func (c *cloud) transfer(n *nginx, path, sum string, size int64, cmd func(args ...string) *exec.Cmd) {
	c.t.Helper()
	start := time.Now()
	h := sha256.New()
	down := cmd("--fail", deviceURL(serial, path))
	down.Stdout = h
	c.good(down)
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		c.t.Errorf("downloaded %s, want %s", got, sum)
	}
	c.t.Logf("download: %s", rate(size, time.Since(start)))

	b, uploaded := theBlob(c.t), filepath.Join(n.uploads, "copy")
	local := b.path
	if path == "/small" {
		local = b.smallPath
	}
	start = time.Now()
	status := c.good(cmd("--upload-file", local, "--write-out", "%{http_code}", deviceURL(serial, "/uploads/copy")))
	took := time.Since(start)
	if status != "201" {
		c.t.Errorf("the upload is answered with %s", status)
	}
	if got := fileSum(c.t, uploaded); got != sum {
		c.t.Errorf("uploaded %s, want %s", got, sum)
	}
	c.t.Logf("upload: %s", rate(size, took))
	if err := os.Remove(uploaded); err != nil {
		c.t.Error(err)
	}
}

func TestCurlTransfers(t *testing.T) {
	t.Parallel()
	tool(t, "curl")
	b := theBlob(t)
	t.Run("HTTP/1.1, TCP", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		n := c.startNginx()
		c.device(serial, agent.TransportTCP, agent.Service{Name: "web", Target: n.web})
		c.transfer(n, "/blob", b.sum, blobSize(), c.curl)
	})
	t.Run("HTTP/1.1, QUIC", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		n := c.startNginx()
		c.device(serial, agent.TransportQUIC, agent.Service{Name: "web", Target: n.web})
		c.transfer(n, "/small", b.smallSum, smallSize, c.curl)
	})
	t.Run("HTTP/2, TCP", func(t *testing.T) {
		t.Parallel()
		c := newCloud(t)
		if out := c.good(c.command(tool(t, "curl"), "--help", "all")); !strings.Contains(out, "--proxy-http2") {
			t.Skip("this curl has no --proxy-http2 (it came with 8.1.0); TestHTTP2Connect and the browser speak HTTP/2 with the relay")
		}
		n := c.startNginx()
		c.device(serial, agent.TransportTCP, agent.Service{Name: "web", Target: n.web})
		c.transfer(n, "/blob", b.sum, blobSize(), func(args ...string) *exec.Cmd { return c.curl(append([]string{"--proxy-http2"}, args...)...) })
	})
}

func TestCurlRequests(t *testing.T) {
	t.Parallel()
	tool(t, "curl")
	c := newCloud(t)
	n := c.startNginx()
	c.device(serial, agent.TransportAuto, agent.Service{Name: "web", Target: n.web})
	c.device(other, agent.TransportAuto, agent.Service{Name: "web", Target: n.proxied, Identity: agent.IdentityProxyV2})

	if got := c.good(c.curl("--range", "3-5", "--write-out", " %{http_code}", deviceURL(serial, "/digits"))); got != "345 206" {
		t.Errorf("range: %q", got)
	}
	if got := c.good(c.curl("--output", os.DevNull, "--write-out", "%{http_connect} %{http_code}", deviceURL(serial, "/missing"))); got != "200 404" {
		t.Errorf("missing page: %q", got)
	}
	// Two pages over one connection, and one through a PROXY header.
	if got := c.good(c.curl("--write-out", " %{num_connects}\n", deviceURL(serial, "/digits"), deviceURL(serial, "/digits"))); got != "0123456789 1\n0123456789 0\n" {
		t.Errorf("two pages: %q", got)
	}
	if got := c.good(c.curl(deviceURL(other, "/"))); got != "from 127.0.0.1" {
		t.Errorf("PROXY protocol: %q", got)
	}
}

// The number of an error is a header, which curl shows although it drops the body
// of a failed CONNECT.
func TestCurlErrors(t *testing.T) {
	t.Parallel()
	tool(t, "curl")
	c := newCloud(t)
	n := c.startNginx()
	c.device(serial, agent.TransportAuto, agent.Service{Name: "web", Target: n.web})

	for name, tt := range map[string]struct{ url, status, code string }{
		"offline":         {deviceURL(offline, "/"), "404", "AUER-1301"},
		"foreign domain":  {"https://s0123456789.pbx.example.com/", "404", "AUER-1301"},
		"no device name":  {"https://127.0.0.1/", "404", "AUER-1301"},
		"unknown port":    {"https://s0123456789.pbx.comtrexx.test:444/", "404", "AUER-1304"},
		"unknown service": {"https://s0123456789.pbx.comtrexx.test:22/", "404", "AUER-1304"},
	} {
		r := c.run(c.curl("--dump-header", "-", "--write-out", "%{http_connect}", tt.url))
		if r.code != 56 || !strings.HasSuffix(r.stdout, tt.status) || !strings.Contains(r.stdout, "X-Auer-Error: "+tt.code+"\r\n") {
			t.Errorf("%s: exit code %d, %q, %q; want %s and %s", name, r.code, r.stdout, r.stderr, tt.status, tt.code)
		}
	}
	// The same CONNECT without a certificate, and then to the device without one.
	r := c.run(c.command(tool(t, "curl"), "--silent", "--show-error", "--proxy", "https://"+c.relay(), "--proxy-cacert", c.roots(), deviceURL(serial, "/")))
	if r.code == 0 || !strings.Contains(r.stderr, "certificate required") {
		t.Errorf("no certificate for the relay: exit code %d, %q", r.code, r.stderr)
	}
	r = c.run(c.command(tool(t, "curl"), "--silent", "--show-error", "--proxy", "https://"+c.relay(), "--proxy-cacert", c.roots(),
		"--proxy-cert", c.cert(), "--proxy-key", c.key(), "--cacert", c.roots(), deviceURL(serial, "/")))
	if r.code == 0 || r.stdout != "" {
		t.Errorf("no certificate for the device: exit code %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	t.Logf("no certificate for the device: curl says %q", r.stderr)
}
