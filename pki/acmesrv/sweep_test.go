package acmesrv_test

import (
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func TestSweep(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := w.client("srv-ara")
	account := w.account(c, "srv-ara")
	if _, err := w.order(c, account, pkitest.NewKey(), "ara.comtrexx.test"); err != nil {
		t.Fatal(err)
	}
	// An order that was begun and left.
	if _, err := c.NewOrder(t.Context(), account, acme.Order{Identifiers: []acme.Identifier{{Type: "dns", Value: "ara.comtrexx.test"}}}); err != nil {
		t.Fatal(err)
	}
	rows := func(table string) int {
		t.Helper()
		list, err := w.cfg.DB.List([]byte(table))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	growing := []string{"acme_orders", "acme_authzs", "acme_challenges", "acme_certs", "acme_serial_certs_index"}
	sweep := func(after time.Duration) {
		t.Helper()
		if _, err := w.srv.Sweep(time.Now().Add(after)); err != nil {
			t.Fatal(err)
		}
	}
	sweep(0)
	for _, table := range growing {
		if rows(table) == 0 {
			t.Errorf("%s is empty", table)
		}
	}
	if rows("nonces") == 0 {
		t.Error("fresh nonces are gone")
	}
	sweep(2 * time.Hour)
	if n := rows("nonces"); n != 0 || rows("acme_orders") != 2 {
		t.Errorf("%d nonces, %d orders", n, rows("acme_orders"))
	}
	sweep(40 * 24 * time.Hour)
	for _, table := range growing {
		if n := rows(table); n != 0 {
			t.Errorf("%s has %d rows", table, n)
		}
	}
	// The account goes on.
	if rows("acme_accounts") != 1 || rows("acme_external_account_keys") != 1 {
		t.Error("account or key are gone")
	}
	if _, err := w.order(c, account, pkitest.NewKey(), "ara.comtrexx.test"); err != nil {
		t.Error(err)
	}
}
