package acmesrv_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/smallstep/nosql/database"

	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
	"github.com/comtrexx-cloud/comtrexx/pki/store/pgtest"
)

// openStorage gives an empty storage: in the PKI's file, or in PostgreSQL for the tests
// below TestPostgres.
func openStorage(t *testing.T) database.DB {
	t.Helper()
	var db store.DB
	var err error
	if strings.HasPrefix(t.Name(), "TestPostgres/") {
		url, schema := pgtest.Schema(t)
		db, err = store.OpenPostgres(t.Context(), store.PostgresConfig{URL: url, Schema: schema, MaxConnections: 4})
	} else {
		db, err = store.OpenBolt(filepath.Join(t.TempDir(), "pki.db"))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return acmesrv.NewStorage(db)
}

// TestPostgres runs what the server does with its storage once more, in PostgreSQL.
func TestPostgres(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T){
		"AccountBinding":        TestAccountBinding,
		"AccountStaysInItsRole": TestAccountStaysInItsRole,
		"BindingOnce":           TestBindingOnce,
		"Device":                TestDevice,
		"DeviceKeys":            TestDeviceKeys,
		"DeviceKeyReplaced":     TestDeviceKeyReplaced,
		"HookFailsClosed":       TestHookFailsClosed,
		"Issue":                 TestIssue,
		"OrderLimit":            TestOrderLimit,
		"OtherNames":            TestOtherNames,
		"RequestAsksForMore":    TestRequestAsksForMore,
		"ServerGetsItsName":     TestServerGetsItsName,
		"Sweep":                 TestSweep,
	} {
		t.Run(name, test)
	}
}
