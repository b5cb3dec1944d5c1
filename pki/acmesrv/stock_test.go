package acmesrv_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/comtrexx-cloud/comtrexx/pki/acmesrv"
)

const araName = "ara.comtrexx.test"

// Stock ACME clients get a certificate with what "pki acme eab" prints, and with
// nothing else.
func TestStockClients(t *testing.T) {
	t.Parallel()
	for _, client := range []struct {
		program string
		port    string // of the proof that it gives
		run     func(r stockRun) (args []string)
		cert    string // below the run's directory
		key     string
		trust   string // the variable with the file of the roots
	}{
		{
			program: "certbot", port: "80", trust: "REQUESTS_CA_BUNDLE",
			run: func(r stockRun) []string {
				return []string{
					"certonly", "--standalone", "--non-interactive", "--agree-tos", "--register-unsafely-without-email",
					"--server", r.directory, "--eab-kid=" + r.eab.KeyID, "--eab-hmac-key=" + r.eab.HMACKey, // a key may begin with "-"
					"--http-01-address", "127.0.0.1", "--http-01-port", strconv.Itoa(r.port), "-d", araName,
					"--config-dir", r.dir, "--work-dir", filepath.Join(r.dir, "work"), "--logs-dir", filepath.Join(r.dir, "logs"),
				}
			},
			cert: "live/" + araName + "/fullchain.pem", key: "live/" + araName + "/privkey.pem",
		},
		{
			program: "lego", port: "443", trust: "LEGO_CA_CERTIFICATES",
			run: func(r stockRun) []string {
				return []string{
					"--server", r.directory, "--accept-tos", "--email", "ops@comtrexx.test", "--eab", "--kid=" + r.eab.KeyID, "--hmac=" + r.eab.HMACKey,
					"--path", r.dir, "--domains", araName, "--tls", "--tls.port", net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)), "run",
				}
			},
			cert: "certificates/" + araName + ".crt", key: "certificates/" + araName + ".key",
		},
	} {
		t.Run(client.program, func(t *testing.T) {
			t.Parallel()
			program, err := exec.LookPath(client.program)
			if err != nil {
				t.Skip(err)
			}
			ln := listen(t)
			r := stockRun{dir: t.TempDir(), port: ln.Addr().(*net.TCPAddr).Port}
			if err := ln.Close(); err != nil { // the client listens there
				t.Fatal(err)
			}
			w := start(t, func(c *acmesrv.Config) {
				c.Dial = map[string]string{araName + ":" + client.port: ln.Addr().String()}
			})
			r.directory, r.eab = w.https.URL+acmesrv.DirectoryPath("srv-ara"), *w.eab("srv-ara")
			roots := filepath.Join(r.dir, "roots.pem")
			text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.https.Certificate().Raw})
			if err := os.WriteFile(roots, text, 0o600); err != nil {
				t.Fatal(err)
			}
			run := func() ([]byte, error) {
				cmd := exec.CommandContext(t.Context(), program, client.run(r)...)
				cmd.Env = append(os.Environ(), client.trust+"="+roots)
				return cmd.CombinedOutput()
			}
			if out, err := run(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			pair, err := tls.LoadX509KeyPair(filepath.Join(r.dir, client.cert), filepath.Join(r.dir, client.key))
			if err != nil {
				t.Fatal(err)
			}
			var chain []*x509.Certificate
			for _, der := range pair.Certificate {
				c, err := x509.ParseCertificate(der)
				if err != nil {
					t.Fatal(err)
				}
				chain = append(chain, c)
			}
			if _, err := w.verify(chain, araName, x509.ExtKeyUsageServerAuth); err != nil {
				t.Error(err)
			}
			// In a directory of its own it would need a new key.
			r.dir = t.TempDir()
			if out, err := run(); err == nil {
				t.Errorf("a second account with one key\n%s", out)
			}
		})
	}
}

// stockRun is what a client is told.
type stockRun struct {
	directory string
	eab       acmesrv.EAB
	port      int
	dir       string
}
