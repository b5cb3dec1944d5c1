package clients

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
)

// browser is a Chromium that trusts the cloud's root, by the NSS database of a home
// directory of its own.
type browser struct {
	c         *cloud
	bin, home string
}

func (c *cloud) newBrowser() *browser {
	c.t.Helper()
	b := &browser{c: c, bin: tool(c.t, "chromium"), home: c.t.TempDir()}
	certutil := tool(c.t, "certutil")
	if err := os.MkdirAll(b.nss(), 0o700); err != nil {
		c.t.Fatal(err)
	}
	c.good(c.command(certutil, "-N", "-d", "sql:"+b.nss(), "--empty-password"))
	c.good(c.command(certutil, "-A", "-d", "sql:"+b.nss(), "-n", "root", "-t", "C,,", "-i", c.roots()))
	return b
}

func (b *browser) nss() string { return filepath.Join(b.home, ".pki", "nssdb") }

// giveCertificate gives the browser the caller's certificate. From then on it has
// to know for which sites: it asks the user otherwise, who is not there.
func (b *browser) giveCertificate(patterns ...string) {
	c := b.c
	c.t.Helper()
	p12 := filepath.Join(b.home, "caller.p12")
	c.good(c.command(tool(c.t, "openssl"), "pkcs12", "-export", "-in", c.cert(), "-inkey", c.key(), "-out", p12, "-passout", "pass:"))
	c.good(c.command(tool(c.t, "pk12util"), "-i", p12, "-d", "sql:"+b.nss(), "-W", ""))
	b.autoSelect(patterns)
}

// policies is where Debian's Chromium looks for what an administrator has decided.
const policies = "/etc/chromium/policies/managed"

// autoSelect has browsers show their certificate to sites without asking, by a
// policy that is there for the test only.
func (b *browser) autoSelect(patterns []string) {
	t := b.c.t
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can set the policy by which a headless browser picks a client certificate")
	}
	var list []string
	for _, p := range patterns {
		list = append(list, fmt.Sprintf(`{"pattern": %q, "filter": {}}`, p))
	}
	text, err := json.Marshal(map[string]any{"AutoSelectCertificateForUrls": list})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(policies, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp(policies, "comtrexx-test-*.json")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(f.Name()) })
	if _, err = f.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// visit opens a page through a proxy, and gives its document, a screenshot, and
// the log of what the browser did on the network.
func (b *browser) visit(proxy, page string) (dom, screenshot, netlog string) {
	t := b.c.t
	t.Helper()
	dir := t.TempDir()
	screenshot, log := filepath.Join(dir, "page.png"), filepath.Join(dir, "netlog.json")
	cmd := b.c.command(b.bin, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--proxy-server="+proxy, "--log-net-log="+log,
		"--virtual-time-budget=10000", "--dump-dom", "--screenshot="+screenshot, page)
	cmd.Env = append(os.Environ(), "HOME="+b.home, "XDG_CONFIG_HOME=", "XDG_CACHE_HOME=")
	dom = b.c.good(cmd)
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return dom, screenshot, string(text)
}

// keep copies a screenshot to the directory of AUER_TEST_SCREENSHOTS, if set, for a
// person to look at.
func keep(t *testing.T, screenshot, name string) {
	t.Helper()
	png, err := os.ReadFile(screenshot)
	if err != nil || len(png) < 1000 {
		t.Fatalf("screenshot of %d bytes, %v", len(png), err)
	}
	if dir := os.Getenv("AUER_TEST_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBrowser has the relay as the browser's HTTPS proxy: client certificate and
// HTTP/2 to the relay, client certificate and TLS to the device inside.
func TestBrowser(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	b := c.newBrowser()
	n := c.startNginx()
	c.device(serial, agent.TransportAuto, agent.Service{Name: "web", Target: n.web, Identity: agent.IdentityHeader})
	proxy := "https://" + c.relay()
	b.giveCertificate(proxy, "https://[*.]pbx.comtrexx.test")
	dom, screenshot, netlog := b.visit(proxy, deviceURL(serial, "/"))
	keep(t, screenshot, "relay")
	for _, want := range []string{"nginx behind s0123456789.pbx.comtrexx.test", "spiffe://comtrexx.test/service/helpdesk"} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page lacks %q:\n%s", want, dom)
		}
	}
	if !strings.Contains(netlog, `":method: CONNECT",":authority: s0123456789.pbx.comtrexx.test:443"`) {
		t.Error("the browser did not speak HTTP/2 with the relay")
	}
}

// localProxy runs "auerproxy proxy" and gives its address.
func (c *cloud) localProxy() string {
	c.t.Helper()
	return c.announced(`HTTP proxy on (\S+)`, "proxy", "--listen", "127.0.0.1:0", "--relay", c.relay(), "--credentials", c.creds)
}

// announced starts the auerproxy program, and gives the address in the line that it
// begins with.
func (c *cloud) announced(line string, args ...string) (addr string) {
	c.t.Helper()
	pattern := regexp.MustCompile(line)
	p := c.daemon(c.command(auerproxy(c.t), args...))
	p.await(c.t, line, func() bool {
		m := pattern.FindStringSubmatch(p.log.String())
		if m != nil {
			addr = m[1]
		}
		return m != nil
	})
	return addr
}

// TestBrowserLocalProxy has the way for browsers without a certificate: the
// program on the same machine is the proxy.
func TestBrowserLocalProxy(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	b := c.newBrowser()
	n := c.startNginx()
	c.device(serial, agent.TransportAuto, agent.Service{Name: "web", Target: n.web, Identity: agent.IdentityHeader, CallerAuth: agent.CallerAuthRelay})
	proxy := "http://" + c.localProxy()
	for name, page := range map[string]string{
		"local-https": deviceURL(serial, "/"), // CONNECT, TLS with the device
		"local-http":  "http://s0123456789.pbx.comtrexx.test/",
	} {
		dom, screenshot, _ := b.visit(proxy, page)
		keep(t, screenshot, name)
		for _, want := range []string{"nginx behind s0123456789.pbx.comtrexx.test", "spiffe://comtrexx.test/service/helpdesk"} {
			if !strings.Contains(dom, want) {
				t.Errorf("%s lacks %q:\n%s", page, want, dom)
			}
		}
	}
}
