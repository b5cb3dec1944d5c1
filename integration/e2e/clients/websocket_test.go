package clients

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/coder/websocket"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/agent"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// echoSocket echoes WebSocket messages, and closes with a status of its own on
// "bye".
func echoSocket(w http.ResponseWriter, req *http.Request) {
	ws, err := websocket.Accept(w, req, &websocket.AcceptOptions{Subprotocols: []string{"phone"}})
	if err != nil {
		return // answered
	}
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(-1)
	for {
		kind, msg, err := ws.Read(req.Context())
		if err != nil {
			return
		}
		if string(msg) == "bye" {
			_ = ws.Close(4001, req.Header.Get(agent.HeaderCaller))
			return
		}
		if err := ws.Write(req.Context(), kind, msg); err != nil {
			return
		}
	}
}

// proxyClient is Go's HTTP client with the relay as its proxy.
func (c *cloud) proxyClient() *http.Client {
	c.t.Helper()
	tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "https", Host: c.relay()}), TLSClientConfig: c.clientTLS()}
	c.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	target := c.serveHTTP(http.HandlerFunc(echoSocket))
	c.device(serial, agent.TransportAuto, agent.Service{Name: "web", Target: target})
	c.device(other, agent.TransportAuto, agent.Service{Name: "web", Target: target, Identity: agent.IdentityHeader})
	client := c.proxyClient()

	for name, tt := range map[string]struct {
		url, reason string
	}{
		"plain":  {deviceURL(serial, "/ws"), ""},
		"header": {deviceURL(other, "/ws"), "spiffe://comtrexx.test/service/helpdesk"},
	} {
		ctx, cancel := context.WithTimeout(c.ctx, patience)
		defer cancel()
		ws, resp, err := websocket.Dial(ctx, tt.url, &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"phone"}}) //nolint:bodyclose // the library does
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if resp.StatusCode != http.StatusSwitchingProtocols || ws.Subprotocol() != "phone" {
			t.Errorf("%s: %s, subprotocol %q", name, resp.Status, ws.Subprotocol())
		}
		ws.SetReadLimit(-1)
		for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
			sent := bytes.Repeat([]byte{byte(size)}, size)
			if err := ws.Write(ctx, websocket.MessageBinary, sent); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			_, got, err := ws.Read(ctx)
			if err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("%s: a message of %d bytes comes back with %d, %v", name, size, len(got), err)
			}
		}
		if err := ws.Write(ctx, websocket.MessageText, []byte("bye")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, _, err = ws.Read(ctx)
		if closed, ok := errors.AsType[websocket.CloseError](err); !ok || closed.Code != 4001 || closed.Reason != tt.reason {
			t.Errorf("%s: ends with %v, want status 4001 and %q", name, err, tt.reason)
		}
		_ = ws.CloseNow()
	}
}

// sendEvents sends what comes by the channel as server-sent events.
func sendEvents(events <-chan int) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		for rc.Flush() == nil {
			select {
			case n := <-events:
				_, _ = fmt.Fprintf(w, "data: %d\n\n", n) // Flush fails, too
			case <-req.Context().Done():
				return
			}
		}
	}
}

// TestEvents sends each event only after curl has shown the one before: an event
// that anybody on the way keeps back would stop everything.
func TestEvents(t *testing.T) {
	t.Parallel()
	tool(t, "curl")
	c := newCloud(t)
	for s, how := range map[identity.Serial]string{serial: agent.IdentityNone, other: agent.IdentityHeader} {
		events := make(chan int)
		c.device(s, agent.TransportAuto, agent.Service{Name: "web", Target: c.serveHTTP(sendEvents(events)), Identity: how})
		r, w := io.Pipe()
		cmd := c.curl("--no-buffer", deviceURL(s, "/"))
		cmd.Stdout = w
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = w.CloseWithError(cmd.Wait())
		}()
		lines := bufio.NewReader(r)
		for n := range 20 {
			select {
			case events <- n:
			case <-ended:
				t.Fatalf("%s: curl has ended", how)
			}
			line, err := lines.ReadString('\n')
			if err != nil || line != fmt.Sprintf("data: %d\n", n) {
				t.Fatalf("%s: event %d arrives as %q, %v", how, n, line, err)
			}
			if _, err := lines.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		_ = cmd.Process.Kill()
		_ = r.Close()
		<-ended
	}
}
