package acmesrv_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"github.com/smallstep/nosql/database"

	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

const pbxes = "srv-pbx"

// withDevices adds the role of PBXs, whose names are all proven at the world's listener.
func withDevices(c *acmesrv.Config) {
	c.Roles = append(c.Roles, acmesrv.Role{Name: pbxes, Names: []string{"*.pbx.ara.comtrexx.test"}, Devices: true})
	c.Dial["*.pbx.ara.comtrexx.test:443"] = c.Dial["ara.comtrexx.test:443"]
}

// TestDevice: a PBX gets a certificate for its own name and for no other, however it asks,
// and none when it is blocked.
func TestDevice(t *testing.T) {
	t.Parallel()
	var blocked atomic.Bool
	w := start(t, func(c *acmesrv.Config) {
		withDevices(c)
		c.Blocked = func(serial identity.Serial) bool { return blocked.Load() && serial == "0100000001" }
	})
	c := w.client(pbxes)
	account := func(serial identity.Serial) acme.Account {
		t.Helper()
		eab, err := w.srv.EAB(t.Context(), pbxes, serial)
		if err != nil {
			t.Fatal(err)
		}
		a, err := w.register(c, &eab)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	first, second := account("0100000001"), account("0100000002")
	const own, other = "s0100000001.pbx.ara.comtrexx.test", "s0100000002.pbx.ara.comtrexx.test"
	for _, tt := range []struct {
		name    string
		account acme.Account
		names   []string
		typ     string // empty: issued
	}{
		{"its own name", first, []string{own}, ""},
		{"the other's own name", second, []string{other}, ""},
		{"another's name", first, []string{other}, "rejectedIdentifier"},
		{"another's name beside its own", first, []string{own, other}, "rejectedIdentifier"},
		{"a name that no PBX has", first, []string{"www.pbx.ara.comtrexx.test"}, "rejectedIdentifier"},
		{"the domain", first, []string{"pbx.ara.comtrexx.test"}, "rejectedIdentifier"},
		{"a name of the gateway", first, []string{"ara.comtrexx.test"}, "rejectedIdentifier"},
	} {
		chain, err := w.order(c, tt.account, pkitest.NewKey(), tt.names...)
		if tt.typ == "" {
			if err != nil || len(chain[0].DNSNames) != 1 || chain[0].DNSNames[0] != tt.names[0] {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: issued %q", tt.name, chain[0].DNSNames)
		} else if typ, _ := problem(t, err); typ != tt.typ {
			t.Errorf("%s: %s", tt.name, typ)
		}
	}
	// A wildcard of all PBXs needs another proof, and is refused before.
	if _, err := c.NewOrder(t.Context(), first, acme.Order{Identifiers: []acme.Identifier{{Type: "dns", Value: "*.pbx.ara.comtrexx.test"}}}); err == nil {
		t.Error("a wildcard may be ordered")
	}
	// The gateway's own account cannot have the name of a PBX either: it could read then.
	ara := w.client("srv-ara")
	if _, err := w.order(ara, w.account(ara, "srv-ara"), pkitest.NewKey(), own); err == nil {
		t.Error("the gateway has a certificate for a PBX's name")
	}
	blocked.Store(true)
	if _, err := w.order(c, first, pkitest.NewKey(), own); err == nil {
		t.Error("a blocked PBX has a certificate")
	}
	if _, err := w.order(c, second, pkitest.NewKey(), other); err != nil {
		t.Errorf("the other PBX is not blocked: %v", err)
	}
}

// TestDeviceKeys: keys of PBXs have a serial, and others have none.
func TestDeviceKeys(t *testing.T) {
	t.Parallel()
	w := start(t, withDevices)
	for _, tt := range []struct {
		role   string
		serial identity.Serial
		good   bool
	}{
		{pbxes, "0100000001", true}, {"srv-ara", "", true}, {pbxes, "", false}, {pbxes, "1", false}, {"srv-ara", "0100000001", false},
	} {
		if _, err := w.srv.EAB(t.Context(), tt.role, tt.serial); (err == nil) != tt.good || err != nil && !errors.Is(err, acmesrv.ErrSerial) {
			t.Errorf("%s %q: %v", tt.role, tt.serial, err)
		}
	}
	for problem, r := range map[string]acmesrv.Role{
		"names":       {Name: "a", Names: []string{"pbx.ara.comtrexx.test"}, Devices: true},
		"without_eab": {Name: "a", Names: []string{"*.pbx.ara.comtrexx.test"}, Devices: true, WithoutEAB: true},
	} {
		if err := (acmesrv.Config{Roles: []acmesrv.Role{r}}).Validate(); err == nil || !strings.Contains(err.Error(), "roles[0]."+problem) {
			t.Errorf("%s: %v", problem, err)
		}
	}
}

// TestDeviceKeyReplaced: a PBX has one key that can be used, whatever it has asked for
// before, and the accounts that it has opened stay.
func TestDeviceKeyReplaced(t *testing.T) {
	t.Parallel()
	w := start(t, withDevices)
	c := w.client(pbxes)
	key := func(serial identity.Serial) acmesrv.EAB {
		t.Helper()
		eab, err := w.srv.EAB(t.Context(), pbxes, serial)
		if err != nil {
			t.Fatal(err)
		}
		return eab
	}
	other, first, second := key("0100000002"), key("0100000001"), key("0100000001")
	if _, err := w.register(c, &first); err == nil {
		t.Error("a key that was replaced opens an account")
	}
	account, err := w.register(c, &second)
	if err != nil {
		t.Fatal(err)
	}
	third := key("0100000001")
	for name, eab := range map[string]acmesrv.EAB{"the next key": third, "the key of another PBX": other} {
		if _, err := w.register(c, &eab); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, eab := range map[string]acmesrv.EAB{"used": third, "used and replaced": second} {
		if _, err := w.register(c, &eab); err == nil {
			t.Errorf("%s: opens another account", name)
		}
	}
	if _, err := w.order(c, account, pkitest.NewKey(), "s0100000001.pbx.ara.comtrexx.test"); err != nil {
		t.Errorf("the account of a key that was replaced: %v", err)
	}
}

// meddled calls a function before the keys of PBXs are looked up.
type meddled struct {
	database.DB
	before func() error
}

func (m *meddled) Get(table, key []byte) ([]byte, error) {
	if m.before != nil && string(table) == "acme_external_account_keyID_reference_index" {
		if err := m.before(); err != nil {
			return nil, err
		}
	}
	return m.DB.Get(table, key)
}

// TestKeysAtOnce: a key can be made while that of a PBX, the only one, is replaced. smallstep's own
// way to look it up would let both wait for ever.
func TestKeysAtOnce(t *testing.T) {
	t.Parallel()
	var db *meddled
	w := start(t, func(c *acmesrv.Config) {
		withDevices(c)
		db = &meddled{DB: c.DB}
		c.DB = db
	})
	if _, err := w.srv.EAB(t.Context(), pbxes, "0100000001"); err != nil {
		t.Fatal(err)
	}
	looked := 0
	db.before = func() error {
		looked++
		made := make(chan error, 1)
		go func() {
			_, err := w.srv.EAB(t.Context(), "srv-ara", "")
			made <- err
		}()
		select {
		case err := <-made:
			return err
		case <-time.After(time.Minute):
			return errors.New("a key is not made while another is looked up")
		}
	}
	if _, err := w.srv.EAB(t.Context(), pbxes, "0100000001"); err != nil || looked != 1 {
		t.Errorf("%v after %d looks", err, looked)
	}
}

// TestOrdersOfRole: each role has its own limit of orders, and the gateway's is high
// enough for its sessions.
func TestOrdersOfRole(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *acmesrv.Config) {
		c.OrdersPerHour = 1
		c.Roles[0].OrdersPerHour = 2
	})
	order := func(c *acmez.Client, a acme.Account, name string) error {
		_, err := c.NewOrder(t.Context(), a, acme.Order{Identifiers: []acme.Identifier{{Type: "dns", Value: name}}})
		return err
	}
	for _, tt := range []struct {
		role, name string
		most       int
	}{{"srv-auerproxy", "auerproxy.comtrexx.test", 2}, {"srv-open", "open.comtrexx.test", 1}, {"srv-ara", "one.ara.comtrexx.test", 30}} {
		c := w.client(tt.role)
		var a acme.Account
		if tt.role == "srv-open" {
			var err error
			if a, err = w.register(c, nil); err != nil {
				t.Fatal(err)
			}
		} else {
			a = w.account(c, tt.role)
		}
		for i := range tt.most {
			if err := order(c, a, tt.name); err != nil {
				t.Fatalf("%s: order %d: %v", tt.role, i+1, err)
			}
		}
		if tt.role == "srv-ara" {
			continue
		}
		if err := order(c, a, tt.name); err == nil {
			t.Errorf("%s: one order more", tt.role)
		} else if typ, _ := problem(t, err); typ != "rateLimited" {
			t.Errorf("%s: %s", tt.role, typ)
		}
	}
}
