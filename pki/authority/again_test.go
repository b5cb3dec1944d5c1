package authority

import (
	"context"
	"errors"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// again is a store that loses every change once, as one in PostgreSQL may, whose
// functions then run again.
type again struct{ store.DB }

func (a again) Update(ctx context.Context, f func(store.Tx) error) error {
	if err := a.Rehearse(ctx, f); err != nil {
		return err
	}
	return a.DB.Update(ctx, f)
}

// What is issued in the second try is as complete as in the first: it can be renewed,
// and ends what was issued before.
func TestIssueAgain(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	a.db = again{a.db}
	first := enrolled(t, a, device)
	renewed, err := renew(t, a, first)
	if err != nil {
		t.Fatal(err)
	}
	second := enrolled(t, a, device)
	if _, err := renew(t, a, renewed); !errors.Is(err, enrol.ErrSuperseded) {
		t.Errorf("renewed after another enrolment: %v", err)
	}
	if _, err := renew(t, a, second); err != nil {
		t.Errorf("renew: %v", err)
	}
	if n := issuedTo(t, a, device); n != 4 {
		t.Errorf("%d certificates, want 4", n)
	}
}
