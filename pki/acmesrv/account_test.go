package acmesrv_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/mholt/acmez/v3/acme"

	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestAccountBinding(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.client("srv-auerproxy")
	used := w.eab("srv-auerproxy")
	if _, err := w.register(c, used); err != nil {
		t.Fatal(err)
	}
	wrong := *w.eab("srv-auerproxy")
	wrong.HMACKey = w.eab("srv-auerproxy").HMACKey
	unknown := *w.eab("srv-auerproxy")
	unknown.KeyID = "nobody"
	for name, tt := range map[string]struct {
		eab    *acmesrv.EAB
		typ    string
		status int
	}{
		"none":              {nil, "externalAccountRequired", 400},
		"used before":       {used, "unauthorized", 401},
		"of another role":   {w.eab("srv-ara"), "unauthorized", 401},
		"unknown":           {&unknown, "unauthorized", 401},
		"with a wrong code": {&wrong, "serverInternal", 500}, // smallstep calls that its own fault
	} {
		account, err := w.register(c, tt.eab)
		if err == nil {
			t.Errorf("%s: account %s", name, account.Location)
			continue
		}
		if typ, status := problem(t, err); typ != tt.typ || status != tt.status {
			t.Errorf("%s: %s, %d, want %s, %d", name, typ, status, tt.typ, tt.status)
		}
	}
	if _, err := w.register(w.client("srv-open"), nil); err != nil {
		t.Errorf("a role without binding: %v", err)
	}
	if _, err := w.srv.EAB(t.Context(), "srv-ccc", ""); !errors.Is(err, acmesrv.ErrNoRole) {
		t.Errorf("key for a role that is not there: %v", err)
	}
	dir, err := c.GetDirectory(t.Context())
	if err != nil || dir.Meta == nil || !dir.Meta.ExternalAccountRequired {
		t.Errorf("directory %+v, %v", dir, err)
	}
}

// One key makes one account, no matter how many ask at once.
func TestBindingOnce(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.client("srv-ara")
	eab := w.eab("srv-ara")
	const callers = 16
	accounts := make([]acme.Account, callers)
	var work sync.WaitGroup
	for i := range callers {
		work.Go(func() {
			account := acme.Account{PrivateKey: pkitest.NewKey(), TermsOfServiceAgreed: true}
			if err := account.SetExternalAccountBinding(t.Context(), c.Client, acme.EAB{KeyID: eab.KeyID, MACKey: eab.HMACKey}); err != nil {
				t.Error(err)
				return
			}
			if got, err := c.NewAccount(t.Context(), account); err == nil {
				account = got
			}
			accounts[i] = account
		})
	}
	work.Wait()
	usable := 0
	for _, a := range accounts {
		// A loser may come back with the key of the account that was made for it.
		if a.Location == "" {
			again, err := c.GetAccount(t.Context(), a)
			if err != nil {
				continue
			}
			a = again
		}
		if _, err := w.order(c, a, pkitest.NewKey(), "ara.comtrexx.test"); err == nil {
			usable++
		}
	}
	if usable != 1 {
		t.Errorf("%d accounts can order, want 1", usable)
	}
}

// An account of one role is nobody at another's directory.
func TestAccountStaysInItsRole(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	ara, proxy := w.client("srv-ara"), w.client("srv-auerproxy")
	account := w.account(ara, "srv-ara")
	for name, change := range map[string]func(*acme.Account){
		"as it is":   func(*acme.Account) {},
		"other path": func(a *acme.Account) { a.Location = strings.Replace(a.Location, "srv-ara", "srv-auerproxy", 1) },
	} {
		a := account
		change(&a)
		if _, err := w.order(proxy, a, pkitest.NewKey(), "auerproxy.comtrexx.test"); err == nil {
			t.Errorf("%s: issued", name)
		} else if typ, _ := problem(t, err); typ != "unauthorized" {
			t.Errorf("%s: %s", name, typ)
		}
	}
	if _, err := w.order(ara, account, pkitest.NewKey(), "ara.comtrexx.test"); err != nil {
		t.Error(err)
	}
}

func TestNotServed(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	for path, want := range map[string]int{
		"/acme/srv-ara/directory":   http.StatusOK,
		"/acme/srv-ara/revoke-cert": http.StatusNotFound,
		"/acme/srv-ara/key-change":  http.StatusNotFound,
		"/acme/srv-ccc/directory":   http.StatusNotFound,
		"/acme":                     http.StatusNotFound,
		"/provisioners":             http.StatusNotFound,
		"/1.0/sign":                 http.StatusNotFound,
		"/1.0/renew":                http.StatusNotFound,
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			req, err := http.NewRequestWithContext(t.Context(), method, w.https.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := w.https.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
			got := resp.StatusCode
			if method == http.MethodGet && got != want || method == http.MethodPost && got < http.StatusBadRequest {
				t.Errorf("%s %s: %d, want %d", method, path, got, want)
			}
		}
	}
}

func TestOrderLimit(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *acmesrv.Config) { c.OrdersPerHour = 2 })
	c := w.client("srv-auerproxy")
	account, other := w.account(c, "srv-auerproxy"), w.account(c, "srv-auerproxy")
	order := func(a acme.Account) error {
		_, err := w.order(c, a, pkitest.NewKey(), "auerproxy.comtrexx.test")
		return err
	}
	for range 2 {
		if err := order(account); err != nil {
			t.Fatal(err)
		}
	}
	err := order(account)
	if err == nil {
		t.Fatal("a third order")
	}
	if typ, status := problem(t, err); typ != "rateLimited" || status != http.StatusTooManyRequests {
		t.Errorf("%s, %d", typ, status)
	}
	if err := order(other); err != nil {
		t.Errorf("another account pays: %v", err)
	}
}

func TestRequestLimit(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *acmesrv.Config) { c.RequestsPerMinute = 2 })
	c := w.client("srv-ara")
	if _, err := c.GetDirectory(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := w.register(c, nil) // a nonce, and the account
	if err == nil {
		t.Fatal("a third request")
	}
	if typ, status := problem(t, err); typ != "rateLimited" || status != http.StatusTooManyRequests {
		t.Errorf("%s, %d", typ, status)
	}
}
