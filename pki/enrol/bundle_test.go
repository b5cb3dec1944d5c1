package enrol_test

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// A bundle leads from a trusted root to those that it certified, and nowhere else.
func TestBundleAccept(t *testing.T) {
	t.Parallel()
	r1, stranger := pkitest.New(t, td), pkitest.New(t, td)
	r2 := r1.Successor()
	r3 := r2.Successor()
	retired := func(b enrol.Bundle, n int) enrol.Bundle {
		for i := range n {
			b.Roots[i].State = enrol.RootRetired
		}
		return b
	}
	bare := pkitest.Bundle(2, r1, r2)
	bare.Roots[1].Cross = nil
	forged := pkitest.Bundle(2, r1, stranger)
	forged.Roots[1].Cross = []*x509.Certificate{r2.Cross} // of another root
	for name, c := range map[string]struct {
		bundle  enrol.Bundle
		trusted *pkitest.CA
		want    []*pkitest.CA // the active one first
	}{
		"nothing new":                 {pkitest.Bundle(1, r1), r1, []*pkitest.CA{r1}},
		"certified by the trusted":    {pkitest.Bundle(2, r1, r2), r1, []*pkitest.CA{r2, r1}},
		"over two roots":              {pkitest.Bundle(3, r1, r2, r3), r1, []*pkitest.CA{r3, r1, r2}},
		"over a retired one":          {retired(pkitest.Bundle(3, r1, r2, r3), 2), r1, []*pkitest.CA{r3}},
		"the trusted is not listed":   {pkitest.Bundle(3, r2), r1, []*pkitest.CA{r2}},
		"over one that is not listed": {pkitest.Bundle(3, r3), r1, nil},
		"backwards":                   {pkitest.Bundle(3, r1, r2), r2, []*pkitest.CA{r2}},
		"not certified":               {bare, r1, []*pkitest.CA{r1}},
		"cross of another root":       {forged, r1, []*pkitest.CA{r1}},
		"a stranger's":                {pkitest.Bundle(3, stranger), r1, nil},
		"a stranger's beside ours":    {pkitest.Bundle(3, r1, stranger), r1, []*pkitest.CA{r1}},
	} {
		got, err := c.bundle.Accept([]*x509.Certificate{c.trusted.Root})
		var want []*x509.Certificate
		for _, ca := range c.want {
			want = append(want, ca.Root)
		}
		if !slices.EqualFunc(got, want, (*x509.Certificate).Equal) || (err == nil) != (want != nil) || (err != nil && !errors.Is(err, enrol.ErrBundle)) {
			t.Errorf("%s: %d roots, %v; want %d", name, len(got), err, len(want))
		}
	}
}

func TestBundleValidate(t *testing.T) {
	t.Parallel()
	r1 := pkitest.New(t, td)
	good := pkitest.Bundle(1, r1)
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*enrol.Bundle){
		"no version":     func(b *enrol.Bundle) { b.Version = 0 },
		"no roots":       func(b *enrol.Bundle) { b.Roots = nil },
		"all retired":    func(b *enrol.Bundle) { b.Roots[0].State = enrol.RootRetired },
		"twice":          func(b *enrol.Bundle) { b.Roots = append(b.Roots, b.Roots[0]) },
		"no certificate": func(b *enrol.Bundle) { b.Roots[0].Certificate = nil },
		"a leaf":         func(b *enrol.Bundle) { b.Roots[0].Certificate = r1.Credentials(device).Leaf() },
		"an intermediate": func(b *enrol.Bundle) {
			b.Roots[0].Certificate = r1.Intermediate(device.Kind)
		},
	} {
		b := pkitest.Bundle(1, r1)
		change(&b)
		if err := b.Validate(); !errors.Is(err, enrol.ErrBundle) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Live handshakes before, during and after a change of the root, with an endpoint
// that has heard of it and one that has not.
func TestRootChange(t *testing.T) {
	t.Parallel()
	r1 := pkitest.New(t, td)
	r2 := r1.Successor()
	server, informed, unaware := r1.Credentials(relay), r1.Credentials(device), r1.Credentials(device)
	cfg := server.ServerConfig(nil)
	check := func(step string, c *enrol.Credentials, ok bool) {
		t.Helper()
		if o := handshake(t, c.ClientConfig(relay.DNSName(), nil), cfg); o.ok() != ok {
			t.Errorf("%s: %v, %v", step, o.clientErr, o.serverErr)
		}
	}
	swap := func(c *enrol.Credentials, b enrol.Bundle) {
		t.Helper()
		if changed, err := c.SwapBundle(b); err != nil || !changed || c.BundleVersion() != b.Version {
			t.Fatalf("version %d: %v, %v", b.Version, changed, err)
		}
	}
	both := pkitest.Bundle(2, r1, r2)
	swap(server, both)
	swap(informed, both)
	check("both roots known", informed, true)
	check("the server knows both", unaware, true)

	if err := server.Swap(r2.Issue(relay, pkitest.Options{}), nil); err != nil {
		t.Fatal(err)
	}
	check("server below the new root", informed, true)
	check("server below the new root, old bundle", unaware, true)
	stripped := r2.Issue(relay, pkitest.Options{})
	stripped.Certificate = stripped.Certificate[:2] // so it was the cross certificate
	if err := server.Swap(stripped, nil); err != nil {
		t.Fatal(err)
	}
	check("no cross certificate", informed, true)
	check("no cross certificate, old bundle", unaware, false)
	if err := server.Swap(r2.Issue(relay, pkitest.Options{}), nil); err != nil {
		t.Fatal(err)
	}

	if err := informed.Swap(r2.Issue(device, pkitest.Options{}), nil); err != nil {
		t.Fatal(err)
	}
	only := pkitest.Bundle(3, r1, r2)
	only.Roots[0].State = enrol.RootRetired
	swap(server, only)
	check("old root retired, new certificate", informed, true)
	check("old root retired, old certificate", unaware, false)

	if changed, err := server.SwapBundle(both); !errors.Is(err, enrol.ErrBundle) || changed || len(server.Roots()) != 1 {
		t.Errorf("an older bundle: %v, %v, %d roots", changed, err, len(server.Roots()))
	}
	if changed, err := server.SwapBundle(only); err != nil || changed {
		t.Errorf("the same bundle: %v, %v", changed, err)
	}
}

func TestBundleVersionOnDisk(t *testing.T) {
	t.Parallel()
	r1 := pkitest.New(t, td)
	c := r1.Credentials(device)
	if _, err := c.SwapBundle(pkitest.Bundle(7, r1, r1.Successor())); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := c.Save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := enrol.LoadCredentials(dir)
	if err != nil || got.BundleVersion() != 7 || len(got.Roots()) != 2 {
		t.Fatalf("loaded: %v", err)
	}
	if err := got.Adopt(c); err != nil || got.BundleVersion() != 7 {
		t.Errorf("adopted: version %d, %v", got.BundleVersion(), err)
	}
	if err := got.Swap(c.Certificate(), c.Roots()); err != nil || got.BundleVersion() != 0 {
		t.Errorf("roots without a bundle: version %d, %v", got.BundleVersion(), err)
	}
}

func FuzzParseBundle(f *testing.F) {
	r1, err := pkitest.NewCA(td)
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range []enrol.Bundle{pkitest.Bundle(1, r1), pkitest.Bundle(9, r1, r1.Successor())} {
		data, err := json.Marshal(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"version":1,"roots":[{"certificate":"x"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := enrol.ParseBundle(data)
		if err != nil {
			if !errors.Is(err, enrol.ErrBundle) {
				t.Errorf("an error of another sort: %v", err)
			}
			return
		}
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := enrol.ParseBundle(text)
		if err != nil || again.Version != b.Version || len(again.Trusted()) != len(b.Trusted()) {
			t.Errorf("%s came back as %s: %v", data, text, err)
		}
		if _, err := b.Accept([]*x509.Certificate{r1.Root}); err == nil && !slices.ContainsFunc(b.Roots, func(r enrol.Root) bool {
			return r.Certificate.Equal(r1.Root) || len(r.Cross) > 0
		}) {
			t.Error("accepted without a link to the trusted root")
		}
	})
}
