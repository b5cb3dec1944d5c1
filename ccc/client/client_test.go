package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// transport answers requests without a network.
type transport func(*http.Request) *http.Response

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := f(r)
	if resp == nil {
		return nil, errors.New("the connection broke")
	}
	return resp, nil
}

func answer(status int, body string, header ...string) *http.Response {
	w := httptest.NewRecorder()
	for i := 0; i+1 < len(header); i += 2 {
		w.Header().Set(header[i], header[i+1])
	}
	w.WriteHeader(status)
	_, _ = w.WriteString(body)
	return w.Result()
}

func with(t *testing.T, cfg Config, f transport) *Client {
	t.Helper()
	cfg.URL = "https://ccc.example.com/"
	cfg.HTTP = &http.Client{Transport: f}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNew(t *testing.T) {
	t.Parallel()
	for address, good := range map[string]bool{
		"https://ccc.example.com": true, "http://127.0.0.1:8080": true, "http://localhost": true, "http://[::1]:1": true,
		"http://ccc.example.com": false, "ccc.example.com": false, "ftp://127.0.0.1": false, "": false,
		"https://anna:pw@ccc.example.com": false, "https://ccc.example.com?x=1": false, "http://127.0.0.1.example.com": false,
	} {
		if _, err := New(Config{URL: address}); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	c := with(t, Config{Token: "secret", Tenant: "t1"}, func(r *http.Request) *http.Response {
		body, _ := io.ReadAll(r.Body)
		got := fmt.Sprint(r.Method, " ", r.URL, " ", r.Header.Get("Authorization"), " ", r.Header.Get("Auer-Tenant"), " ", r.Header.Get("If-Match"), " ", string(body))
		if want := `PATCH https://ccc.example.com/api/v1/systems/a%2Fb Bearer secret t2 "7" {"name":"New","tags":[]}`; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if r.Header.Get("Idempotency-Key") != "" {
			t.Error("a key where the operation takes none")
		}
		return answer(http.StatusOK, `{"id":"a/b","serial":"0123456789","version":8,"new":1}`)
	})
	name := "New"
	s, err := c.In("t2").UpdateSystem(t.Context(), "a/b", SystemChange{Name: &name, Tags: []string{}}, &UpdateSystemParams{IfMatch: ETag(7)})
	if err != nil || s.Version != 8 || s.Serial != "0123456789" {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestProblem(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		body   string
		code   Code
		want   string
	}{
		{
			http.StatusUnprocessableEntity, `{"title":"The request is not valid","status":422,"code":"invalid","errors":[{"location":"body.name","code":"too_long","message":"is too long"}]}`,
			CodeInvalid, "The request is not valid; body.name: is too long (invalid, status 422)",
		},
		{http.StatusTeapot, "<html>", "", "The server answers 418 I'm a teapot (status 418)"},
	} {
		c := with(t, Config{}, func(*http.Request) *http.Response { return answer(tt.status, tt.body) })
		_, err := c.RenameSite(t.Context(), "s1", NewSite{Name: "x"})
		if err == nil || err.Error() != tt.want || !HasCode(err, tt.code) || HasCode(err, CodeConflict) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

// TestRetries: what can be repeated is, with the same key, and as Retry-After says.
func TestRetries(t *testing.T) {
	t.Parallel()
	busy := func() *http.Response { return answer(http.StatusServiceUnavailable, `{"code":"unavailable"}`) }
	for _, tt := range []struct {
		name  string
		first func() *http.Response
		do    func(context.Context, *Client) error
		want  int32
	}{
		{"reads", busy, func(ctx context.Context, c *Client) error { _, err := c.ListSites(ctx); return err }, 3},
		{"broken", func() *http.Response { return nil }, func(ctx context.Context, c *Client) error { _, err := c.ListSites(ctx); return err }, 3},
		{"once", busy, func(ctx context.Context, c *Client) error {
			_, err := c.CreateSite(ctx, NewSite{Name: "x"})
			return err
		}, 3},
		{"changes", busy, func(ctx context.Context, c *Client) error { return c.RemoveSite(ctx, "s1") }, 1},
		{"refused", func() *http.Response { return answer(http.StatusForbidden, `{"code":"forbidden"}`) }, func(ctx context.Context, c *Client) error { _, err := c.ListSites(ctx); return err }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int32
				keys := map[string]bool{}
				c := with(t, Config{}, func(r *http.Request) *http.Response {
					keys[r.Header.Get("Idempotency-Key")] = true
					if n.Add(1) < 3 {
						return tt.first()
					}
					return answer(http.StatusOK, `{"items":[]}`)
				})
				err := tt.do(t.Context(), c)
				if n.Load() != tt.want || (err == nil) != (tt.want == 3) || len(keys) != 1 {
					t.Errorf("%d requests with the keys %v, %v", n.Load(), keys, err)
				}
				if tt.name == "once" && keys[""] {
					t.Error("no key")
				}
			})
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		c := with(t, Config{}, func(*http.Request) *http.Response {
			if n.Add(1) == 1 {
				return answer(http.StatusTooManyRequests, `{"code":"rate_limited"}`, "Retry-After", "7")
			}
			return answer(http.StatusTooManyRequests, `{"code":"rate_limited"}`, "Retry-After", "3600")
		})
		start := time.Now()
		_, err := c.ListSites(t.Context())
		p, ok := errors.AsType[*Problem](err)
		if !ok || p.RetryAfter != time.Hour || n.Load() != 2 || time.Since(start) != 7*time.Second {
			t.Errorf("after %s and %d requests: %v", time.Since(start), n.Load(), err)
		}
		key := WithIdempotencyKey(t.Context(), "mine")
		c = with(t, Config{}, func(r *http.Request) *http.Response {
			if got := r.Header.Get("Idempotency-Key"); got != "mine" {
				t.Errorf("the key is %q", got)
			}
			return answer(http.StatusCreated, `{}`)
		})
		if _, err := c.CreateGroup(key, NewGroup{Name: "x"}); err != nil {
			t.Error(err)
		}
	})
}

func TestPages(t *testing.T) {
	t.Parallel()
	c := with(t, Config{}, func(r *http.Request) *http.Response {
		q := r.URL.Query()
		if q.Get("q") != "x" || len(q["state"]) != 2 {
			t.Errorf("the query is %s", r.URL.RawQuery)
		}
		switch q.Get("cursor") {
		case "":
			return answer(http.StatusOK, `{"items":[{"id":"1"},{"id":"2"}],"next":"n"}`)
		case "n":
			return answer(http.StatusOK, `{"items":[{"id":"3"}],"next":"m"}`)
		}
		return answer(http.StatusForbidden, `{"code":"forbidden"}`)
	})
	got := ""
	for s, err := range c.ListSystemsAll(t.Context(), &ListSystemsParams{Q: "x", State: []string{"paired", "left"}}) {
		if err != nil {
			got += " " + string(err.(*Problem).Code) //nolint:errorlint // it has to be one
			continue
		}
		got += s.ID
	}
	if got != "123 forbidden" {
		t.Errorf("got %q", got)
	}
	for s, err := range c.ListSystemsAll(t.Context(), &ListSystemsParams{Q: "x", State: []string{"paired", "left"}}) {
		if got = s.ID; got == "1" || err != nil {
			break
		}
	}
	if got != "1" {
		t.Errorf("it goes on to %q", got)
	}
}

func TestAnswerTooLarge(t *testing.T) {
	t.Parallel()
	body := `{"items":[],"x":"` + strings.Repeat("x", 1000) + `"}`
	c := with(t, Config{MaxAnswer: 1000, Retries: -1}, func(*http.Request) *http.Response { return answer(http.StatusOK, body) })
	if _, err := c.ListSites(t.Context()); err == nil || !strings.Contains(err.Error(), "larger than 1000") {
		t.Errorf("got %v", err)
	}
	c = with(t, Config{MaxAnswer: 2000}, func(*http.Request) *http.Response { return answer(http.StatusOK, body) })
	if _, err := c.ListSites(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	c := with(t, Config{}, func(r *http.Request) *http.Response {
		if r.Header.Get("Accept") != "text/event-stream" {
			t.Errorf("Accept is %q", r.Header.Get("Accept"))
		}
		return answer(http.StatusOK, ": hello\n\nevent: removed\ndata: {\"id\":\"s1\"}\n\nevent:two\ndata:[1,\ndata:2]\n\nid: 7\ndata: 3\n\nevent: cut\ndata: 4")
	})
	var got []string
	for e, err := range c.Events(t.Context()) {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		var v any
		if err := e.Read(&v); err != nil {
			t.Error(err)
		}
		text, _ := json.Marshal(v)
		got = append(got, e.Kind+string(text))
	}
	if want := `removed{"id":"s1"} two[1,2] the stream of events has ended`; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %s", got, want)
	}
	for _, err := range c.Events(t.Context()) {
		if err != nil {
			t.Error(err)
		}
		break
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add("event: a\ndata: 1\n\n")
	f.Add(":\n\nevent\ndata\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		n := 0
		_ = ReadEvents(strings.NewReader(text), 1<<10, func(e LiveEvent) bool {
			if e.Kind == "" || len(e.Kind)+len(e.Data) > len(text) || strings.Contains(e.Kind, "\n") {
				t.Errorf("event %q with %d bytes of %d", e.Kind, len(e.Data), len(text))
			}
			n++
			return n < 3
		})
		if n > 3 {
			t.Errorf("%d events after the end", n)
		}
	})
}

// TestOperations: the table has what a program needs to offer all of them.
func TestOperations(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, op := range Operations() {
		if op.ID == "" || seen[op.ID] || !strings.HasPrefix(op.Path, "/") || op.Summary == "" || op.Of == "" || op.Status/100 != 2 {
			t.Errorf("%+v", op)
		}
		seen[op.ID] = true
		for _, p := range op.Parameters {
			if p.In == "path" && !strings.Contains(op.Path, "{"+p.Name+"}") {
				t.Errorf("%s: %s is not in the path", op.ID, p.Name)
			}
		}
	}
	if len(seen) < 50 || !seen["listSystems"] {
		t.Errorf("%d operations", len(seen))
	}
}

// Example signs in with an API token, and lists what is offline.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"items":[{"id":"s1","serial":"0123456789","name":"Office"}],"total":1}`)
	}))
	defer server.Close()

	c, err := New(Config{URL: server.URL, Token: "from: ccc tokens add"})
	if err != nil {
		panic(err)
	}
	for s, err := range c.ListSystemsAll(context.Background(), &ListSystemsParams{Online: "false"}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(s.Serial, s.Name)
	}
	// Output: 0123456789 Office
}
