package crl

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
	"github.com/comtrexx-cloud/comtrexx/pki/store/pgtest"
)

// Each list has what its own intermediate issued to those that are blocked or
// retired, and both verify.
func TestListOfEachIssuer(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	old, now := newIssuer(t, identity.KindDevice, false), newIssuer(t, identity.KindDevice, true)
	later := time.Now().Add(24 * time.Hour)
	l.issue(t, old, "device/1", 1, later)
	l.issue(t, now, "device/1", 2, later)
	l.issue(t, now, "device/2", 3, later)
	l.issue(t, now, "device/2", 4, time.Now().Add(-time.Minute)) // for one more list
	l.issue(t, now, "device/2", 5, time.Now().Add(-2*time.Hour))
	l.issue(t, now, "device/3", 6, later)
	s := l.service(t, nil, Config{}, old, now)

	build(t, s)
	if got := shown(list(t, l.db, old)) + shown(list(t, l.db, now)); got != "" {
		t.Errorf("at first: %s", got)
	}
	at := time.Now().Add(-time.Hour).Truncate(time.Second).UTC()
	l.revoke(t, "device/1", &Revocation{Time: at})
	l.revoke(t, "device/2", &Revocation{Time: at, Final: true})
	build(t, s)
	first := list(t, l.db, now)
	if got, want := shown(list(t, l.db, old))+"| "+shown(first), "1:6 | 2:6 3:5 4:5 "; got != want {
		t.Errorf("blocked: %s, want %s", got, want)
	}
	if got := first.RevokedCertificateEntries[0].RevocationTime; !got.Equal(at) {
		t.Errorf("revoked at %s, want %s", got, at)
	}
	if life := first.NextUpdate.Sub(first.ThisUpdate); life != time.Hour+skew {
		t.Errorf("the list is valid for %s", life)
	}
	l.revoke(t, "device/1", nil)
	build(t, s)
	second := list(t, l.db, now)
	if got, want := shown(list(t, l.db, old))+"| "+shown(second), "| 3:5 4:5 "; got != want {
		t.Errorf("unblocked: %s, want %s", got, want)
	}
	if second.Number.Cmp(first.Number) <= 0 {
		t.Errorf("number %d after %d", second.Number, first.Number)
	}
	// Blocked again, with a certificate from in between.
	l.issue(t, now, "device/1", 7, later)
	l.revoke(t, "device/1", &Revocation{Time: at})
	build(t, s)
	if got, want := shown(list(t, l.db, now)), "2:6 7:6 3:5 4:5 "; got != want {
		t.Errorf("blocked again: %s, want %s", got, want)
	}
	// Nothing to do, nothing done.
	third := list(t, l.db, now)
	build(t, s)
	if got := list(t, l.db, now); got.Number.Cmp(third.Number) != 0 {
		t.Errorf("a list was made without need: %d after %d", got.Number, third.Number)
	}
}

// Two instances, twenty blocks at once on each: numbers rise strictly, and no list
// shows less than the one before. In PostgreSQL each instance has its own connection.
func TestConcurrentBlocks(t *testing.T) {
	t.Parallel()
	t.Run("bbolt", func(t *testing.T) {
		t.Parallel()
		db := inBolt(t)
		concurrentBlocks(t, db, db)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		url, schema := pgtest.Schema(t)
		connect := func() store.DB {
			db, err := store.OpenPostgres(t.Context(), store.PostgresConfig{URL: url, Schema: schema, MaxConnections: 4})
			return opened(t, db, err)
		}
		concurrentBlocks(t, connect(), connect())
	})
}

func concurrentBlocks(t *testing.T, instances ...store.DB) {
	const blocks = 20
	l := &ledger{db: instances[0], changed: make(chan struct{})}
	issuer := newIssuer(t, identity.KindDevice, true)
	for n := range int64(len(instances) * blocks) {
		l.issue(t, issuer, fmt.Sprintf("device/%d", n), n+1, time.Now().Add(time.Hour))
	}
	var lists []*x509.RevocationList
	var mu sync.Mutex
	build(t, l.service(t, recorder{l.db, &mu, &lists}, Config{}, issuer))
	var wg sync.WaitGroup
	for i, db := range instances {
		s := l.service(t, recorder{db, &mu, &lists}, Config{}, issuer)
		for n := range blocks {
			wg.Go(func() {
				serial := i*blocks + n + 1
				l.revoke(t, fmt.Sprintf("device/%d", serial-1), &Revocation{Time: time.Now()})
				if err := s.Build(t.Context()); err != nil {
					t.Error(err)
				}
				// What was blocked before is in the list.
				if !strings.Contains(" "+shown(list(t, l.db, issuer)), fmt.Sprintf(" %d:6 ", serial)) {
					t.Errorf("certificate %d is not in the list after its block", serial)
				}
			})
		}
	}
	wg.Wait()
	if len(lists) < 2 { // one list may show many blocks
		t.Fatalf("%d lists were made", len(lists))
	}
	slices.SortFunc(lists, func(a, b *x509.RevocationList) int { return a.Number.Cmp(b.Number) })
	for n, now := range lists[1:] {
		before := lists[n]
		if now.Number.Cmp(before.Number) <= 0 {
			t.Errorf("number %d after %d", now.Number, before.Number)
		}
		if len(now.RevokedCertificateEntries) < len(before.RevokedCertificateEntries) {
			t.Errorf("list %d has %d entries after %d", now.Number, len(now.RevokedCertificateEntries), len(before.RevokedCertificateEntries))
		}
	}
	if got := len(lists[len(lists)-1].RevokedCertificateEntries); got != len(instances)*blocks {
		t.Errorf("the last list has %d entries, want %d", got, len(instances)*blocks)
	}
}

// dropping is a store that loses the process between claim and publication.
type dropping struct{ store.DB }

var errGone = errors.New("the process is gone")

func (d dropping) Update(ctx context.Context, f func(store.Tx) error) error {
	return d.DB.Update(ctx, func(tx store.Tx) error { return f(droppingTx{tx}) })
}

type droppingTx struct{ store.Tx }

func (d droppingTx) Put(b store.Bucket, key, value []byte) error {
	if strings.HasPrefix(string(key), "list/") {
		return errGone
	}
	return d.Tx.Put(b, key, value)
}

// A process that ends while it makes a list holds up the others for the lease.
func TestLostBuilder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(t)
		issuer := newIssuer(t, identity.KindDevice, true)
		l.issue(t, issuer, "device/1", 1, time.Now().Add(24*time.Hour))
		other := l.service(t, nil, Config{}, issuer)
		build(t, other)
		l.revoke(t, "device/1", &Revocation{Time: time.Now()})
		if err := l.service(t, dropping{l.db}, Config{}, issuer).Build(t.Context()); !errors.Is(err, errGone) {
			t.Fatal(err)
		}
		if got := shown(list(t, l.db, issuer)); got != "" {
			t.Fatalf("the list shows %s", got)
		}
		start := time.Now()
		build(t, other)
		if took := time.Since(start); took < lease || took > lease+2*time.Second {
			t.Errorf("the other waited for %s, want %s", took, lease)
		}
		if got := shown(list(t, l.db, issuer)); got != "1:6 " {
			t.Errorf("then the list shows %s", got)
		}
	})
}

// Run makes a list every five minutes, and at once after a block.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(t)
		issuer := newIssuer(t, identity.KindDevice, true)
		l.issue(t, issuer, "device/1", 1, time.Now().Add(24*time.Hour))
		s := l.service(t, nil, Config{}, issuer)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		synctest.Wait()
		numbers := []string{list(t, l.db, issuer).Number.String()}
		step := func(d time.Duration, new bool) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			number := list(t, l.db, issuer).Number.String()
			if (number != numbers[len(numbers)-1]) != new {
				t.Errorf("after %s: number %s after %v", d, number, numbers)
			}
			numbers = append(numbers, number)
		}
		step(4*time.Minute, false)
		step(2*time.Minute, true)
		step(time.Minute, false)
		l.revoke(t, "device/1", &Revocation{Time: time.Now()})
		synctest.Wait()
		if got := shown(list(t, l.db, issuer)); got != "1:6 " {
			t.Errorf("right after a block: %s", got)
		}
		step(0, true)
		l.revoke(t, "device/1", nil)
		step(leastGap/2, false) // not so soon again
		step(leastGap, true)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A failure is counted and tried again.
func TestRunFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(t)
		issuer := newIssuer(t, identity.KindDevice, true)
		s := l.service(t, dropping{l.db}, Config{}, issuer)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(2 * lease)
		lists, err := s.Lists(ctx)
		if err != nil || len(lists) != 1 || lists[0].Number != 0 || s.Failures() < 2 {
			t.Errorf("%+v, %d failures, %v", lists, s.Failures(), err)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A long list is in parts, which leave nothing behind when it gets shorter.
func TestParts(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	parts := 0
	for _, size := range []int{10, 2*partSize + 1, partSize, 0} {
		der := bytes.Repeat([]byte{byte(size)}, size)
		l.update(t, func(tx store.Tx) (err error) {
			if parts, err = putList(tx, "x", der, parts); err != nil {
				return err
			}
			got, err := getList(tx, "x", parts)
			if !bytes.Equal(got, der) {
				t.Errorf("%d bytes in %d parts came back as %d", size, parts, len(got))
			}
			left := 0
			err = errors.Join(err, tx.Scan(bucket, []byte("list/"), nil, func(_, _ []byte) (bool, error) { left++; return true, nil }))
			if want := (size + partSize - 1) / partSize; left != want || parts != want {
				t.Errorf("%d bytes: %d parts, %d keys, want %d", size, parts, left, want)
			}
			return err
		})
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
	for want, c := range map[string]Config{
		"validity":      {Validity: 9 * time.Minute},
		"rebuild":       {Rebuild: time.Millisecond},
		"ocsp_validity": {OCSPValidity: -time.Hour},
		"ocsp_nonce":    {OCSPNonce: "sometimes"},
	} {
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want+": ") {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a service without a store")
	}
}
