package enrol_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// powerCut ends a save where it stands.
type powerCut struct{}

// saveUntil saves, and cuts the power before the n-th change of the disk, counted
// from one. It gives what was about to happen; nothing, where the save was through
// before.
func saveUntil(t *testing.T, c *enrol.Credentials, dir string, n int) (cut string) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil && r != (powerCut{}) {
			panic(r)
		}
	}()
	if err := c.SaveInSteps(dir, func(what string) {
		if n--; n == 0 {
			cut = what
			panic(powerCut{})
		}
	}); err != nil {
		t.Fatal(err)
	}
	return ""
}

// Between the moment when the authority issues and the one when it hears of it, the
// power may go at any point. What is on the disk then is whole, and renews.
func TestPowerCutDuringRenewal(t *testing.T) {
	t.Parallel()
	cfg := authority.Config{StateDir: t.TempDir(), PlainKeys: true, Limits: authority.Limits{PerHour: -1, PerDay: -1}}
	if _, err := authority.Init(cfg); err != nil {
		t.Fatal(err)
	}
	a, err := authority.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	renew := func(c *enrol.Credentials) (*enrol.Credentials, error) {
		key, csr, err := enrol.NewRequest()
		if err != nil {
			t.Fatal(err)
		}
		issued, err := a.Renew(t.Context(), c.Leaf(), csr)
		if err != nil {
			return nil, err
		}
		return issued.Credentials(key, c.Roots())
	}

	old, renewed := 0, 0
	for n, done := 1, false; !done; n++ {
		dir := filepath.Join(t.TempDir(), "credentials")
		first, err := a.Credentials(t.Context(), identity.Device(td, identity.Serial(fmt.Sprintf("%010d", n))), profile.Extra{}, "test")
		if err != nil {
			t.Fatal(err)
		}
		if err := first.Save(dir); err != nil {
			t.Fatal(err)
		}
		second, err := renew(first)
		if err != nil {
			t.Fatal(err)
		}
		cut := saveUntil(t, second, dir, n)
		done = cut == ""

		// The device starts again.
		found, err := enrol.LoadCredentials(dir)
		if err != nil {
			t.Fatalf("power cut before %q: %v", cut, err)
		}
		switch {
		case found.Leaf().Equal(first.Leaf()):
			old++
		case found.Leaf().Equal(second.Leaf()):
			renewed++
		default:
			t.Fatalf("power cut before %q: neither certificate is there", cut)
		}
		third, err := renew(found)
		if err != nil {
			t.Fatalf("power cut before %q: what is there does not renew: %v", cut, err)
		}
		if err := errors.Join(third.Save(dir), a.Confirm(t.Context(), third.Leaf())); err != nil {
			t.Fatalf("power cut before %q: %v", cut, err)
		}
		if found, err = enrol.LoadCredentials(dir); err != nil || !found.Leaf().Equal(third.Leaf()) {
			t.Errorf("power cut before %q: the next save did not take: %v", cut, err)
		}
		if left, err := filepath.Glob(filepath.Join(dir, "gen-*")); err != nil || len(left) != 1 {
			t.Errorf("power cut before %q: old keys were left behind: %v", cut, left)
		}
		// Confirmed is confirmed.
		if _, err := renew(first); !errors.Is(err, enrol.ErrSuperseded) {
			t.Errorf("power cut before %q: the first certificate renews still: %v", cut, err)
		}
	}
	t.Logf("%d power cuts left the old certificate, %d the new one", old, renewed-1)
	if old < 5 || renewed < 3 {
		t.Error("the cuts are not where they should be")
	}
}
