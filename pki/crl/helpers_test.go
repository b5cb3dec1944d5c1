package crl

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/comtrexx-cloud/comtrexx/pki/store/pgtest.(*Server).start.func1"))
}

const td = identity.DefaultTrustDomain

// The buckets of the source of these tests.
const (
	testBlocks store.Bucket = "test_blocks"
	testCerts  store.Bucket = "test_certs"
	testIndex  store.Bucket = "test_index"
	testMeta   store.Bucket = "test_meta"
)

// ledger is a small authority: a source that tests can change.
type ledger struct {
	db store.DB

	mu      sync.Mutex // guards changed
	changed chan struct{}
}

type testCert struct {
	Certificate
	Identity string
}

func newLedger(t testing.TB) *ledger {
	t.Helper()
	return &ledger{db: inBolt(t), changed: make(chan struct{})}
}

func inBolt(t testing.TB) store.DB {
	t.Helper()
	db, err := store.OpenBolt(filepath.Join(t.TempDir(), "test.db"))
	return opened(t, db, err)
}

// opened closes a store after the test.
func opened(t testing.TB, db store.DB, err error) store.DB {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func (l *ledger) update(t testing.TB, f func(store.Tx) error) {
	t.Helper()
	if err := l.db.Update(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// issue notes a certificate of the identity.
func (l *ledger) issue(t testing.TB, i Issuer, id string, serial int64, notAfter time.Time) {
	t.Helper()
	l.update(t, func(tx store.Tx) error { return addTestCert(tx, i, id, serial, notAfter) })
}

func addTestCert(tx store.Tx, i Issuer, id string, serial int64, notAfter time.Time) error {
	c := testCert{Certificate{big.NewInt(serial), notAfter, i.Cert.SubjectKeyId}, id}
	key := []byte(c.Serial.Text(16))
	if err := tx.Put(testCerts, key, mustJSON(c)); err != nil {
		return err
	}
	return tx.Put(testIndex, append([]byte(id+"\x00"), key...), key)
}

// revoke changes the state of an identity; a nil revocation ends one.
func (l *ledger) revoke(t testing.TB, id string, r *Revocation) {
	t.Helper()
	l.update(t, func(tx store.Tx) error {
		epoch, err := l.Epoch(tx)
		if err != nil {
			return err
		}
		epoch++
		if err := tx.Put(testMeta, []byte("epoch"), strconv.AppendUint(nil, epoch, 10)); err != nil {
			return err
		}
		if r == nil {
			return tx.Delete(testBlocks, []byte(id))
		}
		stored := *r
		stored.Identity, stored.Epoch = id, epoch
		return tx.Put(testBlocks, []byte(id), mustJSON(stored))
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *ledger) watch() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *ledger) Epoch(tx store.Tx) (uint64, error) {
	text, err := tx.Get(testMeta, []byte("epoch"))
	if err != nil || text == nil {
		return 0, err
	}
	return strconv.ParseUint(string(text), 10, 64)
}

func (l *ledger) Revocations(tx store.Tx, f func(Revocation) error) error {
	return tx.Scan(testBlocks, nil, nil, func(_, v []byte) (bool, error) {
		var r Revocation
		if err := json.Unmarshal(v, &r); err != nil {
			return false, err
		}
		return true, f(r)
	})
}

func (l *ledger) cert(tx store.Tx, key []byte) (c testCert, ok bool, err error) {
	data, err := tx.Get(testCerts, key)
	if err != nil || data == nil {
		return c, false, err
	}
	return c, true, json.Unmarshal(data, &c)
}

func (l *ledger) CertificatesOf(tx store.Tx, id string, f func(Certificate) error) error {
	return tx.Scan(testIndex, []byte(id+"\x00"), nil, func(_, key []byte) (bool, error) {
		c, _, err := l.cert(tx, key)
		if err != nil {
			return false, err
		}
		return true, f(c.Certificate)
	})
}

func (l *ledger) Find(tx store.Tx, serial *big.Int) (*Certificate, *Revocation, error) {
	c, ok, err := l.cert(tx, []byte(serial.Text(16)))
	if err != nil || !ok {
		return nil, nil, err
	}
	data, err := tx.Get(testBlocks, []byte(c.Identity))
	if err != nil || data == nil {
		return &c.Certificate, nil, err
	}
	r := &Revocation{}
	return &c.Certificate, r, json.Unmarshal(data, r)
}

// newIssuer makes an intermediate that is its own root.
func newIssuer(t testing.TB, kind identity.Kind, newest bool) Issuer {
	t.Helper()
	key := pkitest.NewKey()
	template := profile.Intermediate(td, kind)
	profile.Constrain(template, td, kind)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(365*24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return Issuer{Kind: kind, Newest: newest, Cert: cert, Key: key}
}

// service makes one on the ledger's store, or on another view of it.
func (l *ledger) service(t testing.TB, db store.DB, cfg Config, issuers ...Issuer) *Service {
	t.Helper()
	if db == nil {
		db = l.db
	}
	cfg.DB, cfg.Source, cfg.Changed = db, l, l.watch
	cfg.Issuers = func() []Issuer { return issuers }
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func build(t testing.TB, s *Service) {
	t.Helper()
	if err := s.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// list gives the list of the issuer that the store has, which must verify.
func list(t testing.TB, db store.DB, i Issuer) *x509.RevocationList {
	t.Helper()
	var der []byte
	if err := db.View(t.Context(), func(tx store.Tx) error {
		st, err := stateOf(tx, i.Name())
		if err == nil {
			der, err = getList(tx, i.Name(), st.Parts)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if der == nil {
		t.Fatalf("no list %s", i.Name())
	}
	out, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.CheckSignatureFrom(i.Cert); err != nil {
		t.Fatal(err)
	}
	return out
}

// shown gives the serial numbers of a list with their reasons.
func shown(l *x509.RevocationList) string {
	out := ""
	for _, e := range l.RevokedCertificateEntries {
		out += fmt.Sprintf("%d:%d ", e.SerialNumber, e.ReasonCode)
	}
	return out
}

// recorder notes every list that is committed, in order.
type recorder struct {
	store.DB
	mu    *sync.Mutex // guards lists
	lists *[]*x509.RevocationList
}

type recordingTx struct {
	store.Tx
	der [][]byte
}

func (t *recordingTx) Put(b store.Bucket, key, value []byte) error {
	if b == bucket && string(key[:5]) == "list/" {
		t.der = append(t.der, value)
	}
	return t.Tx.Put(b, key, value)
}

// Update keeps the lists of what was committed, in any order.
func (r recorder) Update(ctx context.Context, f func(store.Tx) error) error {
	rt := &recordingTx{}
	err := r.DB.Update(ctx, func(tx store.Tx) error {
		rt.Tx, rt.der = tx, nil
		return f(rt)
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, der := range rt.der {
		l, err := x509.ParseRevocationList(der)
		if err != nil {
			return err
		}
		*r.lists = append(*r.lists, l)
	}
	return nil
}
