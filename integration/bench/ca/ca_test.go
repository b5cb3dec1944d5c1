package ca

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/comtrexx-cloud/comtrexx/integration/bench/process"
	"github.com/comtrexx-cloud/comtrexx/integration/bench/score"
	"github.com/comtrexx-cloud/comtrexx/integration/load"
	"github.com/comtrexx-cloud/comtrexx/integration/programs"
	"github.com/comtrexx-cloud/comtrexx/pki/store/pgtest"
)

// usePrograms leaves ours as the only one that can be found, but for step-ca where it
// is named.
func usePrograms(t *testing.T, step string) {
	t.Helper()
	bin, err := programs.Build("pki")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PKI", filepath.Join(bin, "pki"))
	t.Setenv("STEP_CA", step)
	t.Setenv("PATH", t.TempDir())
}

// tiny is a run that takes a second.
func tiny(t *testing.T) Options {
	return Options{
		Clients: 2, Certificates: 6, Rounds: 2, Progress: load.NewProgress(t.Output()),
		Watch: func(ctx context.Context, _ string, _ []int, f func(context.Context) error) error { return f(ctx) },
	}
}

func measure(t *testing.T, o Options) *score.Report {
	t.Helper()
	r := new(score.Report)
	if err := Measure(t.Context(), o, r); err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Cells {
		if c.Errors > 0 {
			t.Errorf("%s of %s: %s", c.Work, c.Contestant, c.First)
		}
	}
	return r
}

// has checks that a contestant has figures of a work in every round.
func has(t *testing.T, r *score.Report, name, work string, rounds int, metrics ...score.Metric) {
	t.Helper()
	for _, m := range metrics {
		if s := score.Of(r.Cells, name, work, m); s.N != rounds || s.Max <= 0 {
			t.Errorf("%s of %s: %s is %v, want %d rounds", work, name, m, s, rounds)
		}
	}
}

func missing(r *score.Report, name string) string {
	for _, c := range r.Contestants {
		if c.Name == name {
			return c.Missing
		}
	}
	return "no row"
}

// Ours is measured with both stores, a program and a database that are not there are
// rows, and a store that was kept is not filled again.
func TestMeasure(t *testing.T) {
	usePrograms(t, "")
	o := tiny(t)
	o.Stored, o.Revoked, o.Stores = 20, 3, t.TempDir()
	r := measure(t, o)
	has(t, r, Crypto, "issue2", 2, score.Certs)
	for _, suffix := range []string{"", "-20"} {
		has(t, r, Pki, "issue2"+suffix, 2, score.Certs, score.P50, score.P99, score.Anon, score.Resident)
		has(t, r, Pki, "start"+suffix, 2, score.StartUp, score.FirstCert, score.Anon)
	}
	has(t, r, Pki, "start-20", 2, score.StoreSize, score.StoreCert)
	has(t, r, Pki, "crl-3", 2, score.CRLTime, score.CRLSize)
	has(t, r, Pki, "fill", 1, score.Certs)
	if got := missing(r, StepCA); !strings.HasPrefix(got, "not installed: step-ca") {
		t.Errorf("step-ca: %q", got)
	}
	if got := missing(r, Postgres); got != "not given: --postgres" {
		t.Errorf("PostgreSQL: %q", got)
	}
	if got := missing(r, Pki); got != "" {
		t.Errorf("ours: %q", got)
	}

	path := filepath.Join(o.Stores, "pki-20-3", filledFile)
	var kept filled
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	if err != nil || kept.Certificates != 20 || kept.Revoked != 3 || kept.Bytes == 0 || kept.PerSecond == 0 {
		t.Fatalf("the kept store says %+v, %v", kept, err)
	}
	again := measure(t, o)
	if got := score.Of(again.Cells, Pki, "fill", score.Certs); got.Median != kept.PerSecond {
		t.Errorf("filled again: %v, was %v", got, kept.PerSecond)
	}
}

func TestPostgres(t *testing.T) {
	url := pgtest.Database(t)
	usePrograms(t, "")
	o := tiny(t)
	o.Postgres = url
	r := measure(t, o)
	has(t, r, Postgres, "issue2", 2, score.Certs, score.P50)
	has(t, r, Postgres, "start", 2, score.StartUp)
}

// A real step-ca, where there is one.
func TestStepCA(t *testing.T) {
	program, err := process.Find("STEP_CA", "step-ca")
	if err != nil {
		t.Fatal(err)
	}
	usePrograms(t, program)
	o := tiny(t)
	o.Stored, o.Revoked = 20, 3
	r := measure(t, o)
	if program == "" { // as everywhere, what is missing is a row
		if got := missing(r, StepCA); !strings.HasPrefix(got, "not installed: step-ca") {
			t.Errorf("the row says %q", got)
		}
		return
	}
	for _, suffix := range []string{"", "-20"} {
		has(t, r, StepCA, "issue2"+suffix, 2, score.Certs, score.P50)
		has(t, r, StepCA, "start"+suffix, 2, score.StartUp, score.FirstCert)
	}
	has(t, r, StepCA, "crl-3", 2, score.CRLTime, score.CRLSize)
}

// A request that is refused is an error and no certificate, and an answer for another
// device is none either.
func TestRefused(t *testing.T) {
	usePrograms(t, "")
	c, err := newPki(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	devices, err := makeDevices(4)
	if err == nil {
		err = c.evidence(t.Context(), devices)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.(*pki).tokens.Store(devices[1].id, "no token")
	s, err := start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.process.Stop()
	result, err := s.issue(t.Context(), devices[:3], 2)
	if err != nil || result.errors != 1 || result.latency.Count != 3 {
		t.Fatalf("got %+v, %v", result, err)
	}
	var status statusError
	if !errors.As(result.first, &status) || status.status != 401 {
		t.Errorf("the error is %v", result.first)
	}
	path, body, err := c.ask(devices[3])
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.do(t.Context(), s.client(), "POST", path, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.leaf(answer, devices[3]); err != nil {
		t.Errorf("its own certificate: %v", err)
	}
	if _, err := s.leaf(answer, devices[0]); err == nil {
		t.Error("the certificate of another device was taken")
	}
}

// A program that is named and not there is an error, not a row.
func TestWrongVariable(t *testing.T) {
	usePrograms(t, filepath.Join(t.TempDir(), "step-ca"))
	if err := Measure(t.Context(), tiny(t), new(score.Report)); err == nil || !strings.Contains(err.Error(), "STEP_CA") {
		t.Errorf("got %v", err)
	}
}

// Copies have serial numbers of their own, in every table, and only so many are revoked.
func TestStepCopies(t *testing.T) {
	t.Parallel()
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	const copies, revoked = 20, 7
	err = db.Update(func(tx *bbolt.Tx) error {
		for table, kv := range map[string][2]string{
			"x509_certs": {"5", "DER"}, "x509_certs_data": {"5", "{}"}, "used_ott": {"id", "the token"},
			"revoked_x509_certs": {"5", `{"Serial":"5","ReasonCode":1}`},
		} {
			b, err := tx.CreateBucket([]byte(table))
			if err == nil {
				err = b.Put([]byte(kv[0]), []byte(kv[1]))
			}
			if err != nil {
				return err
			}
		}
		if _, err := original(tx, "6"); err == nil {
			t.Error("a certificate that is not there was found")
		}
		o, err := original(tx, "5")
		for i := range copies {
			err = errors.Join(err, o.copy(tx, i < revoked))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		for table, want := range map[string]int{
			"x509_certs": copies + 1, "x509_certs_data": copies + 1, "used_ott": copies + 1, "revoked_x509_certs": revoked + 1,
		} {
			if n := tx.Bucket([]byte(table)).Stats().KeyN; n != want {
				t.Errorf("%s has %d entries, want %d", table, n, want)
			}
		}
		return tx.Bucket(stepRevoked).ForEach(func(k, v []byte) error {
			var entry struct{ Serial string }
			if err := json.Unmarshal(v, &entry); err != nil || entry.Serial != string(k) {
				t.Errorf("%s has %s", k, v)
			}
			if tx.Bucket(stepCerts).Get(k) == nil {
				t.Errorf("%s is revoked, and no certificate", k)
			}
			return nil
		})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestParallel(t *testing.T) {
	t.Parallel()
	var sum atomic.Int64
	if err := parallel(100, 7, func(i int) error { sum.Add(int64(i)); return nil }); err != nil || sum.Load() != 4950 {
		t.Errorf("sum %d, %v", sum.Load(), err)
	}
	wrong := errors.New("wrong")
	if err := parallel(100, 1, func(i int) error {
		sum.Store(int64(i))
		if i == 3 {
			return wrong
		}
		return nil
	}); !errors.Is(err, wrong) || sum.Load() != 3 {
		t.Errorf("ended at %d with %v", sum.Load(), err)
	}
}
