package jws

import (
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// TestSignVerify shows what the package does by itself; what it refuses is shown at
// length where statements have a meaning, in ccc/pairing/wire.
func TestSignVerify(t *testing.T) {
	t.Parallel()
	const typ, limit = "test+jws", 4096
	ca := pkitest.New(t, identity.DefaultTrustDomain)
	by := identity.Service(identity.DefaultTrustDomain, "ccc")
	creds := ca.Credentials(by)
	text, err := Sign(creds, typ, []byte("hello"), limit)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if got, err := Verify(creds, now, by, typ, text, limit); string(got) != "hello" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	for name, f := range map[string]func() ([]byte, error){
		"another kind": func() ([]byte, error) { return Verify(creds, now, by, "other+jws", text, limit) },
		"another signer": func() ([]byte, error) {
			return Verify(creds, now, identity.Service(by.TrustDomain, "ara"), typ, text, limit)
		},
		"another root": func() ([]byte, error) {
			return Verify(pkitest.New(t, by.TrustDomain).Credentials(by), now, by, typ, text, limit)
		},
		"another time": func() ([]byte, error) {
			return Verify(creds, creds.Leaf().NotAfter.Add(time.Second), by, typ, text, limit)
		},
		"a smaller limit": func() ([]byte, error) { return Verify(creds, now, by, typ, text, len(text)-1) },
		"changed":         func() ([]byte, error) { return Verify(creds, now, by, typ, strings.Replace(text, ".", ".A", 1), limit) },
	} {
		if got, err := f(); err == nil || got != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := Sign(creds, typ, make([]byte, limit), limit); err == nil {
		t.Error("a statement over the limit was signed")
	}
}
