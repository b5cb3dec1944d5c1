package authority

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

const list = "serial,model,batch\n0123456789,5500R,b1\n9999999999,5500R,b1\n"

func imported(t testing.TB, a *Authority, text string) Imported {
	t.Helper()
	n, err := a.ImportDevices(t.Context(), strings.NewReader(text), "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func csrOf(t testing.TB, tmpl x509.CertificateRequest) *x509.CertificateRequest {
	t.Helper()
	_, text := request(t, tmpl)
	csr, err := enrol.ParseRequest(text)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func chainOf(f *pkitest.Factory, serial identity.Serial, change func(*x509.Certificate)) []*x509.Certificate {
	return []*x509.Certificate{f.Box(serial, change).Leaf, f.Root}
}

func leafOf(t testing.TB, issued enrol.Issued) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(issued.Chain))
	if block == nil {
		t.Fatal("no certificate was issued")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func TestEnrolFactory(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	imported(t, a, list)
	f := pkitest.NewFactory(t, "Factory")
	box := chainOf(f, device.Serial(), nil)
	issued, err := a.EnrolFactory(t.Context(), box, csrOf(t, x509.CertificateRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	leaf := leafOf(t, issued)
	if id, err := identity.FromCert(leaf); err != nil || id != device {
		t.Errorf("issued for %s, %v", id, err)
	}
	if leaf.NotAfter.After(time.Now().Add(31 * 24 * time.Hour)) {
		t.Errorf("the factory certificate's own lifetime got through: %s", leaf.NotAfter)
	}
	if e := last(t, a); e.Event != audit.EventIssue || e.Method != MethodFactory || !strings.Contains(e.Actor, serialOf(box[0])) {
		t.Errorf("audit log says %+v", e)
	}
	// The same box again, as after a factory reset: it ends what it had.
	if _, err := a.EnrolFactory(t.Context(), box, csrOf(t, x509.CertificateRequest{})); err != nil {
		t.Fatal(err)
	}
	if certs, err := a.Certificates(t.Context(), device); err != nil || len(certs) != 2 || certs[0].State != StateSuperseded || certs[1].State != StateActive {
		t.Errorf("certificates %+v, %v", certs, err)
	}
	d, err := a.Device(t.Context(), device.Serial())
	if err != nil || d.Factory != spki(box[0].RawSubjectPublicKeyInfo) || d.State != StateActive || d.Enrolled.IsZero() {
		t.Errorf("device %+v, %v", d, err)
	}
}

func TestEnrolFactoryRefusals(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	imported(t, a, list)
	f := pkitest.NewFactory(t, "Factory")
	if _, err := a.EnrolFactory(t.Context(), chainOf(f, device.Serial(), nil), csrOf(t, x509.CertificateRequest{})); err != nil {
		t.Fatal("the control does not work:", err)
	}
	for name, c := range map[string]struct {
		chain []*x509.Certificate
		want  error
		event string
	}{
		"another box with this serial": {chainOf(f, device.Serial(), nil), enrol.ErrConflict, audit.EventConflict},
		"a serial that nobody knows":   {chainOf(f, "5555555555", nil), enrol.ErrUnknown, audit.EventRefuse},
		"another model": {chainOf(f, other.Serial(), func(c *x509.Certificate) {
			c.Subject.OrganizationalUnit = []string{"3000"}
		}), enrol.ErrConflict, audit.EventConflict},
		"no serial":                       {chainOf(f, "", nil), enrol.ErrForbidden, ""},
		"a serial without a leading zero": {chainOf(f, "123456789", nil), enrol.ErrForbidden, ""},
		"nothing":                         {nil, enrol.ErrForbidden, ""},
	} {
		before := len(entries(t, a))
		issued, err := a.EnrolFactory(t.Context(), c.chain, csrOf(t, x509.CertificateRequest{}))
		if !errors.Is(err, c.want) || issued.Chain != "" {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if all := entries(t, a); c.event != "" && (len(all) != before+1 || all[before].Event != c.event) || c.event == "" && len(all) != before {
			t.Errorf("%s: audit log goes on with %+v", name, all[before:])
		}
	}
	if n := issuedTo(t, a, identity.ID{}); n != 1 {
		t.Errorf("%d certificates in all", n)
	}
}

// A factory key that came with the import is the only one from the beginning.
func TestImportedFactoryKey(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	f := pkitest.NewFactory(t, "Factory")
	box := chainOf(f, device.Serial(), nil)
	text := "factory_spki_sha256,serial\n" + spki(box[0].RawSubjectPublicKeyInfo) + ",0123456789\n"
	imported(t, a, text)
	if _, err := a.EnrolFactory(t.Context(), chainOf(f, device.Serial(), nil), csrOf(t, x509.CertificateRequest{})); !errors.Is(err, enrol.ErrConflict) {
		t.Errorf("a box with another key: %v", err)
	}
	if _, err := a.EnrolFactory(t.Context(), box, csrOf(t, x509.CertificateRequest{})); err != nil {
		t.Error(err)
	}
	_, err := a.ImportDevices(t.Context(), strings.NewReader("serial,factory_spki_sha256\n0123456789,"+strings.Repeat("00", 32)), "test", nil)
	if !errors.Is(err, enrol.ErrConflict) || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("another key by import: %v", err)
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	imported(t, a, list)
	serial := device.Serial()
	enrolWith := func(secret string) error {
		_, err := a.EnrolSecret(t.Context(), serial, secret, csrOf(t, x509.CertificateRequest{}))
		return err
	}
	if err := enrolWith("nothing was set yet"); !errors.Is(err, enrol.ErrSecret) {
		t.Errorf("without a secret: %v", err)
	}
	secret, err := a.ResetSecret(t.Context(), serial, "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := enrolWith("wrong"); !errors.Is(err, enrol.ErrSecret) || last(t, a).Reason != "wrong secret" {
		t.Errorf("wrong secret: %v, audit log says %+v", err, last(t, a))
	}
	if err := enrolWith(strings.ToLower(secret)); err != nil {
		t.Error(err)
	}
	if err := enrolWith(secret); !errors.Is(err, enrol.ErrSecret) || !strings.HasPrefix(last(t, a).Reason, "the secret was used") {
		t.Errorf("used secret: %v, audit log says %+v", err, last(t, a))
	}
	if d, err := a.Device(t.Context(), serial); err != nil || d.Secret != "used" || !d.Hash.IsZero() {
		t.Errorf("device %+v, %v", d, err)
	}
	if secret, err = a.ResetSecret(t.Context(), serial, "test"); err != nil {
		t.Fatal(err)
	}
	if err := enrolWith(secret); err != nil {
		t.Error("armed again:", err)
	}
	if n := issuedTo(t, a, device); n != 2 {
		t.Errorf("%d certificates", n)
	}
	if _, err := a.ResetSecret(t.Context(), "5555555555", "test"); !errors.Is(err, enrol.ErrUnknown) {
		t.Errorf("secret for an unknown serial: %v", err)
	}
}

// A serial without a secret takes as long as one with a wrong secret: both are the work
// that OWASP has as the least.
func TestSecretHashing(t *testing.T) {
	t.Parallel()
	none, _, _, err := argon2id.DecodeHash(noSecret)
	if err != nil {
		t.Fatal(err)
	}
	if want := (argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}); serviceHashing != want || *none != want {
		t.Errorf("secrets are hashed with %+v, none with %+v, want %+v", serviceHashing, *none, want)
	}
}

// The power went before the device had its certificate: it asks again with the same
// secret and key. Nobody else can, and it cannot for ever.
func TestSecretAgain(t *testing.T) {
	t.Parallel()
	dir, now := stateDir(t), time.Now()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now)) // the bubble starts in 2000, before the keys were made
		a, err := New(Config{StateDir: dir, PlainKeys: true})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		imported(t, a, list)
		secret, err := a.ResetSecret(t.Context(), device.Serial(), "test")
		if err != nil {
			t.Fatal(err)
		}
		key := csrOf(t, x509.CertificateRequest{})
		try := func(csr *x509.CertificateRequest) error {
			_, err := a.EnrolSecret(t.Context(), device.Serial(), secret, csr)
			return err
		}
		for range 2 {
			if err := try(key); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		if err := try(csrOf(t, x509.CertificateRequest{})); !errors.Is(err, enrol.ErrSecret) {
			t.Errorf("another key: %v", err)
		}
		certs, err := a.Certificates(t.Context(), device)
		if err != nil || len(certs) != 2 || certs[0].State != StateSuperseded || certs[1].State != StateActive {
			t.Errorf("certificates %+v, %v", certs, err)
		}
		time.Sleep(23 * time.Hour)
		if err := try(key); !errors.Is(err, enrol.ErrSecret) {
			t.Errorf("a day later: %v", err)
		}
	})
}

// Nobody can fill the store by guessing serials.
func TestUnknownSerialsLeaveNothing(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	before := len(entries(t, a))
	if _, err := a.EnrolSecret(t.Context(), "5555555555", "guess", csrOf(t, x509.CertificateRequest{})); !errors.Is(err, enrol.ErrSecret) {
		t.Error(err)
	}
	if devices, err := a.Devices(t.Context(), "", "", "", 10); err != nil || len(devices) != 0 || len(entries(t, a)) != before {
		t.Errorf("devices %+v, %v, %d audit entries", devices, err, len(entries(t, a))-before)
	}
}

func TestSecretTries(t *testing.T) {
	t.Parallel()
	dir, now := stateDir(t), time.Now()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now)) // the bubble starts in 2000, before the keys were made
		a, err := New(Config{StateDir: dir, PlainKeys: true})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		imported(t, a, list)
		secret, err := a.ResetSecret(t.Context(), device.Serial(), "test")
		if err != nil {
			t.Fatal(err)
		}
		try := func(secret string) error {
			_, err := a.EnrolSecret(t.Context(), device.Serial(), secret, csrOf(t, x509.CertificateRequest{}))
			return err
		}
		for range 5 {
			if err := try("wrong"); !errors.Is(err, enrol.ErrSecret) {
				t.Fatal(err)
			}
		}
		before := len(entries(t, a))
		if err := try(secret); !errors.Is(err, enrol.ErrRateLimit) {
			t.Errorf("the sixth try, with the right secret: %v", err)
		}
		if len(entries(t, a)) != before {
			t.Error("tries that are not looked at fill the audit log")
		}
		time.Sleep(15 * time.Minute)
		if err := try(secret); err != nil {
			t.Error("after the pause:", err)
		}
	})
}

// Of 50 who have the same secret, one gets a certificate.
func TestSecretOnce(t *testing.T) {
	t.Parallel()
	a := open(t, Config{Limits: Limits{SecretTries: -1}})
	imported(t, a, list)
	secret, err := a.ResetSecret(t.Context(), device.Serial(), "test")
	if err != nil {
		t.Fatal(err)
	}
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		csr := csrOf(t, x509.CertificateRequest{})
		wg.Go(func() {
			_, err := a.EnrolSecret(t.Context(), device.Serial(), secret, csr)
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, enrol.ErrSecret) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || issuedTo(t, a, device) != 1 {
		t.Errorf("%d won, %d certificates", won.Load(), issuedTo(t, a, device))
	}
}

func TestIssueLimits(t *testing.T) {
	t.Parallel()
	dir, now := stateDir(t), time.Now()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now))
		a, err := New(Config{StateDir: dir, PlainKeys: true})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		creds := enrolled(t, a, device)
		for i := 1; i < 20; i++ {
			next, err := renew(t, a, creds)
			if i%5 == 0 { // the sixth within an hour
				if !errors.Is(err, enrol.ErrRateLimit) {
					t.Fatalf("certificate %d: %v", i+1, err)
				}
				time.Sleep(time.Hour)
				next, err = renew(t, a, creds)
			}
			if err != nil {
				t.Fatalf("certificate %d: %v", i+1, err)
			}
			creds = next
		}
		time.Sleep(time.Hour)
		if _, err := renew(t, a, creds); !errors.Is(err, enrol.ErrRateLimit) || !strings.Contains(err.Error(), "per_day") {
			t.Errorf("the 21st in a day: %v", err)
		}
		if _, err := a.Credentials(t.Context(), device, profile.Extra{}, "test"); err != nil {
			t.Error("the administrator:", err)
		}
		enrolled(t, a, other) // has limits of its own
		time.Sleep(24 * time.Hour)
		enrolled(t, a, device)
	})
}

func TestRetire(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	creds := enrolled(t, a, device)
	if _, err := a.Retire(t.Context(), device.Serial(), "scrapped", "test"); err != nil {
		t.Fatal(err)
	}
	if !a.Feed().List().Blocked(device) {
		t.Error("relays do not hear of it")
	}
	if _, err := renew(t, a, creds); !errors.Is(err, enrol.ErrBlocked) || !strings.Contains(err.Error(), "retired") {
		t.Errorf("renewal: %v", err)
	}
	if _, err := a.Unblock(t.Context(), device, "", "test"); !errors.Is(err, enrol.ErrForbidden) {
		t.Errorf("unblocking what is retired: %v", err)
	}
	if _, err := a.Block(t.Context(), device, "", "test"); err != nil {
		t.Error(err)
	}
	if d, err := a.Device(t.Context(), device.Serial()); err != nil || d.State != StateRetired {
		t.Errorf("a block has undone the retirement: %+v, %v", d, err)
	}
	if _, err := a.Reinstate(t.Context(), device.Serial(), "mistake", "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := renew(t, a, creds); err != nil {
		t.Error("after reinstating:", err)
	}
	// From blocked to retired is a change, too.
	if _, err := a.Block(t.Context(), other, "stolen", "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Reinstate(t.Context(), other.Serial(), "", "test"); !errors.Is(err, enrol.ErrForbidden) {
		t.Errorf("reinstating what is blocked: %v", err)
	}
	if _, err := a.Retire(t.Context(), other.Serial(), "scrapped", "test"); err != nil {
		t.Fatal(err)
	}
	if devices, err := a.Devices(t.Context(), "", "", StateRetired, 10); err != nil || len(devices) != 1 || devices[0].Serial != other.Serial() {
		t.Errorf("retired devices %+v, %v", devices, err)
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	if n := imported(t, a, "\ufeff"+list); n != (Imported{Rows: 2, Added: 2}) {
		t.Errorf("first import: %+v", n)
	}
	if n := imported(t, a, list); n != (Imported{Rows: 2}) {
		t.Errorf("second import: %+v", n)
	}
	if n := imported(t, a, "serial,batch,secret\n9999999999,b2,correct horse\n"); n != (Imported{Rows: 1, Changed: 1}) {
		t.Errorf("third import: %+v", n)
	}
	d, err := a.Device(t.Context(), other.Serial())
	if err != nil || d.Model != "5500R" || d.Batch != "b2" || d.Secret != "armed" {
		t.Errorf("device %+v, %v", d, err)
	}
	if _, err := a.EnrolSecret(t.Context(), other.Serial(), "correct horse", csrOf(t, x509.CertificateRequest{})); err != nil {
		t.Error("the imported secret:", err)
	}
	hash, err := hashSecret("made in the factory")
	if err != nil {
		t.Fatal(err)
	}
	imported(t, a, "serial,secret_hash\n0123456789,\""+hash+"\"\n")
	if _, err := a.EnrolSecret(t.Context(), device.Serial(), "MADE in the factory", csrOf(t, x509.CertificateRequest{})); err != nil {
		t.Error("the imported hash:", err)
	}

	var big strings.Builder
	big.WriteString("serial\n")
	for i := range importBatch + 3 {
		fmt.Fprintf(&big, "1%09d\n", i)
	}
	var steps []int
	if _, err := a.ImportDevices(t.Context(), strings.NewReader(big.String()), "test", func(rows int) { steps = append(steps, rows) }); err != nil {
		t.Fatal(err)
	}
	if len(steps) != 2 || steps[1] != importBatch+3 {
		t.Errorf("progress %v", steps)
	}
	first, err := a.Devices(t.Context(), "1", "", "", 10)
	if err != nil || len(first) != 10 || first[9].Serial != "1000000009" {
		t.Fatalf("%+v, %v", first, err)
	}
	if next, err := a.Devices(t.Context(), "1", first[9].Serial, "", 1); err != nil || len(next) != 1 || next[0].Serial != "1000000010" {
		t.Errorf("%+v, %v", next, err)
	}
}

func TestImportRefusals(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	for text, want := range map[string]string{
		"":                                 "header",
		"serial\n":                         "no devices",
		"model\nx\n":                       "serial is missing",
		"serial,colour\n0123456789,red\n":  `column "colour"`,
		"serial,serial\n0123456789,1\n":    "twice",
		"serial\n0123456789\n123456789\n":  "line 3: serial",
		"serial\n0123456789\n0123456789\n": "line 3: serial 0123456789 is in line 2",
		"serial,model\n0123456789\n":       "wrong number of fields",
		"serial,factory_spki_sha256\n0123456789,abc\n": "64 hex",
		"serial,secret\n0123456789,short\n":            "secret: want 8",
		"serial,secret_hash\n0123456789,$2y$10$abc\n":  "argon2id",
		"serial,secret_hash\n0123456789,\"$argon2id$v=19$m=9999999,t=2,p=1$bm8gc2VjcmV0IGhlcmUuLg$Ah4RIDF0sz5R2oFhq1NyqL8jPtqvPjNn8v1Qd2VwZ3E\"\n": "too long to check",
		"serial,model\n0123456789," + strings.Repeat("x", maxWord+1):                                                                               "model",
	} {
		_, err := a.ImportDevices(t.Context(), strings.NewReader(text), "test", nil)
		if !errors.Is(err, enrol.ErrBadRequest) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if devices, err := a.Devices(t.Context(), "", "", "", 10); err != nil || len(devices) != 0 {
		t.Errorf("devices %+v, %v", devices, err)
	}
}

// Certificates of a store from before there was a list of devices go on working.
func TestOldStore(t *testing.T) {
	t.Parallel()
	dir := stateDir(t)
	a, err := New(Config{StateDir: dir, PlainKeys: true})
	if err != nil {
		t.Fatal(err)
	}
	creds := enrolled(t, a, device)
	if err := a.db.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(tx.Delete(bucketDevices, []byte(device.Name)), tx.Delete(bucketMeta, keyListed))
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := renew(t, a, creds); !errors.Is(err, enrol.ErrUnknown) {
		t.Fatalf("the control does not work: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := renew(t, open(t, Config{StateDir: dir, PlainKeys: true}), creds); err != nil {
		t.Error(err)
	}
}

func TestRecover(t *testing.T) {
	t.Parallel()
	dir, now := stateDir(t), time.Now()
	const day = 24 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now))
		a, err := New(Config{StateDir: dir, PlainKeys: true})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		recovered := func(c *enrol.Credentials) error {
			_, err := a.Recover(t.Context(), c.Leaf(), csrOf(t, x509.CertificateRequest{}))
			return err
		}
		creds := map[string]*enrol.Credentials{}
		for i, name := range []string{"a day", "399 days", "401 days", "blocked", "superseded"} {
			creds[name] = enrolled(t, a, identity.Device(td, identity.Serial(fmt.Sprintf("%010d", i))))
		}
		old := creds["superseded"]
		next, err := renew(t, a, old)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Confirm(t.Context(), next.Leaf()); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Block(t.Context(), creds["blocked"].ID(), "", "test"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * day)
		if _, err := renew(t, a, creds["a day"]); !errors.Is(err, enrol.ErrExpired) {
			t.Errorf("renewal of an expired certificate: %v", err)
		}
		if err := recovered(creds["a day"]); err != nil {
			t.Error("a day:", err)
		}
		if err := recovered(creds["blocked"]); !errors.Is(err, enrol.ErrBlocked) {
			t.Error("blocked:", err)
		}
		if err := recovered(old); !errors.Is(err, enrol.ErrSuperseded) || last(t, a).Event != audit.EventClone {
			t.Errorf("superseded: %v, audit log says %+v", err, last(t, a))
		}
		time.Sleep(398 * day)
		if err := recovered(creds["399 days"]); err != nil {
			t.Error("399 days:", err)
		}
		time.Sleep(2 * day)
		if err := recovered(creds["401 days"]); !errors.Is(err, enrol.ErrExpired) {
			t.Error("401 days:", err)
		}
	})
}

func FuzzReadDevices(f *testing.F) {
	f.Add(list)
	f.Add("serial,secret_hash\n0123456789,\"$argon2id$v=19$m=19456,t=2,p=1$bm8gc2VjcmV0IGhlcmUuLg$Ah4RIDF0sz5R2oFhq1NyqL8jPtqvPjNn8v1Qd2VwZ3E\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := readDevices(strings.NewReader(text))
		if err != nil {
			if !errors.Is(err, enrol.ErrBadRequest) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		for _, r := range rows {
			if _, err := identity.ParseSerial(string(r.Serial)); err != nil || len(r.Model) > maxWord || len(r.Batch) > maxWord {
				t.Errorf("read %+v", r)
			}
		}
	})
}
