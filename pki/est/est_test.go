package est

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/smallstep/pkcs7"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

func request(t testing.TB) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "0123456789"}}, crypto.Signer(pkitest.NewKey()))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestParseRequest(t *testing.T) {
	t.Parallel()
	der := request(t)
	plain := base64.StdEncoding.EncodeToString(der)
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	for name, body := range map[string]string{
		"one line":          plain,
		"one line, newline": plain + "\n",
		"lines of 64":       plain[:64] + "\n" + plain[64:128] + "\n" + plain[128:],
		"lines with CRLF":   plain[:76] + "\r\n" + plain[76:] + "\r\n",
		"PEM":               string(asPEM),
		"PEM after a blank": "\n" + string(asPEM),
	} {
		if csr, err := ParseRequest([]byte(body)); err != nil || !bytes.Equal(csr.Raw, der) {
			t.Errorf("%s: %v", name, err)
		}
	}
	forged := bytes.Clone(der)
	forged[len(forged)-1] ^= 1
	for name, body := range map[string]string{
		"nothing":          "",
		"DER":              string(der),
		"cut off":          plain[:len(plain)/2],
		"bad signature":    base64.StdEncoding.EncodeToString(forged),
		"data behind":      base64.StdEncoding.EncodeToString(append(bytes.Clone(der), 0)),
		"URL alphabet":     strings.NewReplacer("+", "-", "/", "_").Replace(plain) + "-_-_",
		"a certificate":    "-----BEGIN CERTIFICATE-----\n" + plain + "\n-----END CERTIFICATE-----\n",
		"more than it may": plain + strings.Repeat("\n", MaxRequest),
	} {
		if _, err := ParseRequest([]byte(body)); !errors.Is(err, enrol.ErrBadRequest) {
			t.Errorf("%s: %v, want %v", name, err, enrol.ErrBadRequest)
		}
	}
}

func TestReadRequest(t *testing.T) {
	t.Parallel()
	body := base64.StdEncoding.EncodeToString(request(t))
	for kind, good := range map[string]bool{
		"application/pkcs10": true, "application/PKCS10; charset=utf-8": true,
		"": false, "application/x-www-form-urlencoded": false, "application/json": false,
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		if _, err := ReadRequest(r); (err == nil) != good || err != nil && !errors.Is(err, enrol.ErrBadRequest) {
			t.Errorf("%q: %v", kind, err)
		}
	}
	// An endless body is not read to its end.
	r := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader(body), endless{}))
	r.Header.Set("Content-Type", MediaTypePKCS10)
	if _, err := ReadRequest(r); !errors.Is(err, enrol.ErrBadRequest) || !strings.Contains(err.Error(), "more than") {
		t.Errorf("endless: %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

func decoded(t *testing.T, w *httptest.ResponseRecorder) []byte {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(w.Body.String())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestWriteCerts(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t, identity.DefaultTrustDomain)
	want := []*x509.Certificate{ca.Root, ca.Intermediate(identity.KindDevice)}
	w := httptest.NewRecorder()
	if err := WriteCerts(w, MediaTypeCerts, want...); err != nil {
		t.Fatal(err)
	}
	p7, err := pkcs7.Parse(decoded(t, w))
	if err != nil {
		t.Fatal(err)
	}
	if len(p7.Signers) != 0 || len(p7.Content) != 0 || len(p7.Certificates) != 2 || !p7.Certificates[0].Equal(want[0]) || !p7.Certificates[1].Equal(want[1]) {
		t.Errorf("%d signers, %d bytes, %d certificates", len(p7.Signers), len(p7.Content), len(p7.Certificates))
	}
	if got := w.Header().Get("Content-Type"); got != MediaTypeCerts {
		t.Errorf("Content-Type %q", got)
	}
	for line := range strings.Lines(w.Body.String()) {
		if len(line) > lineLength+1 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

// The bytes are those of RFC 8951 §4's structure for EC, written by hand: SEQUENCE {
// SEQUENCE { ecPublicKey, SET { prime256v1 } }, ecdsa-with-SHA256 }.
func TestWriteCSRAttrs(t *testing.T) {
	t.Parallel()
	const want = "3021" + "3015" + "06072a8648ce3d0201" + "310a" + "06082a8648ce3d030107" + "06082a8648ce3d040302"
	w := httptest.NewRecorder()
	if err := WriteCSRAttrs(w); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(decoded(t, w)); got != want || w.Header().Get("Content-Type") != MediaTypeCSRAttrs {
		t.Errorf("%s %s\nwant %s", w.Header().Get("Content-Type"), got, want)
	}
}

func TestWriteProblem(t *testing.T) {
	t.Parallel()
	problem := enrol.NewProblem(errors.Join(enrol.ErrBlocked))
	for accept, want := range map[string]string{
		"":                       "text/plain; charset=utf-8",
		"*/*":                    "text/plain; charset=utf-8",
		"application/pkcs7-mime": "text/plain; charset=utf-8",
		"application/pkcs7-mime, application/problem+json;q=0.9": enrol.ProblemMediaType,
		"application/json": enrol.ProblemMediaType,
	} {
		r, w := httptest.NewRequest(http.MethodPost, "/", nil), httptest.NewRecorder()
		r.Header.Set("Accept", accept)
		WriteProblem(w, r, problem)
		if got := w.Header().Get("Content-Type"); got != want || w.Code != http.StatusForbidden {
			t.Errorf("Accept %q: %d %q, want %q", accept, w.Code, got, want)
		}
		var back enrol.Problem
		if json.Unmarshal(w.Body.Bytes(), &back) == nil {
			if !errors.Is(&back, enrol.ErrBlocked) {
				t.Errorf("Accept %q: %s", accept, w.Body)
			}
		} else if w.Body.String() != enrol.ErrBlocked.Error()+"\n" {
			t.Errorf("Accept %q: %q", accept, w.Body)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	der := request(f)
	f.Add([]byte(base64.StdEncoding.EncodeToString(der)))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	f.Add([]byte("MA=="))
	f.Add(bytes.Repeat([]byte("\n"), MaxRequest))
	f.Fuzz(func(t *testing.T, body []byte) {
		csr, err := ParseRequest(body)
		if err != nil {
			if csr != nil || !errors.Is(err, enrol.ErrBadRequest) {
				t.Errorf("%v, %v", csr, err)
			}
			return
		}
		if err := csr.CheckSignature(); err != nil {
			t.Errorf("taken with a bad signature: %v", err)
		}
		again, err := ParseRequest([]byte(base64.StdEncoding.EncodeToString(csr.Raw)))
		if err != nil || !bytes.Equal(again.Raw, csr.Raw) {
			t.Errorf("not the same again: %v", err)
		}
	})
}
