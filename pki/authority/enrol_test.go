package authority

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/audit"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
	"github.com/comtrexx-cloud/comtrexx/pki/store"
)

func TestIssuedCertificatesFollowTheProfile(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	for _, id := range []identity.ID{device, service, relay} {
		c := enrolled(t, a, id)
		leaf, want := c.Leaf(), profile.Leaf(id, profile.Extra{})
		if leaf.Subject.String() != want.Subject.String() {
			t.Errorf("%s: subject %s, want %s", id, leaf.Subject, want.Subject)
		}
		if len(leaf.URIs) != 1 || *leaf.URIs[0] != *want.URIs[0] || len(leaf.DNSNames) != len(want.DNSNames) ||
			len(leaf.IPAddresses) != 0 || len(leaf.EmailAddresses) != 0 {
			t.Errorf("%s: SANs %v %v %v", id, leaf.URIs, leaf.DNSNames, leaf.IPAddresses)
		}
		if leaf.KeyUsage != want.KeyUsage || len(leaf.ExtKeyUsage) != 2 || leaf.IsCA {
			t.Errorf("%s: usage %v, %v, CA %v", id, leaf.KeyUsage, leaf.ExtKeyUsage, leaf.IsCA)
		}
		if life := time.Until(leaf.NotAfter); life < 30*24*time.Hour-time.Minute || life > 30*24*time.Hour {
			t.Errorf("%s: lives %v", id, life)
		}
		if back := time.Since(leaf.NotBefore); back < time.Hour || back > time.Hour+time.Minute {
			t.Errorf("%s: backdated %v", id, back)
		}
	}
}

// A request that claims what the token does not give is refused and noted,
// and the token stays good.
func TestRequestsThatClaimOthers(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	uri := func(s string) []*url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return []*url.URL{u}
	}
	twoCNs := pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{
		{Type: []int{2, 5, 4, 3}, Value: other.Name}, {Type: []int{2, 5, 4, 3}, Value: device.Name},
	}}
	for name, c := range map[string]struct {
		tmpl x509.CertificateRequest
		ok   bool
	}{
		"empty":             {x509.CertificateRequest{}, true},
		"own serial and CN": {x509.CertificateRequest{Subject: pkix.Name{SerialNumber: device.Name, CommonName: device.Name}}, true},
		"all own names": {x509.CertificateRequest{
			Subject: profile.Subject(device), DNSNames: device.DNSNames(), URIs: uri(device.String()),
		}, true},
		"other serialNumber": {x509.CertificateRequest{Subject: pkix.Name{SerialNumber: other.Name}}, false},
		"serial without its leading zero": {x509.CertificateRequest{
			Subject: pkix.Name{SerialNumber: "123456789"},
		}, false},
		"other CN":                {x509.CertificateRequest{Subject: pkix.Name{CommonName: other.Name}}, false},
		"own CN, other serial":    {x509.CertificateRequest{Subject: pkix.Name{CommonName: device.Name, SerialNumber: other.Name}}, false},
		"two CNs":                 {x509.CertificateRequest{Subject: twoCNs}, false},
		"other DNS name":          {x509.CertificateRequest{DNSNames: other.DNSNames()}, false},
		"DNS name too many":       {x509.CertificateRequest{DNSNames: append(device.DNSNames(), "localhost")}, false},
		"DNS name twice":          {x509.CertificateRequest{DNSNames: append(device.DNSNames(), device.DNSNames()...)}, false},
		"IP address":              {x509.CertificateRequest{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, false},
		"e-mail address":          {x509.CertificateRequest{EmailAddresses: []string{"a@b.c"}}, false},
		"other URI":               {x509.CertificateRequest{URIs: uri(other.String())}, false},
		"URI of a service":        {x509.CertificateRequest{URIs: uri(service.String())}, false},
		"URI of an authority":     {x509.CertificateRequest{URIs: uri("spiffe://comtrexx.test/authority/device")}, false},
		"URI of another domain":   {x509.CertificateRequest{URIs: uri("spiffe://evil.test/device/0123456789")}, false},
		"own URI and another URI": {x509.CertificateRequest{URIs: append(uri(device.String()), uri(other.String())...)}, false},
	} {
		tok, before := token(t, a, device), issuedTo(t, a, device)
		key, csr := request(t, c.tmpl)
		issued, err := a.Enrol(t.Context(), tok, csr)
		if c.ok {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if got := credentials(t, a, key, issued).ID(); got != device {
				t.Errorf("%s: certificate for %s", name, got)
			}
			continue
		}
		if !errors.Is(err, enrol.ErrForbidden) {
			t.Errorf("%s: %v, want %v", name, err, enrol.ErrForbidden)
		}
		if got := last(t, a); got.Event != audit.EventRefuse || got.Identity != device.Path() || got.SPKI == "" {
			t.Errorf("%s: audit log says %+v", name, got)
		}
		if issuedTo(t, a, device) != before {
			t.Errorf("%s: a certificate was stored", name)
		}
		_, csr = request(t, x509.CertificateRequest{})
		if _, err := a.Enrol(t.Context(), tok, csr); err != nil {
			t.Errorf("%s: the token was burnt: %v", name, err)
		}
	}
}

func TestKeysAndSignatures(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	must := func(key crypto.Signer, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return requestFor(t, key, x509.CertificateRequest{})
	}
	ec := func(c elliptic.Curve) []byte { k, err := ecdsa.GenerateKey(c, rand.Reader); return must(k, err) }
	rsaKey := func(bits int) []byte { k, err := rsa.GenerateKey(rand.Reader, bits); return must(k, err) }
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	edCSR := must(ed, err)
	broken, _ := pem.Decode(ec(elliptic.P256()))
	broken.Bytes[len(broken.Bytes)-1] ^= 1
	for name, c := range map[string]struct {
		csr []byte
		ok  bool
	}{
		"P-256":         {ec(elliptic.P256()), true},
		"P-384":         {ec(elliptic.P384()), true},
		"Ed25519":       {edCSR, true},
		"RSA 2048":      {rsaKey(2048), true},
		"RSA 1024":      {rsaKey(1024), false},
		"P-224":         {ec(elliptic.P224()), false},
		"P-521":         {ec(elliptic.P521()), false},
		"bad signature": {pem.EncodeToMemory(broken), false},
		"no PEM":        {broken.Bytes, false},
		"empty":         {nil, false},
	} {
		_, err := a.Enrol(t.Context(), token(t, a, device), c.csr)
		if c.ok && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !c.ok && !errors.Is(err, enrol.ErrBadRequest) {
			t.Errorf("%s: %v, want %v", name, err, enrol.ErrBadRequest)
		}
	}
}

func TestTokenWorksOnce(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	tok := token(t, a, device)
	const callers = 50
	var won, lost int
	var mu sync.Mutex // guards won and lost
	var wg sync.WaitGroup
	for range callers {
		_, csr := request(t, x509.CertificateRequest{})
		wg.Go(func() {
			_, err := a.Enrol(t.Context(), tok, csr)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case errors.Is(err, enrol.ErrToken):
				lost++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 || lost != callers-1 || issuedTo(t, a, device) != 1 {
		t.Errorf("%d won, %d lost, %d certificates", won, lost, issuedTo(t, a, device))
	}
}

// Whoever asks again with the same key and token has lost the answer, and gets the same
// certificate; nobody else gets anything, and nothing more is issued.
func TestTokenAgain(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	tok := token(t, a, device)
	key := pkitest.NewKey()
	ask := func(tmpl x509.CertificateRequest) (enrol.Issued, error) {
		return a.Enrol(t.Context(), tok, requestFor(t, key, tmpl))
	}
	chains := make(chan string, 20)
	var wg sync.WaitGroup
	for range cap(chains) { // a device that is in a hurry
		wg.Go(func() {
			issued, err := ask(x509.CertificateRequest{})
			if err != nil {
				t.Error(err)
			}
			chains <- issued.Chain
		})
	}
	wg.Wait()
	first := <-chains
	for range cap(chains) - 1 {
		if c := <-chains; c != first {
			t.Errorf("another certificate:\n%s\nthe first was\n%s", c, first)
		}
	}
	if n := issuedTo(t, a, device); n != 1 {
		t.Errorf("%d certificates, want 1", n)
	}
	issued, err := ask(x509.CertificateRequest{})
	if err != nil || issued.Chain != first {
		t.Fatalf("once more: %v", err)
	}
	c := credentials(t, a, key, issued)
	if e := last(t, a); e.Event != audit.EventRepeat || e.Identity != device.Path() || e.Fingerprint != enrol.Fingerprint(c.Leaf()) {
		t.Errorf("audit log says %+v", e)
	}
	refused := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		if e := last(t, a); e.Event != audit.EventRefuse {
			t.Errorf("%s: audit log says %+v", what, e)
		}
	}
	_, csr := request(t, x509.CertificateRequest{})
	_, err = a.Enrol(t.Context(), tok, csr)
	refused("another key", err, enrol.ErrToken)
	_, err = ask(x509.CertificateRequest{DNSNames: other.DNSNames()})
	refused("another name", err, enrol.ErrForbidden)
	if _, err := a.Block(t.Context(), device, "", "test"); err != nil {
		t.Fatal(err)
	}
	_, err = ask(x509.CertificateRequest{})
	refused("blocked", err, enrol.ErrBlocked)
	if _, err := a.Unblock(t.Context(), device, "", "test"); err != nil {
		t.Fatal(err)
	}
	if issued, err := ask(x509.CertificateRequest{}); err != nil || issued.Chain != first {
		t.Errorf("not blocked any more: %v", err)
	}
	next, err := renew(t, a, c)
	if err == nil {
		_, err = renew(t, a, next) // which shows that it is in use
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = ask(x509.CertificateRequest{})
	refused("after a renewal", err, enrol.ErrToken)
}

func TestTokenForms(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	for _, tok := range []string{"", "x", "AAAAAAAA-AAAAAAAA-AAAAAAAA-AAAAAAAA", string(make([]byte, 10000))} {
		_, csr := request(t, x509.CertificateRequest{})
		if _, err := a.Enrol(t.Context(), tok, csr); !errors.Is(err, enrol.ErrToken) {
			t.Errorf("token %.40q: %v", tok, err)
		}
	}
	if n := len(entries(t, a)); n != 0 {
		t.Errorf("%d entries for tokens that nobody made", n)
	}
	for _, change := range []func(string) string{
		func(s string) string { return " " + s + " " },
		func(s string) string {
			b := []byte(s)
			for i, c := range b {
				if c >= 'A' && c <= 'Z' {
					b[i] = c + 'a' - 'A'
				}
			}
			return string(b)
		},
	} {
		_, csr := request(t, x509.CertificateRequest{})
		if _, err := a.Enrol(t.Context(), change(token(t, a, device)), csr); err != nil {
			t.Error(err)
		}
	}
}

func TestTokenExpires(t *testing.T) {
	t.Parallel()
	dir, now := stateDir(t), time.Now()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now)) // the bubble starts in 2000, before the keys were made
		a, err := New(Config{StateDir: dir, PlainKeys: true})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		for _, c := range []struct {
			wait time.Duration
			ok   bool
		}{{59 * time.Minute, true}, {time.Hour, false}} {
			tok, used := token(t, a, device), token(t, a, device)
			_, again := request(t, x509.CertificateRequest{})
			if _, err := a.Enrol(t.Context(), used, again); err != nil {
				t.Fatal(err)
			}
			time.Sleep(c.wait)
			if _, err := a.Enrol(t.Context(), used, again); (err == nil) != c.ok {
				t.Errorf("once more after %v: %v", c.wait, err)
			}
			_, csr := request(t, x509.CertificateRequest{})
			if _, err := a.Enrol(t.Context(), tok, csr); (err == nil) != c.ok {
				t.Errorf("after %v: %v", c.wait, err)
			}
		}
		if e := last(t, a); e.Event != audit.EventRefuse || e.Identity != device.Path() {
			t.Errorf("audit log says %+v", e)
		}
	})
}

func TestIssueWithExtraNames(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	loopback := profile.Extra{DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}
	c, err := a.Credentials(t.Context(), relay, loopback, "test")
	if err != nil {
		t.Fatal(err)
	}
	next, err := renew(t, a, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range []*x509.Certificate{c.Leaf(), next.Leaf()} {
		if err := errors.Join(leaf.VerifyHostname("localhost"), leaf.VerifyHostname("127.0.0.1")); err != nil {
			t.Error(err)
		}
	}
	for name, try := range map[string]struct {
		id    identity.ID
		extra profile.Extra
	}{
		"a foreign name":            {relay, profile.Extra{DNS: []string{"evil.example"}}},
		"a name of a device":        {relay, profile.Extra{DNS: device.DNSNames()}},
		"a device at an IP address": {device, profile.Extra{IPs: loopback.IPs}},
		"a device at localhost":     {device, profile.Extra{DNS: loopback.DNS}},
	} {
		if _, err := a.Credentials(t.Context(), try.id, try.extra, "test"); !errors.Is(err, enrol.ErrForbidden) {
			t.Errorf("%s: %v, want %v", name, err, enrol.ErrForbidden)
		}
	}
}

// failing is a store that takes nothing into one bucket while on is set.
type failing struct {
	store.DB
	bucket store.Bucket
	on     *atomic.Bool
}

type failingTx struct {
	store.Tx
	db failing
}

var errDiskFull = errors.New("disk full")

func (f failing) Update(ctx context.Context, change func(store.Tx) error) error {
	return f.DB.Update(ctx, func(tx store.Tx) error { return change(failingTx{tx, f}) })
}

func (t failingTx) Put(b store.Bucket, key, value []byte) error {
	if b == t.db.bucket && t.db.on.Load() {
		return errDiskFull
	}
	return t.Tx.Put(b, key, value)
}

// Without its line in the audit log there is no certificate.
func TestNoAuditNoCertificate(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	tok := token(t, a, device)
	var broken atomic.Bool
	a.db = failing{a.db, audit.Bucket, &broken}
	broken.Store(true)
	_, csr := request(t, x509.CertificateRequest{})
	if issued, err := a.Enrol(t.Context(), tok, csr); !errors.Is(err, errDiskFull) || issued.Chain != "" {
		t.Errorf("issued without an audit log: %v", err)
	}
	if n := issuedTo(t, a, device); n != 0 {
		t.Errorf("%d certificates stored", n)
	}
	broken.Store(false)
	if _, err := a.Enrol(t.Context(), tok, csr); err != nil {
		t.Errorf("the token did not survive: %v", err)
	}
}

func TestForeignIdentities(t *testing.T) {
	t.Parallel()
	a := open(t, Config{})
	for _, id := range []identity.ID{
		{}, identity.Device("evil.test", "0123456789"), identity.Authority(td, identity.KindDevice), identity.Device(td, "123456789"),
	} {
		_, csr := request(t, x509.CertificateRequest{})
		_, tokenErr := a.Token(t.Context(), id, 0, "test")
		_, issueErr := a.Issue(t.Context(), id, csr, profile.Extra{}, "test")
		_, blockErr := a.Block(t.Context(), id, "", "test")
		for _, err := range []error{tokenErr, issueErr, blockErr} {
			if !errors.Is(err, enrol.ErrBadRequest) {
				t.Errorf("%s: %v, want %v", id, err, enrol.ErrBadRequest)
			}
		}
	}
}

func FuzzEnrol(f *testing.F) {
	a := open(f, Config{})
	_, good := request(f, x509.CertificateRequest{})
	_, claims := request(f, x509.CertificateRequest{Subject: pkix.Name{SerialNumber: other.Name}, DNSNames: []string{"x"}})
	for _, csr := range [][]byte{good, claims} {
		block, _ := pem.Decode(csr)
		f.Add("AAAAAAAA-AAAAAAAA-AAAAAAAA-AAAAAAAA", block.Bytes)
	}
	f.Add("", []byte{0x30, 0x00})
	f.Fuzz(func(t *testing.T, tok string, der []byte) {
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
		if _, err := a.Enrol(t.Context(), tok, text); err == nil {
			t.Error("enrolled with a token that nobody made")
		}
		csr, err := enrol.ParseRequest(text)
		if err != nil {
			if !errors.Is(err, enrol.ErrBadRequest) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		err = checkRequest(csr, device, profile.Extra{})
		if err == nil && (len(csr.EmailAddresses)+len(csr.IPAddresses) > 0 || len(csr.DNSNames) > 1 || len(csr.URIs) > 1) {
			t.Error("accepted names that are not the device's")
		}
	})
}
