package authority

import (
	"context"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
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

// late is a store in which something happens just before a change.
type late struct {
	store.DB
	before func()
}

func (l late) Update(ctx context.Context, f func(store.Tx) error) error {
	if l.before != nil {
		l.before()
	}
	return l.DB.Update(ctx, f)
}

// What happens between the signature and the transaction counts: a certificate that
// was signed for a device that is blocked then, or with a token that was used then, is
// neither stored nor given away.
func TestSignedTooEarly(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	db := a.db
	_, csr := request(t, x509.CertificateRequest{})
	_, faster := request(t, x509.CertificateRequest{})
	tok := token(t, a, device)
	within := func(f func()) {
		once := false
		a.db = late{db, func() {
			if !once { // not before the changes of f
				once = true
				f()
			}
		}}
	}

	within(func() {
		if _, err := a.Block(t.Context(), device, "", "test"); err != nil {
			t.Error(err)
		}
	})
	if _, err := a.Enrol(t.Context(), tok, csr); !errors.Is(err, enrol.ErrBlocked) {
		t.Errorf("blocked meanwhile: %v", err)
	}
	if e := last(t, a); e.Event != audit.EventRefuse || issuedTo(t, a, device) != 0 {
		t.Errorf("%d certificates; noted was %s", issuedTo(t, a, device), e.Event)
	}

	a.db = db
	if _, err := a.Unblock(t.Context(), device, "", "test"); err != nil {
		t.Fatal(err)
	}
	within(func() {
		if _, err := a.Enrol(t.Context(), tok, faster); err != nil {
			t.Errorf("the token was used up by the refusal: %v", err)
		}
	})
	if _, err := a.Enrol(t.Context(), tok, csr); !errors.Is(err, enrol.ErrToken) {
		t.Errorf("used meanwhile: %v", err)
	}
	if n := issuedTo(t, a, device); n != 1 {
		t.Errorf("%d certificates, want 1", n)
	}
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
