package api

import (
	"context"
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs/accesslog"
)

// TestTrustedProxy: behind a proxy that is named the client is who it says; anybody else
// may say what he likes.
func TestTrustedProxy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		proxies []string
		trusted bool
	}{{"named", []string{"127.0.0.0/8"}, true}, {"another", []string{"192.0.2.1"}, false}, {"none", nil, false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			notes, noted := accessLog(t)
			w := newWorld(t, func(o *options) {
				o.api.TrustedProxies, o.api.AccessLog = tt.proxies, notes
				o.api.Limits.Requests, o.api.Limits.Window = 4, time.Hour
			}).serve()
			w.user(w.north, "anna@example.com", store.RoleMonitoring)
			in := w.client().do(http.MethodPost, "/session", `{"email":"anna@example.com","password":"`+testPassword+`"}`,
				"X-Forwarded-For: 203.0.113.1", "X-Forwarded-Proto: https").want(http.StatusOK)
			cookie := in.header.Get("Set-Cookie")
			if secure := strings.HasPrefix(cookie, "__Host-ccc=") && strings.Contains(cookie, "Secure"); secure != tt.trusted {
				t.Errorf("the cookie is %s", cookie)
			}
			if got := in.header.Get("Strict-Transport-Security") != ""; got != tt.trusted {
				t.Errorf("Strict-Transport-Security: %v", got)
			}
			get := func(forwarded string) int {
				return w.client().do(http.MethodGet, "/meta", "", "X-Forwarded-For: "+forwarded).status
			}
			for range 3 {
				// What the client says itself stands before what the proxy adds.
				if got := get("198.51.100.9, 203.0.113.1"); got != http.StatusOK {
					t.Fatalf("status %d", got)
				}
			}
			if got := get("198.51.100.10, 203.0.113.1"); got != http.StatusTooManyRequests {
				t.Errorf("the same client: status %d", got)
			}
			want := http.StatusTooManyRequests
			if tt.trusted {
				want = http.StatusOK
			}
			if got := get("203.0.113.2"); got != want {
				t.Errorf("another client: status %d", got)
			}
			got := map[string]int{}
			for _, r := range noted() {
				got[r.Address.Unmap().String()+" "+r.Class.String()]++
			}
			asked := map[string]int{"127.0.0.1 ok": 4, "127.0.0.1 limited": 2}
			if tt.trusted {
				asked = map[string]int{"203.0.113.1 ok": 4, "203.0.113.1 limited": 1, "203.0.113.2 ok": 1}
			}
			if !maps.Equal(got, asked) {
				t.Errorf("the access log has %v, want %v", got, asked)
			}
		})
	}
}

// accessLog gives a log that is written, and what ends it and reads it.
func accessLog(t *testing.T) (*accesslog.Log, func() []accesslog.Record) {
	t.Helper()
	cfg := accesslog.Config{Dir: t.TempDir(), Service: "ccc"}
	l, err := accesslog.New(cfg)
	if err == nil {
		err = l.Open()
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return l, func() (all []accesslog.Record) {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for r, err := range (accesslog.Reader{Dir: cfg.Dir}).Raw(time.Time{}, time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
		}
		return all
	}
}

func TestClientOf(t *testing.T) {
	t.Parallel()
	proxy := netip.MustParseAddr("10.0.0.9")
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for forwarded, want := range map[string]string{
		"":                                    "10.0.0.9",
		"203.0.113.1":                         "203.0.113.1",
		"203.0.113.1:5000":                    "203.0.113.1",
		"[2001:db8:2::1]:5000":                "2001:db8:2::1",
		"198.51.100.1,203.0.113.1, 10.0.0.8":  "203.0.113.1",
		"203.0.113.1, 2001:db8:1::7":          "203.0.113.1",
		"203.0.113.1, unknown, 10.0.0.8":      "10.0.0.8",
		"10.0.0.7, 10.0.0.8":                  "10.0.0.7",
		"::ffff:203.0.113.1, ::ffff:10.0.0.8": "203.0.113.1",
	} {
		if got := clientOf(proxy, []string{forwarded}, trusted); got.String() != want {
			t.Errorf("%q gives %s, want %s", forwarded, got, want)
		}
	}
	// Several headers are one list.
	if got := clientOf(proxy, []string{"198.51.100.1", "203.0.113.1"}, trusted); got.String() != "203.0.113.1" {
		t.Errorf("two headers give %s", got)
	}
}

func TestProxiesAreChecked(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{"127.0.0.1": true, "::1": true, "192.0.2.0/24": true, "localhost": false, "": false, "10.0.0.0/40": false} {
		if err := (Config{TrustedProxies: []string{text}}).Validate(); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}
