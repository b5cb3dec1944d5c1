package remote

import (
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/pki/grant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a PBX with the session s-1.
type fake struct {
	statuses []Status
	silent   bool // after the statuses
	calls    []string
	err      error
}

func (f *fake) Watch(ctx context.Context, id grant.SessionID) (iter.Seq[Status], error) {
	if id != "s-1" {
		return nil, ErrUnknown
	}
	return func(yield func(Status) bool) {
		for _, s := range f.statuses {
			if !yield(s) {
				return
			}
		}
		if f.silent {
			<-ctx.Done()
		}
	}, nil
}

func (f *fake) PIN(_ context.Context, id grant.SessionID, pin string) error {
	f.calls = append(f.calls, "pin "+string(id)+" "+pin)
	return f.err
}

func (f *fake) End(_ context.Context, id grant.SessionID) error {
	f.calls = append(f.calls, "end "+string(id))
	return f.err
}

func (f *fake) Extend(_ context.Context, id grant.SessionID, minutes int) error {
	f.calls = append(f.calls, "extend "+string(id)+" "+time.Duration(minutes*int(time.Minute)).String())
	return f.err
}

func (f *fake) Targets(context.Context, grant.SessionID) ([]Target, error) {
	return []Target{{Name: "switch", Service: grant.SSH, HostKeys: []string{"ssh-ed25519 AAAA"}}}, f.err
}

// serve gives a client of a handler, over connections in memory.
func serve(t *testing.T, h http.Handler) Client {
	t.Helper()
	conns := make(chan net.Conn)
	done := make(chan struct{})
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(listener{conns, done}) }()
	t.Cleanup(func() { close(done); _ = srv.Close(); <-ended })
	return Client{HTTP: HTTPClient(func(ctx context.Context) (net.Conn, error) {
		a, b := net.Pipe()
		select {
		case conns <- b:
			return a, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})}
}

type listener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l listener) Close() error   { return nil }
func (l listener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func session(id grant.SessionID) func(*http.Request) (grant.SessionID, bool) {
	return func(*http.Request) (grant.SessionID, bool) { return id, id != "" }
}

func TestBothSides(t *testing.T) {
	t.Parallel()
	f := &fake{statuses: []Status{
		{State: grant.Pending, Remaining: 900},
		{State: grant.Active, Remaining: 3600, Extension: ExtensionPending},
		{State: grant.Ended, Cause: grant.CauseTime},
		{State: grant.Active},
	}}
	c := serve(t, Handler(f, session("s-1")))
	var got []Status
	if err := c.Watch(t.Context(), func(s Status) { got = append(got, s) }); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, f.statuses[:3]) { // nothing after a final one
		t.Errorf("%+v", got)
	}
	for _, err := range []error{c.PIN(t.Context(), "01234567"), c.Extend(t.Context(), 30), c.End(t.Context())} {
		if err != nil {
			t.Error(err)
		}
	}
	if want := []string{"pin s-1 01234567", "extend s-1 30m0s", "end s-1"}; !reflect.DeepEqual(f.calls, want) {
		t.Errorf("%q", f.calls)
	}
	reached, err := c.Targets(t.Context())
	targets := reached.Targets
	if err != nil || len(targets) != 1 || targets[0].Name != "switch" {
		t.Errorf("%+v, %v", targets, err)
	}
	for _, p := range problems {
		f.err = p.err
		if err := c.PIN(t.Context(), "01234567"); !errors.Is(err, p.err) {
			t.Errorf("%v, want %v", err, p.err)
		}
	}
	f.err = errors.New("secret of the inside")
	if err := c.End(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	f.err, f.calls = nil, nil
	for _, err := range []error{c.PIN(t.Context(), "1234567"), c.PIN(t.Context(), "1234567a"), c.Extend(t.Context(), 0), c.Extend(t.Context(), MaxMinutes+1)} {
		if !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
	}
	if f.calls != nil {
		t.Errorf("what is malformed was sent: %q", f.calls)
	}
}

func TestHandlerRefuses(t *testing.T) {
	t.Parallel()
	f := &fake{statuses: []Status{{State: grant.Ended}}}
	for _, id := range []grant.SessionID{"", "s-2"} {
		c := serve(t, Handler(f, session(id)))
		if err := c.Watch(t.Context(), func(Status) { t.Error("a status") }); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", id, err)
		}
	}
	c := serve(t, Handler(f, session("s-1")))
	for _, tt := range []struct {
		media, body string
		status      int
	}{
		{"application/json", `{"pin":"01234567"}`, 204},
		{"application/json", `{"pin":"01234567","new":1}`, 204},
		{"text/plain", `{"pin":"01234567"}`, 400},
		{"application/json", `{"pin":1234567}`, 400},
		{"application/json", `{"pin":"0123456"}`, 400},
		{"application/json", `{"pin":"01234567"}` + strings.Repeat(" ", MaxBody), 400},
	} {
		f.calls = nil
		resp, err := c.HTTP.Post("http://remote"+PathPIN, tt.media, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.status || (len(f.calls) == 1) != (tt.status == 204) {
			t.Errorf("%.40q: %d, %q", tt.body, resp.StatusCode, f.calls)
		}
	}
}

// TestWatchOfBadPBX: what comes from the PBX is looked at.
func TestWatchOfBadPBX(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		body string
		want error
	}{
		"ends early":    {`{"state":"pending","remaining_seconds":5}` + "\n", io.ErrUnexpectedEOF},
		"unknown state": {`{"state":"open"}` + "\n", ErrMalformed},
		"too long":      {`{"state":"active","remaining_seconds":86401}` + "\n", ErrMalformed},
		"no JSON":       {"hello\n", ErrMalformed},
		"endless line":  {strings.Repeat("x", MaxBody+1), nil},
	} {
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tt.body) }))
		err := c.Watch(t.Context(), func(Status) {})
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWatchOfSilentPBX(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, Handler(&fake{statuses: []Status{{State: grant.Active, Remaining: 60}}, silent: true}, session("s-1")))
		seen, begin := 0, time.Now()
		err := c.Watch(t.Context(), func(Status) { seen++ })
		if err == nil || !strings.Contains(err.Error(), "silent") || seen != 1 || time.Since(begin) != 3*Heartbeat {
			t.Errorf("%v after %s and %d", err, time.Since(begin), seen)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"state":"active","remaining_seconds":60,"cause":"","extension":"pending"}`))
	f.Add([]byte(`{"targets":[{"name":"a","service":"ssh","host_keys":["x"]}]}`))
	f.Add([]byte(`{"pin":"12345678","minutes":5}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, err := parse[Status](text); err == nil {
			if _, err := line(s); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = parse[Targets](text)
		if b, err := parse[PINBody](text); err == nil && len(b.PIN) != PINLen {
			t.Fatalf("%q", b.PIN)
		}
		_, _ = parse[ExtendBody](text)
	})
}
