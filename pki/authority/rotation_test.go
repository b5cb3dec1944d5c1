package authority

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

// another makes another root, with a state directory of its own, and its cross
// certificate by the root of a.
func another(t testing.TB, a *Authority, label string) (cfg Config, root, cross *x509.Certificate) {
	t.Helper()
	cfg = Config{StateDir: t.TempDir(), PlainKeys: true}
	root, err := MakeRoot(cfg, label)
	if err != nil {
		t.Fatal(err)
	}
	if cross, err = CrossSign(a.cfg, root, time.Time{}); err != nil {
		t.Fatal(err)
	}
	return cfg, root, cross
}

// installed makes the next intermediates below the root in cfg and gives them to a.
func installed(t testing.TB, a *Authority, cfg Config, roles ...string) (certs []*x509.Certificate) {
	t.Helper()
	requests, err := RequestIntermediates(a.cfg, roles...)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range requests {
		cert, err := SignRequest(cfg, r)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, cert)
	}
	if _, err := Install(a.cfg, certs...); err != nil {
		t.Fatal(err)
	}
	if changed, err := a.Reload(t.Context()); err != nil || !changed {
		t.Fatalf("reload: %v, %v", changed, err)
	}
	return certs
}

func issuerOf(a *Authority, c *x509.Certificate) *Issuer {
	issuers := a.Issuers()
	at := slices.IndexFunc(issuers, func(i Issuer) bool { return c.CheckSignatureFrom(i.Certificate) == nil })
	if at < 0 {
		return nil
	}
	return &issuers[at]
}

func TestIntermediateSwap(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	first := enrolled(t, a, device)
	changed := a.Changed()
	installed(t, a, a.cfg, "device")
	select {
	case <-changed:
	default:
		t.Error("nobody hears of the swap")
	}
	if ok, err := a.Reload(t.Context()); ok || err != nil {
		t.Errorf("nothing new: %v, %v", ok, err)
	}
	second, err := renew(t, a, first)
	if err != nil {
		t.Fatal(err)
	}
	old, now := issuerOf(a, first.Leaf()), issuerOf(a, second.Leaf())
	if old == nil || old.Generation != 1 || old.Active || now == nil || now.Generation != 2 || !now.Active {
		t.Errorf("renewed from %+v to %+v", old, now)
	}
	if i := issuerOf(a, enrolled(t, a, service).Leaf()); i.Generation != 1 || !i.Active {
		t.Errorf("services come from generation %d", i.Generation)
	}
	// Each signs revocation lists for its own.
	for _, i := range a.Issuers() {
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		}, i.Certificate, i.Key)
		if err != nil {
			t.Fatalf("%s %d: %v", i.Role, i.Generation, err)
		}
		list, err := x509.ParseRevocationList(der)
		if err == nil {
			err = list.CheckSignatureFrom(i.Certificate)
		}
		if err != nil {
			t.Errorf("%s %d: %v", i.Role, i.Generation, err)
		}
	}
	// And after a restart.
	dir := a.cfg.StateDir
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := New(Config{StateDir: dir, PlainKeys: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	third, err := renew(t, b, second)
	if err != nil || issuerOf(b, third.Leaf()).Generation != 2 {
		t.Errorf("after a restart: %v", err)
	}
}

// What does not fit changes nothing, and the authority goes on.
func TestReloadKeepsTheFormer(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	path := filepath.Join(a.cfg.StateDir, "device-2.pem")
	for name, content := range map[string][]byte{
		"not a certificate": []byte("x"),
		"of a stranger":     enrol.EncodeCertificates(pkitest.New(t, td).Intermediate(identity.KindDevice)),
		"of another kind":   enrol.EncodeCertificates(a.keys.Load().signers[identity.KindRelay].cert),
		"without a key":     enrol.EncodeCertificates(a.keys.Load().signers[identity.KindDevice].cert)[1:],
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if changed, err := a.Reload(t.Context()); changed || !errors.Is(err, ErrKeys) {
			t.Errorf("%s: %v, %v", name, changed, err)
		}
		if i := issuerOf(a, enrolled(t, a, device).Leaf()); i == nil || i.Generation != 1 {
			t.Errorf("%s: issued by %+v", name, i)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	installed(t, a, a.cfg, "device") // the control
}

func TestCeremonyRefuses(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	requests, err := RequestIntermediates(a.cfg, "device", "relay")
	if err != nil {
		t.Fatal(err)
	}
	again, err := RequestIntermediates(a.cfg, "device")
	if err != nil || again[0].Name != requests[0].Name || !enrol.SameKey(parsed(t, again[0]).PublicKey, parsed(t, requests[0]).PublicKey) {
		t.Errorf("asked again: %v, %v", again, err)
	}
	swapped := Request{Name: requests[0].Name, CSR: requests[1].CSR}
	for name, c := range map[string]struct {
		req  Request
		want error
	}{
		"relay's request as device": {swapped, ErrCeremony},
		"no role":                   {Request{Name: "root", CSR: requests[0].CSR}, ErrCeremony},
		"no generation":             {Request{Name: "device-0", CSR: requests[0].CSR}, ErrCeremony},
		"no request":                {Request{Name: "device-2", CSR: []byte("x")}, enrol.ErrBadRequest},
	} {
		if _, err := SignRequest(a.cfg, c.req); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	good, err := SignRequest(a.cfg, requests[0])
	if err != nil {
		t.Fatal(err)
	}

	stranger := Config{StateDir: t.TempDir(), PlainKeys: true}
	if _, err := MakeRoot(stranger, ""); err != nil {
		t.Fatal(err)
	}
	foreign, err := SignRequest(stranger, requests[0])
	if err != nil {
		t.Fatal(err)
	}
	unconstrained := profileless(t, a, good)
	for name, cert := range map[string]*x509.Certificate{
		"below another root":     foreign,
		"of another key":         a.keys.Load().signers[identity.KindDevice].cert,
		"without constraints":    unconstrained,
		"the root":               a.Roots()[0],
		"a leaf":                 enrolled(t, a, device).Leaf(),
		"a stranger's authority": pkitest.New(t, td).Intermediate(identity.KindDevice),
	} {
		if _, err := Install(a.cfg, cert, good); !errors.Is(err, ErrCeremony) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(a.cfg.StateDir, "device-2.pem")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was installed: %v", err)
	}
	if names, err := Install(a.cfg, good); err != nil || !slices.Equal(names, []string{"device-2"}) {
		t.Errorf("the good one: %v, %v", names, err)
	}
}

func parsed(t *testing.T, r Request) *x509.CertificateRequest {
	t.Helper()
	csr, err := enrol.ParseRequest(r.CSR)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

// profileless signs the same key and names without name constraints.
func profileless(t *testing.T, a *Authority, c *x509.Certificate) *x509.Certificate {
	t.Helper()
	root, key, err := a.cfg.readRoot()
	if err != nil {
		t.Fatal(err)
	}
	out, err := signFor(&x509.Certificate{
		Subject: c.Subject, URIs: c.URIs, NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: c.KeyUsage,
	}, root, c.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The root changes, with endpoints that have heard of it and one that has not.
func TestRootRotation(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	before := a.Bundle()
	informed, unaware := enrolled(t, a, device), enrolled(t, a, other)
	cfg2, r2, cross := another(t, a, "two")
	fp1, fp2 := enrol.Fingerprint(a.Roots()[0]), enrol.Fingerprint(r2)

	refused := func(what string, want error, do func() (enrol.Bundle, error)) {
		t.Helper()
		before := a.Bundle().Version
		if _, err := do(); !errors.Is(err, want) || !errors.Is(err, enrol.ErrUnsafe) || a.Bundle().Version != before {
			t.Errorf("%s: %v, version %d after %d", what, err, a.Bundle().Version, before)
		}
	}
	activate := func() (enrol.Bundle, error) { return a.ActivateRoot(t.Context(), fp2, false, "test") }
	retire := func(fp string) func() (enrol.Bundle, error) {
		return func() (enrol.Bundle, error) { return a.RetireRoot(t.Context(), fp, false, "test") }
	}
	refused("no cross certificate", ErrIncomplete, func() (enrol.Bundle, error) { return a.AddRoot(t.Context(), r2, nil, "test") })
	b, err := a.AddRoot(t.Context(), r2, []*x509.Certificate{cross}, "test")
	if err != nil || b.Version <= before.Version || len(a.Roots()) != 2 {
		t.Fatalf("added: version %d after %d, %d roots, %v", b.Version, before.Version, len(a.Roots()), err)
	}
	refused("activate without intermediates", ErrIncomplete, activate)
	installed(t, a, cfg2)
	if i := issuerOf(a, enrolled(t, a, service).Leaf()); i.Root.Equal(r2) {
		t.Error("a root that is not active issues")
	}
	refused("activate before anybody knows", ErrRollout, activate)
	for _, c := range []*enrol.Credentials{informed, unaware} {
		if err := a.ReportBundle(t.Context(), c.Leaf(), b.Version); err != nil {
			t.Fatal(err)
		}
	}
	refused("activate before the service knows", ErrRollout, activate)
	list, err := a.Certificates(t.Context(), service)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.ReportBundle(t.Context(), storedLeaf(t, a, list[0]), b.Version); err != nil {
		t.Fatal(err)
	}
	refused("retire the active one", ErrRootInUse, retire(fp1))
	if _, err := activate(); err != nil {
		t.Fatal(err)
	}
	if got := last(t, a); got.Event != audit.EventBundle || got.Actor != "test" || !strings.Contains(got.Reason, "activate root "+fp2) {
		t.Errorf("the audit log says %+v", got)
	}
	if !a.Roots()[0].Equal(r2) {
		t.Error("the active root is not the first")
	}

	// A device that knows the first root only renews, and follows.
	_, csr := request(t, x509.CertificateRequest{})
	issued, err := a.Renew(t.Context(), unaware.Leaf(), csr)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := enrol.ParseCertificates([]byte(issued.Chain))
	if err != nil || len(chain) != 3 || !chain[2].Equal(cross) {
		t.Fatalf("chain of %d, %v", len(chain), err)
	}
	verifies := func(root *x509.Certificate) error {
		roots, between := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(root)
		for _, c := range chain[1:] {
			between.AddCert(c)
		}
		_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		return err
	}
	if err := errors.Join(verifies(before.Roots[0].Certificate), verifies(r2)); err != nil {
		t.Errorf("with either root: %v", err)
	}
	if verifies(pkitest.New(t, td).Root) == nil {
		t.Error("with a stranger's root")
	}

	refused("retire with certificates in use", ErrRootInUse, retire(fp1))
	for _, c := range []*enrol.Credentials{informed} {
		if _, err := renew(t, a, c); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []identity.ID{service, device, other} { // ends those of before
		if _, err := a.Block(t.Context(), id, "test", "test"); err != nil {
			t.Fatal(err)
		}
	}
	b, err = retire(fp1)()
	if err != nil || len(a.Roots()) != 1 || len(b.Roots) != 2 {
		t.Fatalf("retired: %d roots, %v", len(a.Roots()), err)
	}
	if on, err := a.cfg.readRoots(); err != nil || len(on) != 1 || !on[0].Equal(r2) {
		t.Errorf("on disk: %d roots, %v", len(on), err)
	}
	if _, err := a.ActivateRoot(t.Context(), fp1, true, "test"); !errors.Is(err, enrol.ErrForbidden) {
		t.Errorf("a retired root comes back: %v", err)
	}
}

func storedLeaf(t *testing.T, a *Authority, c Certificate) *x509.Certificate {
	t.Helper()
	var leaf *x509.Certificate
	if err := a.db.View(t.Context(), func(tx store.Tx) error {
		full, _, err := get[Certificate](tx, bucketCerts, []byte(c.Serial))
		if err == nil {
			leaf, err = x509.ParseCertificate(full.DER)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return leaf
}

func TestForce(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	enrolled(t, a, device)
	cfg2, r2, cross := another(t, a, "two")
	fp1 := enrol.Fingerprint(a.Roots()[0])
	if _, err := a.AddRoot(t.Context(), r2, []*x509.Certificate{cross}, "test"); err != nil {
		t.Fatal(err)
	}
	installed(t, a, cfg2)
	if _, err := a.ActivateRoot(t.Context(), enrol.Fingerprint(r2)[:8], true, "test"); err != nil {
		t.Fatal(err)
	}
	if got := last(t, a); !strings.HasSuffix(strings.Split(got.Reason, ":")[0], ", forced") {
		t.Errorf("the audit log says %q", got.Reason)
	}
	// Back, because something is wrong with it.
	if _, err := a.ActivateRoot(t.Context(), fp1, true, "test"); err != nil {
		t.Errorf("back to the former root: %v", err)
	}
	if i := issuerOf(a, enrolled(t, a, other).Leaf()); i.Generation != 1 {
		t.Errorf("issued by generation %d", i.Generation)
	}
	if _, err := a.ActivateRoot(t.Context(), enrol.Fingerprint(r2), true, "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.RetireRoot(t.Context(), fp1, true, "test"); err != nil {
		t.Errorf("retired by force: %v", err)
	}
}

func TestAddRootRefuses(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	_, r2, cross := another(t, a, "two")
	_, r3, cross3 := another(t, a, "three")
	stranger := pkitest.New(t, td)
	for name, c := range map[string]struct {
		root  *x509.Certificate
		cross []*x509.Certificate
	}{
		"a leaf":                       {enrolled(t, a, device).Leaf(), []*x509.Certificate{cross}},
		"an intermediate":              {a.keys.Load().signers[identity.KindDevice].cert, []*x509.Certificate{cross}},
		"cross of another root":        {r2, []*x509.Certificate{cross3}},
		"cross by a stranger":          {r2, []*x509.Certificate{stranger.Successor().Cross}},
		"a good and a bad cross":       {r2, []*x509.Certificate{cross, cross3}},
		"the root itself as its cross": {r2, []*x509.Certificate{r2}},
		"the root that is there":       {a.Roots()[0], nil},
	} {
		if _, err := a.AddRoot(t.Context(), c.root, c.cross, "test"); !errors.Is(err, enrol.ErrBadRequest) || len(a.Roots()) != 1 {
			t.Errorf("%s: %v, %d roots", name, err, len(a.Roots()))
		}
	}
	for _, c := range []struct{ root, cross *x509.Certificate }{{r2, cross}, {r3, cross3}} {
		if _, err := a.AddRoot(t.Context(), c.root, []*x509.Certificate{c.cross}, "test"); err != nil {
			t.Errorf("the good one: %v", err)
		}
	}
	for _, fp := range []string{"", "00000000", enrol.Fingerprint(r2)[:7]} {
		if _, err := a.RetireRoot(t.Context(), fp, true, "test"); !errors.Is(err, enrol.ErrBadRequest) {
			t.Errorf("retire %q: %v", fp, err)
		}
	}
}

// Who can write to the store cannot make the fleet trust a root.
func TestStoreCannotAddARoot(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	good := a.Bundle()
	stranger := pkitest.New(t, td)
	inject := func(b enrol.Bundle) error {
		return a.db.Update(t.Context(), func(tx store.Tx) error { return put(tx, bucketTrust, keyBundle, b) })
	}
	bad := good
	bad.Version++
	bad.Roots = append(slices.Clone(good.Roots), enrol.Root{State: enrol.RootTrusted, Certificate: stranger.Root})
	if err := inject(bad); err != nil {
		t.Fatal(err)
	}
	if changed, err := a.Reload(t.Context()); changed || !errors.Is(err, ErrKeys) || len(a.Roots()) != 1 {
		t.Errorf("reload: %v, %v, %d roots", changed, err, len(a.Roots()))
	}
	dir := a.cfg.StateDir
	restart := func() (*Authority, error) {
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		return New(Config{StateDir: dir, PlainKeys: true})
	}
	if b, err := restart(); !errors.Is(err, ErrKeys) {
		t.Errorf("restart: %v, %v", b, err)
	}
	db, err := store.OpenBolt(filepath.Join(dir, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(t.Context(), func(tx store.Tx) error { return put(tx, bucketTrust, keyBundle, good) }), db.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := New(Config{StateDir: dir, PlainKeys: true}) // the control
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestRollout(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	version := a.Bundle().Version
	count := func(kind identity.Kind) (current, endpoints int) {
		t.Helper()
		r, err := a.Rollout(t.Context(), "", 10)
		if err != nil || r.Version != version {
			t.Fatalf("%+v, %v", r, err)
		}
		for _, k := range r.Kinds {
			if k.Kind == kind.String() {
				return k.Current, k.Endpoints
			}
		}
		return 0, 0
	}
	want := func(step string, kind identity.Kind, current, endpoints int) {
		t.Helper()
		if c, n := count(kind); c != current || n != endpoints {
			t.Errorf("%s: %d of %d %ss, want %d of %d", step, c, n, kind, current, endpoints)
		}
	}
	report := func(c *enrol.Credentials, v uint64) {
		t.Helper()
		if err := a.ReportBundle(t.Context(), c.Leaf(), v); err != nil {
			t.Fatal(err)
		}
	}
	d, o := enrolled(t, a, device), enrolled(t, a, other)
	want("nobody reported", identity.KindDevice, 0, 2)
	report(d, version-1)
	report(o, version)
	want("one has an older one", identity.KindDevice, 1, 2)
	r, err := a.Rollout(t.Context(), "", 10)
	if err != nil || len(r.Stragglers) != 1 || r.Stragglers[0].Identity != device.Path() || r.Stragglers[0].Version != version-1 || !r.Stragglers[0].Expires.Equal(d.Leaf().NotAfter) {
		t.Errorf("stragglers %+v, %v", r.Stragglers, err)
	}
	if r, err = a.Rollout(t.Context(), "", 0); err != nil || len(r.Stragglers) != 0 || r.More != 1 {
		t.Errorf("stragglers %+v and %d more, %v", r.Stragglers, r.More, err)
	}
	next, err := renew(t, a, d)
	if err != nil {
		t.Fatal(err)
	}
	report(next, version+7)
	want("one that is still to come", identity.KindDevice, 2, 2)
	report(next, version-1)
	want("an older one, a moment later", identity.KindDevice, 2, 2)
	if _, err := a.Block(t.Context(), other, "", "test"); err != nil {
		t.Fatal(err)
	}
	want("a blocked one does not count", identity.KindDevice, 1, 1)

	one, two := enrolled(t, a, service), enrolled(t, a, service)
	report(one, version)
	want("one of two instances", identity.KindService, 0, 1)
	report(two, version)
	want("both instances", identity.KindService, 1, 1)
	if _, err := a.Credentials(t.Context(), a.serviceID(), profile.Extra{}, "test"); err != nil {
		t.Fatal(err)
	}
	want("the PKI itself does not count", identity.KindService, 1, 1)

	forged := pkitest.New(t, td).Credentials(device)
	if err := a.ReportBundle(t.Context(), forged.Leaf(), 1); !errors.Is(err, enrol.ErrForbidden) {
		t.Errorf("report of a stranger: %v", err)
	}
	want("after a forged report", identity.KindDevice, 1, 1)
}

// What is served is what devices read.
func TestBundleOnTheWire(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	_, r2, cross := another(t, a, "two")
	if _, err := a.AddRoot(t.Context(), r2, []*x509.Certificate{cross}, "test"); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(a.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	b, err := enrol.ParseBundle(data)
	if err != nil || b.Version != a.Bundle().Version || b.TrustDomain != td || len(b.Roots) != 2 || b.Roots[1].State != enrol.RootTrusted {
		t.Fatalf("%+v, %v", b, err)
	}
	if roots, err := b.Accept(a.Roots()[:1]); err != nil || len(roots) != 2 {
		t.Errorf("a device with the first root gets %d, %v", len(roots), err)
	}
	if c := enrolled(t, a, device); c.BundleVersion() != b.Version || len(c.Roots()) != 2 {
		t.Errorf("enrolled with version %d and %d roots", c.BundleVersion(), len(c.Roots()))
	}
}

// Renewals while intermediates are swapped all succeed, and each is whole.
func TestSwapUnderLoad(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 4)
	for i := range cap(done) {
		go func() {
			id := identity.Device(td, identity.Serial("000000000"+string(rune('0'+i))))
			for ctx.Err() == nil {
				_, csr := request(t, x509.CertificateRequest{})
				issued, err := a.Issue(t.Context(), id, csr, profile.Extra{}, "test")
				if err == nil {
					var chain []*x509.Certificate
					if chain, err = enrol.ParseCertificates([]byte(issued.Chain)); err == nil {
						err = chain[0].CheckSignatureFrom(chain[1])
					}
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 5 {
		installed(t, a, a.cfg, "device")
	}
	cancel()
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if i := issuerOf(a, enrolled(t, a, device).Leaf()); i.Generation != 6 {
		t.Errorf("issued by generation %d", i.Generation)
	}
}
