package main

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

// run runs the program and gives what it prints.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	p := newProgram()
	p.SetArgs(append(args, "--state", filepath.Join(t.TempDir(), "none")))
	p.SetOut(&out)
	p.SetErr(&out)
	err := p.ExecuteContext(t.Context())
	return out.String(), err
}

// Handshakes that work and that do not, in words.
func TestInspectConnect(t *testing.T) {
	t.Parallel()
	ca, other := pkitest.New(t, td), pkitest.New(t, td)
	save := func(ca *pkitest.CA, o pkitest.Options) string {
		dir := t.TempDir()
		if err := ca.CredentialsWith(ca.Issue(testDevice, o)).Save(dir); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	ours, theirs, old := save(ca, pkitest.Options{}), save(other, pkitest.Options{}), save(ca, pkitest.Options{NotAfter: time.Now().Add(-3 * 24 * time.Hour)})

	relay := ca.Credentials(testRelay)
	serve := func(auth tls.ClientAuthType, plain bool, ahead time.Duration) string {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		}))
		if plain {
			s.Start()
		} else {
			s.TLS = &tls.Config{Certificates: []tls.Certificate{relay.Certificate()}, ClientAuth: auth, ClientCAs: ca.Roots(), MinVersion: tls.VersionTLS13}
			s.StartTLS()
		}
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	open, strict, plain := serve(tls.VerifyClientCertIfGiven, false, 0), serve(tls.RequireAndVerifyClientCert, false, 0), serve(0, true, 0)
	anonymous, future := serve(tls.NoClientCert, false, 0), serve(tls.VerifyClientCertIfGiven, false, 50*time.Minute)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args    []string
		want    []string
		mustNot string
	}{
		"good": {[]string{open, "--as", ours}, []string{
			"the handshake works", "TLS 1.3", "the other end, 1 of 2", "this end, 1 of 2", "spiffe://comtrexx.test/relay/r1", "spiffe://comtrexx.test/device/0123456789",
		}, "problem"},
		"as nobody":       {[]string{open, "--as", ours, "--name", "relay.comtrexx.test"}, []string{"the handshake works"}, "problem"},
		"without roots":   {[]string{open}, []string{"the handshake works"}, "problem"},
		"no certificate":  {[]string{strict}, []string{"error       remote error: tls: certificate required", "wants a certificate, and got none"}, "works"},
		"another PKI":     {[]string{strict, "--as", theirs}, []string{"refuses our own certificate", "issued by another PKI"}, "works"},
		"own expired":     {[]string{strict, "--as", old}, []string{"error       remote error", "expired 3 days ago", "recovery listener"}, "works"},
		"not asked":       {[]string{anonymous, "--as", ours}, []string{"did not ask for a certificate"}, "works"},
		"clock":           {[]string{future, "--as", ours}, []string{"your clock is 50 minutes behind"}, "works"},
		"name":            {[]string{open, "--as", ours, "--name", "relay.example.com"}, []string{"relay.example.com, is not in the certificate"}, "works"},
		"no TLS":          {[]string{plain}, []string{"does not speak TLS"}, "works"},
		"nobody":          {[]string{nobody}, []string{"nobody listens"}, "works"},
		"JSON of no TLS":  {[]string{plain, "--json"}, []string{`"problem": "the port does not speak TLS"`}, "works"},
		"JSON of a clock": {[]string{future, "--as", ours, "--json"}, []string{`"client_certificate_asked": true`, "50 minutes behind"}, "works"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := run(t, append([]string{"inspect", "--connect"}, c.args...)...)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			if strings.Contains(out, c.mustNot) {
				t.Errorf("%q in\n%s", c.mustNot, out)
			}
			if n := strings.Count(out, "your clock"); n > 1 {
				t.Errorf("the clock is said %d times:\n%s", n, out)
			}
		})
	}
}

func TestInspectUse(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{}, {"--connect", "nowhere"}, {"file.pem", "--error", "EOF"}, {"file.pem", "--as", "dir"}, {"--error", "the weather is fine"}, {"none.pem"},
	} {
		if out, err := run(t, append([]string{"inspect"}, args...)...); err == nil {
			t.Errorf("%q: %s", args, out)
		}
	}
	if out, err := run(t, "inspect", "--error", "remote error: tls: bad certificate"); err != nil || !strings.Contains(out, "refuses our own certificate") {
		t.Errorf("%s, %v", out, err)
	}
}
