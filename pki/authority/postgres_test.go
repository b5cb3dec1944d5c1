package authority

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
	"github.com/comtrexx-cloud/comtrexx/pki/store/pgtest"
)

// inPostgres gives an empty store in a real PostgreSQL.
func inPostgres(t testing.TB) StoreConfig {
	t.Helper()
	url, schema := pgtest.Schema(t)
	return StoreConfig{Kind: StorePostgres, Postgres: store.PostgresConfig{URL: url, Schema: schema, MaxConnections: 4}}
}

// TestPostgres runs what depends on the store once more, in PostgreSQL; see open.
func TestPostgres(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T){
		"EnrolFactory":            TestEnrolFactory,
		"EnrolFactoryRefusals":    TestEnrolFactoryRefusals,
		"Secret":                  TestSecret,
		"SecretOnce":              TestSecretOnce,
		"UnknownSerials":          TestUnknownSerialsLeaveNothing,
		"Retire":                  TestRetire,
		"Import":                  TestImport,
		"ImportRefusals":          TestImportRefusals,
		"RequestsThatClaimOthers": TestRequestsThatClaimOthers,
		"TokenWorksOnce":          TestTokenWorksOnce,
		"TokenAgain":              TestTokenAgain,
		"NoAuditNoCertificate":    TestNoAuditNoCertificate,
		"Renew":                   TestRenew,
		"LostAnswers":             TestLostAnswers,
		"ReplayAfterConfirm":      TestReplayAfterConfirm,
		"NewEnrolmentRetires":     TestNewEnrolmentRetires,
		"Block":                   TestBlock,
		"ListByIdentity":          TestListByIdentity,
		"RevocationList":          TestRevocationList,
	} {
		t.Run(name, test)
	}
}

// instances are two processes with the same keys on the same store.
func instances(t *testing.T, limits Limits) [2]*Authority {
	t.Helper()
	cfg := Config{StateDir: stateDir(t), PlainKeys: true, Store: inPostgres(t), Limits: limits}
	both := [2]*Authority{open(t, cfg), open(t, cfg)}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(stop)
	for _, a := range both {
		wg.Go(func() {
			if err := a.Follow(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	return both
}

// Of 50 callers at two instances, one gets a certificate for the token, and one for
// the secret.
func TestOnceOverTwoInstances(t *testing.T) {
	t.Parallel()
	both := instances(t, Limits{SecretTries: -1})
	tok := token(t, both[0], device)
	imported(t, both[1], list)
	secret, err := both[0].ResetSecret(t.Context(), other.Serial(), "test")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		id    identity.ID
		enrol func(a *Authority, csrPEM []byte) error
	}{
		"token": {device, func(a *Authority, csr []byte) error {
			_, err := a.Enrol(t.Context(), tok, csr)
			return err
		}},
		"secret": {other, func(a *Authority, text []byte) error {
			csr, err := enrol.ParseRequest(text)
			if err != nil {
				return err
			}
			_, err = a.EnrolSecret(t.Context(), other.Serial(), secret, csr)
			return err
		}},
	} {
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 50 {
			_, csr := request(t, x509.CertificateRequest{})
			wg.Go(func() {
				if err := c.enrol(both[i%2], csr); err == nil {
					won.Add(1)
				} else if !errors.Is(err, enrol.ErrToken) && !errors.Is(err, enrol.ErrSecret) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := issuedTo(t, both[0], c.id); won.Load() != 1 || n != 1 {
			t.Errorf("%s: %d won, %d certificates", name, won.Load(), n)
		}
	}
}

// 20 blocks at once at each of two instances: every one has an epoch of its own, and
// both instances end with the same list.
func TestBlocksOverTwoInstances(t *testing.T) {
	t.Parallel()
	both := instances(t, Limits{})
	const each = 20
	epochs := make([]uint64, 2*each)
	var wg sync.WaitGroup
	for i := range epochs {
		wg.Go(func() {
			id := identity.Device(td, identity.Serial(fmt.Sprintf("%010d", i)))
			var err error
			if epochs[i], err = both[i%2].Block(t.Context(), id, "", "test"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	slices.Sort(epochs)
	if unique := slices.Compact(slices.Clone(epochs)); len(unique) != len(epochs) {
		t.Errorf("%d epochs for %d blocks", len(unique), len(epochs))
	}
	for i, a := range both {
		for { // the other instance's changes arrive by themselves
			list, changed := a.Feed().Watch()
			if list.Len() == len(epochs) {
				if list.Epoch() != epochs[len(epochs)-1] {
					t.Errorf("instance %d is at epoch %d, want %d", i, list.Epoch(), epochs[len(epochs)-1])
				}
				break
			}
			<-changed
		}
	}
	entries(t, both[0]) // the log is one chain
	// What one has blocked, the other does not issue for, at once.
	if _, err := both[0].Block(t.Context(), device, "", "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := both[1].Token(t.Context(), device, 0, "test"); !errors.Is(err, enrol.ErrBlocked) {
		t.Errorf("a token from the other instance: %v", err)
	}
}
