package dial

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/e2e"
	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// serveHTTP makes the device answer the calls of its sessions with an HTTP
// handler. It gives the number of calls.
func serveHTTP(t *testing.T, ca *pkitest.CA, r *fakeRelay, h http.Handler) func() int {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	calls := make(chan *handed)
	ln := &handedListener{calls: calls, done: make(chan struct{})}
	srv.Listener = ln
	srv.Start()
	t.Cleanup(srv.Close)
	var mu sync.Mutex
	n := 0
	creds := ca.Credentials(device)
	r.set(device, func(ctx context.Context, st tunnel.Stream, _ *tunnel.Preamble) {
		if tunnel.WriteAck(st) != nil {
			return
		}
		s, err := e2e.Server(ctx, st, creds, identity.Exactly(ccc), 0)
		if err != nil {
			return
		}
		_ = e2e.Serve(ctx, s, e2e.ServeConfig{Handle: func(ctx context.Context, st tunnel.Stream, p *tunnel.Preamble) {
			if p.GetService() != "web" {
				tunnel.Refuse(st, &tunnel.Error{Code: tunnel.CodeServiceUnknown})
				return
			}
			if tunnel.WriteAck(st) != nil {
				return
			}
			mu.Lock()
			n++
			mu.Unlock()
			c := &handed{Stream: st, over: make(chan struct{})}
			select {
			case calls <- c:
				<-c.over
			case <-ctx.Done():
			}
		}})
	})
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

func TestTransport(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	r := newRelay("r1")
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Host", r.Host)
		body, _ := io.ReadAll(r.Body) // first: HTTP/1.1 is not full duplex
		_, _ = w.Write(body)
	})
	mux.HandleFunc("GET /upgrade", func(w http.ResponseWriter, _ *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := buf.ReadString('\n')
		_, _ = io.WriteString(conn, line)
	})
	calls := serveHTTP(t, ca, r, mux)
	d, _ := newDialer(t, ca, Config{}, r)
	tr := d.Transport()
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}

	for i := range 20 {
		body := strings.Repeat(fmt.Sprint("chunk ", i), 10_000)
		resp, err := client.Post("https://s0123456789.pbx.comtrexx.test/echo", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(got) != body || resp.StatusCode != 200 || resp.Header.Get("X-Host") != "s0123456789.pbx.comtrexx.test" {
			t.Fatalf("status %d, %d bytes, host %q, %v", resp.StatusCode, len(got), resp.Header.Get("X-Host"), err)
		}
	}
	if n := calls(); n != 1 {
		t.Errorf("%d calls for 20 requests, want 1: connections are not reused", n)
	}
	if n := r.opens.Load(); n != 1 {
		t.Errorf("%d relay streams, want 1", n)
	}

	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://s0123456789.pbx.comtrexx.test:443/upgrade", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	rw := resp.Body.(io.ReadWriteCloser)
	_, _ = io.WriteString(rw, "over the upgrade\n")
	if line, err := bufio.NewReader(rw).ReadString('\n'); err != nil || line != "over the upgrade\n" {
		t.Errorf("upgraded connection gives %q, %v", line, err)
	}
}

func TestTransportErrors(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, td)
	r := newRelay("r1")
	serveHTTP(t, ca, r, http.NotFoundHandler())
	d, _ := newDialer(t, ca, Config{}, r)
	client := &http.Client{Transport: d.Transport()}
	for url, want := range map[string]error{
		"https://s1111111111.pbx.comtrexx.test/":    ErrOffline,
		"https://example.com/":                      ErrOffline,
		"https://s0123456789.pbx.example.com/":      ErrOffline,
		"https://s0123456789.pbx.comtrexx.test:22/": ErrServiceUnknown,
		"https://s0123456789.pbx.comtrexx.test:81/": ErrServiceUnknown,
	} {
		resp, err := client.Get(url)
		if err == nil {
			_ = resp.Body.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", url, err, want)
		}
	}
	if resp, err := client.Get("http://s0123456789.pbx.comtrexx.test/"); err == nil {
		_ = resp.Body.Close()
		t.Error("plain http works")
	}
}
