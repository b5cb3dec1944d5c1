package connect_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/connect"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/dial/dialtest"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const serial = identity.Serial("0123456789")

// rig is a device with the services echo and web, and a caller.
func rig(t *testing.T) (*dialtest.Net, *dial.Dialer) {
	t.Helper()
	n := dialtest.New(t, 1)
	services := map[string]dialtest.Handler{
		"echo": func(c net.Conn) {
			dialtest.Echo(c)
			_ = c.(interface{ CloseWrite() error }).CloseWrite()
		},
		// greet talks first and ends, as an SSH server does that lets nobody in.
		"greet": func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-test\r\n") },
		"web":   web,
	}
	n.Device(serial, services, func(c *agent.Config) {
		for i := range c.Services {
			c.Services[i].CallerAuth = agent.CallerAuthRelay
		}
	})
	return n, n.Dialer("ccc", nil)
}

// web is a small HTTP server: it says the host that it was asked for.
func web(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if req.Header.Get("Upgrade") != "" {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			_, _ = io.Copy(c, r)
			return
		}
		n, _ := io.Copy(io.Discard, req.Body)
		body := fmt.Sprintf("%s%s got %d bytes", req.Host, req.URL.Path, n)
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
}

func echoCall(d *dial.Dialer) dial.Call { return dial.Call{Target: d.Device(serial), Service: "echo"} }

// run runs f until the test ends.
func run(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func TestStdio(t *testing.T) {
	t.Parallel()
	_, d := rig(t)
	text := strings.Repeat("over standard input ", 100_000)
	var out bytes.Buffer
	if err := connect.Stdio(t.Context(), d, echoCall(d), strings.NewReader(text), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != text {
		t.Errorf("%d bytes came back, want %d", out.Len(), len(text))
	}
}

// The device ends the call while standard input is still open, as at the end of
// an SSH session.
func TestStdioEndsWithTheDevice(t *testing.T) {
	t.Parallel()
	_, d := rig(t)
	in, w := io.Pipe() // never written to
	defer func() { _ = w.Close() }()
	var out bytes.Buffer
	call := echoCall(d)
	call.Service = "greet"
	if err := connect.Stdio(t.Context(), d, call, in, &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != "SSH-2.0-test\r\n" {
		t.Errorf("got %q", out.String())
	}
}

// The device ends the call while this side still sends: what it said is not lost,
// and that it takes no more is no error.
func TestStdioDeviceStopsReading(t *testing.T) {
	t.Parallel()
	_, d := rig(t)
	for range 20 {
		in, w := io.Pipe()
		go func() {
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}()
		var out bytes.Buffer
		call := echoCall(d)
		call.Service = "greet"
		if err := connect.Stdio(t.Context(), d, call, in, &out); err != nil || out.String() != "SSH-2.0-test\r\n" {
			t.Errorf("got %q, %v", out.String(), err)
		}
		_ = in.Close()
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestStdioErrors(t *testing.T) {
	t.Parallel()
	_, d := rig(t)
	in, w := io.Pipe()
	defer func() { _ = w.Close() }()
	broken := errors.New("broken")

	if err := connect.Stdio(t.Context(), d, echoCall(d), failing{broken}, io.Discard); !errors.Is(err, broken) {
		t.Errorf("failing input: %v", err)
	}
	call := echoCall(d)
	call.Service = "greet"
	if err := connect.Stdio(t.Context(), d, call, in, failing{broken}); !errors.Is(err, broken) {
		t.Errorf("failing output: %v", err)
	}
	call.Service = "nothing"
	err := connect.Stdio(t.Context(), d, call, in, io.Discard)
	if !errors.Is(err, dial.ErrServiceUnknown) || connect.ExitCode(err) != connect.ExitOffline {
		t.Errorf("unknown service: %v, exit %d", err, connect.ExitCode(err))
	}
	// A reader of its own: the one above is still taken by the calls that ended.
	in, w2 := io.Pipe()
	defer func() { _ = w2.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	out := writeFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	go func() { _, _ = io.WriteString(w2, "x") }()
	if err := connect.Stdio(ctx, d, echoCall(d), in, out); tunnel.CodeOf(err) != tunnel.CodeCancelled {
		t.Errorf("cancelled: %v", err)
	}
}

type writeFunc func([]byte) (int, error)

func (f writeFunc) Write(p []byte) (int, error) { return f(p) }

func TestForward(t *testing.T) {
	t.Parallel()
	_, d := rig(t)
	ln := listen(t)
	run(t, func(ctx context.Context) error { return connect.Forward(ctx, ln, d, echoCall(d), connect.Options{}) })
	for range 3 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Repeat("hello ", 10_000)
		go func() {
			_, _ = io.WriteString(c, text)
			_ = c.(*net.TCPConn).CloseWrite()
		}()
		got, err := io.ReadAll(c)
		if err != nil || string(got) != text {
			t.Errorf("%d bytes came back, %v; want %d", len(got), err, len(text))
		}
		_ = c.Close()
	}
}

// A call that cannot be opened closes its connection and no other.
func TestForwardFailedCall(t *testing.T) {
	t.Parallel()
	_, d := rig(t)
	ln := listen(t)
	call := echoCall(d)
	call.Target = d.Device("9999999999")
	run(t, func(ctx context.Context) error { return connect.Forward(ctx, ln, d, call, connect.Options{}) })
	for range 2 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("read gives %d, %v", n, err)
		}
		_ = c.Close()
	}
}

// The end of Forward ends a connection that is in use.
func TestForwardEnds(t *testing.T) {
	t.Parallel()
	_, d := rig(t)
	ln := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- connect.Forward(ctx, ln, d, echoCall(d), connect.Options{Connections: 1}) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlives Forward")
	}
}

// proxied starts a proxy and gives a client that uses it and trusts the cloud's
// root.
func proxied(t *testing.T) (*http.Client, string) {
	t.Helper()
	n, d := rig(t)
	ln := listen(t)
	run(t, func(ctx context.Context) error { return connect.Proxy(ctx, ln, d, connect.Options{}) })
	proxy := &url.URL{Scheme: "http", Host: ln.Addr().String()}
	tr := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: n.CA.Roots(), MinVersion: tls.VersionTLS13}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}, ln.Addr().String()
}

func TestProxy(t *testing.T) {
	t.Parallel()
	client, _ := proxied(t)
	body := strings.Repeat("x", 1<<20)
	for _, u := range []string{
		"http://s0123456789.pbx.comtrexx.test/page",
		"http://s0123456789.pbx.comtrexx.test:443/page",
		"https://s0123456789.pbx.comtrexx.test/page", // CONNECT, and TLS of the client with the device
	} {
		resp, err := client.Post(u, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Errorf("%s: %v", u, err)
			continue
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !strings.HasSuffix(string(got), "/page got 1048576 bytes") {
			t.Errorf("%s: %s, %q, %v", u, resp.Status, got, err)
		}
	}
}

func TestProxyUpgrade(t *testing.T) {
	t.Parallel()
	client, _ := proxied(t)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://s0123456789.pbx.comtrexx.test/ws", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	rw, ok := resp.Body.(io.ReadWriter)
	if !ok {
		t.Fatalf("status %s", resp.Status)
	}
	_, _ = io.WriteString(rw, "hello")
	buf := make([]byte, 5)
	if _, err := io.ReadFull(rw, buf); err != nil || string(buf) != "hello" {
		t.Errorf("echo gives %q, %v", buf, err)
	}
}

func TestProxyErrors(t *testing.T) {
	t.Parallel()
	client, addr := proxied(t)
	for u, code := range map[string]tunnel.Code{
		"http://s9999999999.pbx.comtrexx.test/":     tunnel.CodeNotReachable,
		"http://example.com/":                       tunnel.CodeNotReachable,
		"http://169.254.169.254/latest/meta-data/":  tunnel.CodeNotReachable,
		"http://s0123456789.pbx.comtrexx.test:81/":  tunnel.CodeServiceUnknown,
		"http://s0123456789.pbx.comtrexx.test:22/x": tunnel.CodeServiceUnknown,
	} {
		resp, err := client.Get(u)
		if err != nil {
			t.Errorf("%s: %v", u, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != code.Info().HTTPStatus || resp.Header.Get("X-Auer-Error") != code.String() || !strings.Contains(string(body), code.Info().Hint) {
			t.Errorf("%s: %s, %q, %q; want %v", u, resp.Status, resp.Header.Get("X-Auer-Error"), body, code)
		}
	}
	resp, err := client.Get("https://s9999999999.pbx.comtrexx.test/")
	if err == nil {
		_ = resp.Body.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "Not Found") {
		t.Errorf("CONNECT to an offline device: %v", err)
	}
	// Not as a proxy, but directly, as a web page would.
	resp, err = http.Get("http://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a direct request gives %s", resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()
}

type otherAddr struct{ net.Listener }

func (otherAddr) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

func TestProxyOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	_, d := rig(t)
	if err := connect.Proxy(t.Context(), otherAddr{listen(t)}, d, connect.Options{}); !errors.Is(err, connect.ErrNotLoopback) {
		t.Errorf("error %v, want ErrNotLoopback", err)
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	for code, want := range map[tunnel.Code]int{
		tunnel.CodeNotReachable: connect.ExitOffline, tunnel.CodePolicyDenied: connect.ExitRefused,
		tunnel.CodeCertificateExpired: connect.ExitRefused, tunnel.CodeUnreachable: connect.ExitRetry,
		tunnel.CodeOpenTimeout: connect.ExitRetry, tunnel.CodeReset: connect.ExitFailed,
	} {
		if got := connect.ExitCode(fmt.Errorf("x: %w", &tunnel.Error{Code: code})); got != want {
			t.Errorf("%v: exit code %d, want %d", code, got, want)
		}
	}
	if connect.ExitCode(nil) != connect.ExitOK || connect.ExitCode(errors.New("x")) != connect.ExitFailed {
		t.Error("exit codes of no error and of an error without number")
	}
}
