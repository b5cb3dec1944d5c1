package flow

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/auerproxy/tunnel"
	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is two ends of a flow, closed at the end of the test.
func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	got, done := make(chan *Conn), make(chan struct{})
	var handlers sync.WaitGroup
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{Subprotocol}})
		if err != nil {
			t.Error(err)
			return
		}
		got <- New(ws, 1<<20)
		<-done
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	ws, _, err := websocket.Dial(ctx, srv.URL, &websocket.DialOptions{HTTPClient: srv.Client(), Subprotocols: []string{Subprotocol}}) //nolint:bodyclose // it does that itself
	if err != nil {
		t.Fatal(err)
	}
	a, b = New(ws, 1<<20), <-got
	t.Cleanup(func() { _ = a.Close(); _ = b.Close(); close(done); handlers.Wait(); srv.Close() })
	return a, b
}

// TestHalfClose: the end of one direction leaves the other.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	text := strings.Repeat("0123456789", 20_000)
	go func() {
		_, _ = io.WriteString(a, text)
		_ = a.CloseWrite()
	}()
	got, err := io.ReadAll(b)
	if string(got) != text || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := a.Write([]byte("x")); err == nil {
		t.Error("writes after the end of its direction")
	}
	go func() { _, _ = io.WriteString(b, "answer"); _ = b.CloseWrite() }()
	if got, err := io.ReadAll(a); string(got) != "answer" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	var both sync.WaitGroup
	both.Go(func() { _ = a.Close() })
	_ = b.Close()
	both.Wait()
}

// TestEnd: why a flow has ended comes over, and an end without a word is none that is
// orderly.
func TestEnd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		end   func(*Conn)
		cause grant.Cause
		code  tunnel.Code
	}{
		{func(c *Conn) { c.End(&EndedError{Cause: grant.CauseAdmin}) }, grant.CauseAdmin, 0},
		{func(c *Conn) { c.End(&EndedError{}) }, "", 0},
		{func(c *Conn) { c.End(tunnel.Errorf(tunnel.CodeStreamIdle, "x")) }, "", tunnel.CodeStreamIdle},
		{func(c *Conn) { c.End(errors.New("x")) }, "", tunnel.CodeReset},
	} {
		a, b := pair(t)
		var ending sync.WaitGroup
		ending.Go(func() { tt.end(a) })
		_, err := io.Copy(io.Discard, b)
		ending.Wait()
		ended, ok := errors.AsType[*EndedError](err)
		if tt.code != 0 && (ok || tunnel.CodeOf(err) != tt.code) || tt.code == 0 && (!ok || ended.Cause != tt.cause) {
			t.Errorf("%v, want %s %v", err, tt.cause, tt.code)
		}
		if _, again := b.Read(make([]byte, 1)); again == nil || again.Error() != err.Error() {
			t.Errorf("then %v", again)
		}
	}
	a, b := pair(t)
	var closing sync.WaitGroup
	closing.Go(func() { _ = a.ws.Close(websocket.StatusNormalClosure, "") })
	if _, err := io.Copy(io.Discard, b); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("closed without an end message: %v", err)
	}
	closing.Wait()
	a, b = pair(t)
	a.Reset(tunnel.CodeReset)
	if _, err := io.Copy(io.Discard, b); err == nil {
		t.Error("a connection that was lost is an orderly end")
	}
	// A deadline ends it, too.
	c, _ := pair(t)
	if err := c.SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("reads after its deadline")
	}
}

func ticket() Ticket {
	return Ticket{
		Origin: "https://label.ara.example:8443", Grant: "a.b.c", Browser: "c2VjcmV0", Expires: time.Now().UTC().Truncate(time.Second),
		Session: "s-1", Service: grant.SSH, Target: "shell",
	}
}

func TestTicket(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	if err := ticket().Write(&file); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadTicket(&file); err != nil || got.Grant != "a.b.c" || !got.Expires.Equal(ticket().Expires) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, change := range map[string]func(*Ticket){
		"http":           func(t *Ticket) { t.Origin = "http://label.ara.example" },
		"a path":         func(t *Ticket) { t.Origin += "/x" },
		"a user":         func(t *Ticket) { t.Origin = "https://u@label.ara.example" },
		"no grant":       func(t *Ticket) { t.Grant = "" },
		"half a grant":   func(t *Ticket) { t.Grant = "a.b" },
		"a header":       func(t *Ticket) { t.Browser = "x\r\ny: z" },
		"another cookie": func(t *Ticket) { t.Browser = "x; a=b" },
		"no session":     func(t *Ticket) { t.Session = "" },
		"pages":          func(t *Ticket) { t.Service, t.Target = grant.Web, "" },
		"no target":      func(t *Ticket) { t.Target = "" },
	} {
		bad := ticket()
		change(&bad)
		if err := bad.Validate(); !errors.Is(err, ErrTicket) {
			t.Errorf("%s: %v", name, err)
		}
		if err := bad.Write(io.Discard); err == nil {
			t.Errorf("%s: was written", name)
		}
	}
	for _, text := range []string{"", "{}", "no JSON", strings.Repeat(" ", maxTicket+1)} {
		if _, err := ReadTicket(strings.NewReader(text)); !errors.Is(err, ErrTicket) {
			t.Errorf("%.10q: %v", text, err)
		}
	}
}

func FuzzTicket(f *testing.F) {
	var file bytes.Buffer
	if err := ticket().Write(&file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, err := parseTicket(text); err == nil {
			if err := got.Write(io.Discard); err != nil {
				t.Error(err)
			}
		}
	})
}
