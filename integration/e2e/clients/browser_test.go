package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

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

// has tells whether the document holds all of the texts.
const has = `(...texts) => texts.every(text => document.documentElement.outerHTML.includes(text))`

// painted is done when the page is on the screen: the first frame after it was
// asked for may still be the one before the page.
const painted = `new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`

// visit opens a page through a proxy, waits until its document holds all that is
// wanted, and gives a screenshot and the log of what the browser did on the network.
//
// It speaks the DevTools protocol, since the switches --dump-dom and --screenshot
// hide what goes wrong: where the page cannot be captured or its process dies,
// Chromium writes nothing and exits with 0.
func (b *browser) visit(proxy, page string, want ...any) (screenshot []byte, netlog string) {
	t := b.c.t
	t.Helper()
	log := filepath.Join(t.TempDir(), "netlog.json")
	var said output
	ctx, cancel := chromedp.NewExecAllocator(b.c.ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(b.bin), chromedp.NoSandbox, chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.ProxyServer(proxy), chromedp.Flag("log-net-log", log),
		chromedp.Env("HOME="+b.home, "XDG_CONFIG_HOME=", "XDG_CACHE_HOME="), chromedp.CombinedOutput(&said))...)
	defer cancel()
	ctx, cancelTab := chromedp.NewContext(ctx)
	defer cancelTab()
	try := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("the browser at %s: %s: %v\n%s", page, what, err, said.String())
		}
	}
	try("open", chromedp.Do(ctx, chromedp.Navigate(page)))
	_, err := chromedp.Run(ctx, chromedp.PollFunction[bool](has, chromedp.WithPollingArgs(want...), chromedp.WithPollingTimeout(patience/2)))
	if errors.Is(err, chromedp.ErrPollingTimeout) {
		dom, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.documentElement.outerHTML"))
		t.Fatalf("%s lacks one of %q:\n%.4000s %v", page, want, dom, err)
	}
	try("await the page", err)
	_, err = chromedp.Run(ctx, chromedp.Evaluate[bool](painted, chromedp.EvalAwaitPromise))
	try("paint", err)
	screenshot, err = chromedp.Run(ctx, chromedp.CaptureScreenshot())
	try("screenshot", err)
	// The log is whole when the browser has ended.
	try("close", chromedp.Cancel(ctx))
	text, err := os.ReadFile(log)
	try("network log", err)
	return screenshot, string(text)
}

// keep checks that a screenshot is one, and writes it to the directory of
// AUER_TEST_SCREENSHOTS, if set, for a person to look at.
func keep(t *testing.T, screenshot []byte, name string) {
	t.Helper()
	if img, err := png.DecodeConfig(bytes.NewReader(screenshot)); err != nil || img.Width < 100 || img.Height < 100 {
		t.Fatalf("screenshot of %d bytes, %d×%d: %v", len(screenshot), img.Width, img.Height, err)
	}
	if dir := os.Getenv("AUER_TEST_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), screenshot, 0o600); err != nil {
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
	screenshot, netlog := b.visit(proxy, deviceURL(serial, "/"), "nginx behind s0123456789.pbx.comtrexx.test", "spiffe://comtrexx.test/service/helpdesk")
	keep(t, screenshot, "relay")
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
		screenshot, _ := b.visit(proxy, page, "nginx behind s0123456789.pbx.comtrexx.test", "spiffe://comtrexx.test/service/helpdesk")
		keep(t, screenshot, name)
	}
}
