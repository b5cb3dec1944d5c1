package account

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/seal"
)

// TestReseal takes the secrets of apps to a new key, by a sweep or by a right code, after
// which the old one is not needed.
func TestReseal(t *testing.T) {
	t.Parallel()
	for name, sweep := range map[string]bool{"sweep": true, "code": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				cfg := w.withKeys(t, Required)
				old, fresh := seal.NewKey(), seal.NewKey()
				rekey := func(texts ...string) {
					t.Helper()
					keys, err := seal.New(texts...)
					if err != nil {
						t.Fatal(err)
					}
					cfg.Keys = keys
					w.restart(t, cfg)
				}
				rekey(old)
				secret, _, _ := w.enrol(t, w.begin(t, nil, password))
				prove := func() error {
					time.Sleep(2 * totpPeriod)
					_, err := w.prove(t, w.begin(t, nil, password), Evidence{TOTP: codeAt(t, secret, time.Now())}, noPrefix)
					return err
				}
				run := func() {
					ctx, stop := context.WithCancel(t.Context())
					done := make(chan error)
					go func() { done <- w.Run(ctx) }()
					synctest.Wait()
					stop()
					if err := <-done; err != nil {
						t.Error(err)
					}
				}
				rekey(fresh)
				run() // without the old key it does no harm
				if err := prove(); !errors.Is(err, seal.ErrKey) {
					t.Errorf("positive control: %v", err)
				}
				rekey(fresh, old)
				if sweep {
					run()
				} else if err := prove(); err != nil {
					t.Fatal(err)
				}
				rekey(fresh)
				if err := prove(); err != nil {
					t.Errorf("without the old key: %v", err)
				}
			})
		})
	}
}
