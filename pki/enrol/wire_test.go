package enrol_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// readProblem reads the error of an answer.
func readProblem(t *testing.T, status int, kind string, body []byte) error {
	t.Helper()
	resp := &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Content-Type": {kind}},
		Body: io.NopCloser(bytes.NewReader(body)),
	}
	defer resp.Body.Close()
	return enrol.ReadProblem(resp)
}

func TestReadProblem(t *testing.T) {
	t.Parallel()
	const kind = enrol.ProblemMediaType
	for _, c := range []struct {
		name   string
		status int
		kind   string
		body   string
		want   error
		text   string
	}{
		{"ours", 403, kind, `{"type":"urn:comtrexx:pki:blocked","detail":"device/1 is blocked"}`, enrol.ErrBlocked, "device/1 is blocked"},
		{"a type from the future", 409, kind, `{"type":"urn:comtrexx:pki:new","title":"new"}`, enrol.ErrSuperseded, "new"},
		{"a proxy", 502, "text/html", "<html>", enrol.ErrServer, "the PKI answered Bad Gateway"},
		{"a captive portal", 302, "text/html", "", enrol.ErrBadRequest, "the PKI answered Found"},
		{"a body that says another status", 429, kind, `{"status":200}`, enrol.ErrRateLimit, "the PKI answered Too Many Requests"},
	} {
		if err := readProblem(t, c.status, c.kind, []byte(c.body)); !errors.Is(err, c.want) || err.Error() != c.text {
			t.Errorf("%s: %v, want %v: %s", c.name, err, c.want, c.text)
		}
	}
}

// An answer must be for the key that was made, lead to the trusted root and not
// replace it.
func TestIssuedIsChecked(t *testing.T) {
	t.Parallel()
	ca, foreign := pkitest.New(t, td), pkitest.New(t, td)
	key := pkitest.NewKey()
	chain := func(c *pkitest.CA, o pkitest.Options) string {
		o.Key = key
		text := []byte{}
		creds := c.CredentialsWith(c.Issue(device, o))
		text = append(text, enrol.EncodeCertificates(creds.Leaf())...)
		signer := o.Signer
		if signer == 0 {
			signer = device.Kind
		}
		return string(append(text, enrol.EncodeCertificates(c.Intermediate(signer))...))
	}
	both := string(append(ca.RootPEM(), foreign.RootPEM()...))
	next := ca.Successor()
	bundle := func(v uint64, cas ...*pkitest.CA) *enrol.Bundle { b := pkitest.Bundle(v, cas...); return &b }
	for name, c := range map[string]struct {
		issued enrol.Issued
		ok     bool
	}{
		"good":                    {enrol.Issued{Chain: chain(ca, pkitest.Options{}), Roots: string(ca.RootPEM())}, true},
		"a root more":             {enrol.Issued{Chain: chain(ca, pkitest.Options{}), Roots: both}, true},
		"a root that came along":  {enrol.Issued{Chain: chain(foreign, pkitest.Options{}), Roots: both}, false},
		"after a change of roots": {enrol.Issued{Chain: chain(next, pkitest.Options{}), Bundle: bundle(2, ca, next)}, true},
		"the old root gone":       {enrol.Issued{Chain: chain(next, pkitest.Options{}), Bundle: bundle(2, next)}, true},
		"bundle of a stranger":    {enrol.Issued{Chain: chain(foreign, pkitest.Options{}), Bundle: bundle(2, ca, foreign)}, false},
		"stranger in the bundle":  {enrol.Issued{Chain: chain(ca, pkitest.Options{}), Bundle: bundle(2, foreign, ca)}, true},
		"another root":            {enrol.Issued{Chain: chain(foreign, pkitest.Options{}), Roots: string(foreign.RootPEM())}, false},
		"chain of another root":   {enrol.Issued{Chain: chain(foreign, pkitest.Options{}), Roots: string(ca.RootPEM())}, false},
		"wrong authority":         {enrol.Issued{Chain: chain(ca, pkitest.Options{Signer: service.Kind}), Roots: string(ca.RootPEM())}, false},
		"no chain":                {enrol.Issued{Roots: string(ca.RootPEM())}, false},
		"no roots":                {enrol.Issued{Chain: chain(ca, pkitest.Options{})}, false},
	} {
		if _, err := c.issued.Credentials(key, ca.Credentials(device).Roots()); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := enrol.Issued{Chain: chain(ca, pkitest.Options{}), Roots: string(ca.RootPEM())}
	if _, err := good.Credentials(pkitest.NewKey(), nil); !errors.Is(err, enrol.ErrCredentials) {
		t.Errorf("another key: %v", err)
	}
}

func FuzzReadProblem(f *testing.F) {
	f.Add(403, enrol.ProblemMediaType, []byte(`{"type":"urn:comtrexx:pki:blocked"}`))
	f.Add(500, "text/html; charset=x", []byte("<html>"))
	f.Fuzz(func(t *testing.T, status int, kind string, body []byte) {
		err := readProblem(t, status, kind, body)
		for _, reason := range []error{
			enrol.ErrBadRequest, enrol.ErrToken, enrol.ErrForbidden, enrol.ErrBlocked, enrol.ErrSuperseded, enrol.ErrRateLimit, enrol.ErrServer, enrol.ErrUnsafe,
		} {
			if errors.Is(err, reason) {
				return
			}
		}
		t.Errorf("%d %q: an answer without a reason: %v", status, kind, err)
	})
}
