package relay_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func TestCallReachesTheDevice(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{agent.TransportQUIC, agent.TransportTCP} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.device(serial, transport, nil)
			list := w.online(identity.Device(td, serial), 1)
			if list[0].Transport != tunnel.Transport(transport) {
				t.Errorf("transport is %s, want %s", list[0].Transport, transport)
			}
			d := w.dialer("ccc", func(c *dial.Config) { c.Transport = transport })
			c, err := d.DialContext(timeout(t, 10*time.Second), serial, "echo")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if _, err := io.WriteString(c, "hello"); err != nil {
				t.Fatal(err)
			}
			if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, c); got != "hello" {
				t.Errorf("echo is %q", got)
			}

			client := &http.Client{Transport: d.Transport(), Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			resp, err := client.Get("https://" + identity.Device(td, serial).DNSName() + "/")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(resp.Body)
			if err != nil || string(body) != "I am "+string(serial) {
				t.Errorf("got %q, %v", body, err)
			}
		})
	}
}

func TestCONNECT(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.device(serial, agent.TransportQUIC, nil)
	w.online(identity.Device(td, serial), 1)

	client := func(name string) *http.Client {
		creds := w.ca.Credentials(identity.Service(td, name))
		cert := creds.Certificate()
		tlsCfg := &tls.Config{RootCAs: w.ca.Roots(), Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
		tr := &http.Transport{
			Proxy:           http.ProxyURL(&url.URL{Scheme: "https", Host: w.addr}),
			TLSClientConfig: tlsCfg,
		}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr, Timeout: 10 * time.Second}
	}
	ccc := client("ccc")
	resp, err := ccc.Get("https://s0123456789.pbx.comtrexx.test/")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || string(body) != "I am 0123456789" {
		t.Fatalf("got %q, %v", body, err)
	}
	resp, err = ccc.Post("https://s0123456789.pbx.comtrexx.test/", "text/plain", io.LimitReader(zeros{}, 5<<20))
	if err != nil {
		t.Fatal(err)
	}
	body, err = io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || string(body) != "5242880 bytes" {
		t.Fatalf("got %q, %v", body, err)
	}

	for _, tt := range []struct{ caller, url, want string }{
		{"ccc", "https://s0123456780.pbx.comtrexx.test/", "Not Found"},
		{"ccc", "https://example.com/", "Not Found"},
		{"ara", "https://s0123456789.pbx.comtrexx.test/", "Not Found"},
		{"ccc", "https://s0123456789.pbx.comtrexx.test:444/", "Not Found"},
		{"nobody", "https://s0123456789.pbx.comtrexx.test/", "Forbidden"},
	} {
		resp, err := client(tt.caller).Get(tt.url)
		if err == nil {
			_ = resp.Body.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s to %s: %v, want %s", tt.caller, tt.url, err, tt.want)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
