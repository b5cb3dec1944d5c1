package acmesrv_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// solver proves by what a function does.
type solver func(acme.Challenge)

func (s solver) Present(_ context.Context, c acme.Challenge) error {
	s(c)
	return nil
}

func (solver) CleanUp(context.Context, acme.Challenge) error { return nil }

// webProof answers http-01 on a port of its own.
type webProof struct {
	*httptest.Server
	answer atomic.Pointer[http.HandlerFunc]
}

func newWebProof(t *testing.T) *webProof {
	t.Helper()
	p := &webProof{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*p.answer.Load())(w, r) }))
	t.Cleanup(p.Close)
	return p
}

func TestHTTPProof(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Bool
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Store(true) }))
	t.Cleanup(trap.Close)
	web := newWebProof(t)
	w := start(t, func(c *acmesrv.Config) {
		c.Dial = map[string]string{"ara.comtrexx.test:80": strings.TrimPrefix(web.URL, "http://")}
	})
	c := w.client("srv-ara")
	account := w.account(c, "srv-ara")
	for _, tt := range []struct {
		name   string
		ok     bool
		answer func(acme.Challenge) http.HandlerFunc
	}{
		{"right", true, func(c acme.Challenge) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if r.Host == "ara.comtrexx.test" && r.URL.Path == c.HTTP01ResourcePath() {
					_, _ = fmt.Fprint(w, c.KeyAuthorization)
				}
			}
		}},
		{"wrong", false, func(acme.Challenge) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "nonsense") }
		}},
		{"long", false, func(c acme.Challenge) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				_, _ = fmt.Fprint(w, strings.Repeat(" ", 1<<20), c.KeyAuthorization)
			}
		}},
		{"redirect", false, func(acme.Challenge) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, trap.URL, http.StatusFound) }
		}},
	} {
		c.ChallengeSolvers = map[string]acmez.Solver{acme.ChallengeTypeHTTP01: solver(func(c acme.Challenge) {
			h := tt.answer(c)
			web.answer.Store(&h)
		})}
		_, err := w.order(c, account, pkitest.NewKey(), "ara.comtrexx.test")
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if elsewhere.Load() {
		t.Error("a redirect was followed")
	}
}

// A certificate that proves another order's token proves nothing.
func TestWrongTLSProof(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.client("srv-ara")
	account := w.account(c, "srv-ara")
	c.ChallengeSolvers = map[string]acmez.Solver{acme.ChallengeTypeTLSALPN01: solver(func(c acme.Challenge) {
		c.KeyAuthorization += "x"
		if err := w.Present(t.Context(), c); err != nil {
			t.Error(err)
		}
	})}
	if _, err := w.order(c, account, pkitest.NewKey(), "ara.comtrexx.test"); err == nil {
		t.Error("issued")
	} else if typ, _ := problem(t, err); typ != "rejectedIdentifier" {
		t.Errorf("%s", typ)
	}
	c = w.client("srv-ara")
	if _, err := w.order(c, account, pkitest.NewKey(), "ara.comtrexx.test"); err != nil {
		t.Error(err)
	}
}
