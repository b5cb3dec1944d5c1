package authority

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

var keyBundle = []byte("bundle")

// rootRecord is what the store knows about a root beyond the bundle.
type rootRecord struct {
	Since uint64    `json:"since"` // the first version of the bundle with it
	Added time.Time `json:"added"`
	Actor string    `json:"actor"`
}

func rootKey(root *x509.Certificate) []byte {
	return append([]byte("root\x00"), enrol.Fingerprint(root)...)
}

// Errors of a change of the trust bundle that would cut somebody off. Compare with
// errors.Is; all wrap [enrol.ErrUnsafe].
var (
	// ErrRollout: too few have the bundle with the root.
	ErrRollout = fmt.Errorf("%w: the root is not known widely enough", enrol.ErrUnsafe)
	// ErrRootInUse: certificates below the root are in use.
	ErrRootInUse = fmt.Errorf("%w: the root is in use", enrol.ErrUnsafe)
	// ErrIncomplete: what the root needs to take over is missing.
	ErrIncomplete = fmt.Errorf("%w: the root is not ready", enrol.ErrUnsafe)
)

// Bundle is the trust bundle in force. Callers must not change it.
func (a *Authority) Bundle() enrol.Bundle { return a.keys.Load().bundle }

// firstBundle has the roots on disk, the first as the active one.
func firstBundle(td identity.TrustDomain, roots []*x509.Certificate) enrol.Bundle {
	b := enrol.Bundle{TrustDomain: td, Version: nextVersion(0)}
	for i, r := range roots {
		state := enrol.RootTrusted
		if i == 0 {
			state = enrol.RootActive
		}
		b.Roots = append(b.Roots, enrol.Root{State: state, Certificate: r})
	}
	return b
}

func readBundle(tx store.Tx) (b enrol.Bundle, ok bool, err error) {
	data, err := tx.Get(bucketTrust, keyBundle)
	if err != nil || data == nil {
		return b, false, err
	}
	b, err = enrol.ParseBundle(data)
	return b, err == nil, err
}

// writeBundle stores the bundle, and since when it has each root.
func writeBundle(tx store.Tx, b enrol.Bundle, actor string) error {
	if err := b.Validate(); err != nil {
		return err
	}
	for _, r := range b.Roots {
		key := rootKey(r.Certificate)
		if _, ok, err := get[rootRecord](tx, bucketTrust, key); err != nil {
			return err
		} else if !ok {
			if err := put(tx, bucketTrust, key, rootRecord{Since: b.Version, Added: time.Now().UTC(), Actor: actor}); err != nil {
				return err
			}
		}
	}
	return put(tx, bucketTrust, keyBundle, b)
}

// nextVersion counts seconds, so that a store restored from a backup goes on above
// every version that was given out since.
func nextVersion(last uint64) uint64 { return max(last+1, uint64(max(0, time.Now().Unix()))) }

// AddRoot puts a root into the bundle, to be trusted. cross are certificates of its
// key by roots that are in the bundle, at least one: without it, no endpoint would
// believe the root. For a root that is there, further cross certificates are added.
func (a *Authority) AddRoot(ctx context.Context, root *x509.Certificate, cross []*x509.Certificate, actor string) (enrol.Bundle, error) {
	switch {
	case !enrol.SelfSigned(root):
		return enrol.Bundle{}, fmt.Errorf("%w: %q is not a self-signed authority", enrol.ErrBadRequest, root.Subject)
	case time.Now().After(root.NotAfter):
		return enrol.Bundle{}, fmt.Errorf("%w: the root expired at %s", enrol.ErrBadRequest, root.NotAfter)
	}
	return a.changeBundle(ctx, actor, "add root "+enrol.Fingerprint(root), func(b *enrol.Bundle) error {
		at := find(*b, root)
		var others []*x509.Certificate
		for i, r := range b.Roots {
			if i != at {
				others = append(others, r.Certificate)
			}
		}
		for _, x := range cross {
			if !slices.ContainsFunc(others, func(by *x509.Certificate) bool { return enrol.Certifies(x, root, by) }) {
				return fmt.Errorf("%w: the cross certificate by %q is not one of the root's key by a root of the bundle", enrol.ErrBadRequest, x.Issuer)
			}
		}
		if at < 0 {
			if len(cross) == 0 {
				return fmt.Errorf("%w: no cross certificate: a root that no other root has certified is believed by nobody", ErrIncomplete)
			}
			b.Roots = append(b.Roots, enrol.Root{State: enrol.RootTrusted, Certificate: root, Cross: cross})
			return nil
		}
		all := slices.Clone(b.Roots[at].Cross)
		for _, x := range cross {
			if !slices.ContainsFunc(all, x.Equal) {
				all = append(all, x)
			}
		}
		if len(all) == len(b.Roots[at].Cross) {
			return fmt.Errorf("%w: the root is in the bundle", enrol.ErrBadRequest)
		}
		b.Roots[at].Cross = all
		return nil
	})
}

// ActivateRoot makes a root the one below which certificates are issued, by the
// intermediates that are there for it; the one before is retiring. It fails with
// [ErrIncomplete] where an intermediate is missing or no cross certificate lets
// endpoints with an older bundle follow, and with [ErrRollout] where of some kind of
// endpoint less than [Config.Rollout] percent has reported the root; force overrides
// the latter, and a missing cross certificate.
func (a *Authority) ActivateRoot(ctx context.Context, fingerprint string, force bool, actor string) (enrol.Bundle, error) {
	b := a.Bundle()
	at, err := byFingerprint(b, fingerprint)
	if err != nil {
		return b, err
	}
	root := b.Roots[at]
	if err := a.ready(root, force); err != nil {
		return b, err
	}
	if !force {
		status, err := a.Rollout(ctx, fingerprint, 0)
		if err != nil {
			return b, err
		}
		for _, k := range status.Kinds {
			if k.Percent < a.cfg.Rollout {
				return b, fmt.Errorf("%w: %d of %d %ss have it, want %g %%", ErrRollout, k.Current, k.Endpoints, k.Kind, a.cfg.Rollout)
			}
		}
	}
	what := "activate root " + fingerprint
	if force {
		what += ", forced"
	}
	return a.changeBundle(ctx, actor, what, func(b *enrol.Bundle) error {
		at, err := byFingerprint(*b, fingerprint)
		if err != nil {
			return err
		}
		for i := range b.Roots {
			if b.Roots[i].State == enrol.RootActive {
				b.Roots[i].State = enrol.RootRetiring
			}
		}
		b.Roots[at].State = enrol.RootActive
		return nil
	})
}

// ready checks that the root can issue.
func (a *Authority) ready(root enrol.Root, force bool) error {
	switch root.State {
	case enrol.RootActive:
		return fmt.Errorf("%w: the root is active", enrol.ErrBadRequest)
	case enrol.RootRetired:
		return fmt.Errorf("%w: the root has been retired", enrol.ErrForbidden)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root.Certificate)
	for _, r := range a.cfg.roles() {
		if r.optional && !slices.ContainsFunc(a.Issuers(), func(i Issuer) bool { return i.Role == r.name && i.Active }) {
			continue
		}
		if !slices.ContainsFunc(a.Issuers(), func(i Issuer) bool {
			_, err := i.Certificate.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			return i.Role == r.name && err == nil
		}) {
			return fmt.Errorf("%w: it has no intermediate for %s", ErrIncomplete, r.name)
		}
	}
	now := time.Now()
	if !force && root.State == enrol.RootTrusted && !slices.ContainsFunc(root.Cross, func(x *x509.Certificate) bool { return now.Before(x.NotAfter) }) {
		return fmt.Errorf("%w: it has no valid cross certificate, and endpoints with an older bundle would be cut off", ErrIncomplete)
	}
	return nil
}

// RetireRoot ends the trust in a root. The active one cannot be retired. With
// certificates below it in use it fails with [ErrRootInUse], unless forced: then their
// holders are cut off, until they enrol anew or recover.
func (a *Authority) RetireRoot(ctx context.Context, fingerprint string, force bool, actor string) (enrol.Bundle, error) {
	b := a.Bundle()
	at, err := byFingerprint(b, fingerprint)
	if err != nil {
		return b, err
	}
	switch b.Roots[at].State {
	case enrol.RootActive:
		return b, fmt.Errorf("%w: it is the active root; activate another one first", ErrRootInUse)
	case enrol.RootRetired:
		return b, fmt.Errorf("%w: the root has been retired", enrol.ErrBadRequest)
	}
	n, last, err := a.below(ctx, b.Roots[at].Certificate)
	if err != nil {
		return b, err
	}
	if n > 0 && !force {
		return b, fmt.Errorf("%w: %d certificates below it are in use; the last expires at %s", ErrRootInUse, n, last.Format(time.RFC3339))
	}
	return a.changeBundle(ctx, actor, fmt.Sprintf("retire root %s with %d certificates in use", fingerprint, n), func(b *enrol.Bundle) error {
		at, err := byFingerprint(*b, fingerprint)
		if err != nil {
			return err
		}
		if b.Roots[at].State == enrol.RootActive {
			return fmt.Errorf("%w: it is the active root now", ErrRootInUse)
		}
		b.Roots[at].State = enrol.RootRetired
		return nil
	})
}

// changeBundle stores the changed bundle with its line in the audit log, and swaps
// it in.
func (a *Authority) changeBundle(ctx context.Context, actor, what string, change func(*enrol.Bundle) error) (enrol.Bundle, error) {
	var b enrol.Bundle
	err := a.db.Update(ctx, func(tx store.Tx) (err error) {
		var ok bool
		if b, ok, err = readBundle(tx); err != nil {
			return err
		}
		if !ok {
			return errors.New("store: no trust bundle")
		}
		if err := change(&b); err != nil {
			return err
		}
		b.Version = nextVersion(b.Version)
		if err := writeBundle(tx, b, actor); err != nil {
			return err
		}
		return audit.Append(tx, audit.Entry{
			Event: audit.EventBundle, Actor: actor, Identity: identity.KindAuthority.String() + "/root",
			Reason: fmt.Sprintf("%s: version %d", what, b.Version),
		})
	})
	if err != nil {
		return b, err
	}
	a.cfg.Logger.Info("trust bundle changed", "change", what, "version", b.Version, "actor", actor)
	_, err = a.Reload(ctx)
	return b, err
}

func find(b enrol.Bundle, root *x509.Certificate) int {
	return slices.IndexFunc(b.Roots, func(r enrol.Root) bool { return r.Certificate.Equal(root) })
}

// byFingerprint finds a root by the beginning of its fingerprint, eight digits or
// more.
func byFingerprint(b enrol.Bundle, fingerprint string) (int, error) {
	const least = 8
	fingerprint = plainHex(fingerprint)
	found := -1
	for i, r := range b.Roots {
		if len(fingerprint) >= least && strings.HasPrefix(enrol.Fingerprint(r.Certificate), fingerprint) {
			if found >= 0 {
				return -1, fmt.Errorf("%w: the fingerprint %s is that of several roots", enrol.ErrBadRequest, fingerprint)
			}
			found = i
		}
	}
	if found < 0 {
		return -1, fmt.Errorf("%w: no root of the bundle has the fingerprint %q", enrol.ErrBadRequest, fingerprint)
	}
	return found, nil
}
