package pbxweb

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// to sends all requests to a server.
type to struct{ url *url.URL }

func (t to) RoundTrip(r *http.Request) (*http.Response, error) {
	r.URL.Scheme, r.URL.Host = t.url.Scheme, t.url.Host
	return http.DefaultTransport.RoundTrip(r)
}

func serve(t *testing.T, h http.HandlerFunc) *http.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: to{u}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func pbx(w http.ResponseWriter, r *http.Request) {
	switch user, password, _ := r.BasicAuth(); {
	case r.URL.Path == "/api/v1/login" && user == "ccc" && password == "right":
		http.SetCookie(w, &http.Cookie{Name: Cookie, Value: "s"})
	case r.URL.Path == "/api/v1/login":
		w.WriteHeader(http.StatusUnauthorized)
	case r.Header.Get("Cookie") != Cookie+"=s":
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/api/v1/large":
		_, _ = io.WriteString(w, `{"x":"`+strings.Repeat("a", MaxAnswer)+`"}`)
	case r.URL.Path == "/api/v1/elsewhere":
		http.Redirect(w, r, "http://elsewhere.example/", http.StatusFound)
	case r.Header.Get("If-Match") == `"old"`:
		w.WriteHeader(http.StatusPreconditionFailed)
		_, _ = io.WriteString(w, `{"code":"version","errors":[{"location":"body.ntp_server","message":"is\nanother"},{"location":"<b>","message":"x"}]}`)
	default:
		w.Header().Set("ETag", `"v2"`)
		_, _ = io.WriteString(w, `{"x":"y"}`)
	}
}

func TestSession(t *testing.T) {
	t.Parallel()
	client := serve(t, pbx)
	if _, err := SignIn(t.Context(), client, "ccc", "wrong"); !errors.Is(err, ErrRefused) {
		t.Errorf("a wrong password gives %v", err)
	}
	s, err := SignIn(t.Context(), client, "ccc", "right")
	if err != nil {
		t.Fatal(err)
	}
	var out struct{ X string }
	version, err := s.Do(t.Context(), Request{Method: http.MethodGet, Path: "settings", Out: &out})
	if err != nil || version != "v2" || out.X != "y" {
		t.Errorf("%q, %+v, %v", version, out, err)
	}
	_, err = s.Do(t.Context(), Request{Method: http.MethodPatch, Path: "settings", IfMatch: "old", Body: out})
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Status != http.StatusPreconditionFailed || e.Code != "version" || len(e.Fields) != 1 || e.Fields[0] != (Field{"ntp_server", "is another"}) {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := s.Do(t.Context(), Request{Method: http.MethodGet, Path: "large", Out: &out}); !errors.Is(err, ErrAnswer) {
		t.Errorf("a large answer gives %v", err)
	}
	if _, err := s.Do(t.Context(), Request{Method: http.MethodGet, Path: "elsewhere", Out: &out}); err == nil {
		t.Error("a redirect is followed")
	}
}

// FuzzAnswer reads what a PBX's own interface answers.
func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"serial":"0123456789"}`), `"1"`)
	f.Add(200, []byte(`{"serial":1}`), "1")
	f.Add(401, []byte(``), "")
	f.Add(422, []byte(`{"code":"invalid","errors":[{"location":"body.x","message":"\u0000"}]}`), `"\x00"`)
	f.Fuzz(func(t *testing.T, status int, body []byte, etag string) {
		var facts struct {
			Serial string `json:"serial"`
		}
		err := read(&http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewReader(body))}, &facts)
		if err == nil && (status < 200 || status > 299 || len(body) > MaxAnswer) {
			t.Fatalf("status %d is a success", status)
		}
		if e, ok := errors.AsType[*Error](err); ok {
			for _, field := range e.Fields {
				if len(field.Message) > maxDetail || !utf8.ValidString(field.Message) || strings.ContainsAny(field.Message, "\x00\n") {
					t.Fatalf("%q is no line", field.Message)
				}
			}
		}
		if v, err := parseVersion(etag); err == nil && strings.ContainsAny(v, "\"\r\n\x00") {
			t.Fatalf("%q is a version", v)
		}
	})
}
