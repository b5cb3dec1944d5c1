package est

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
)

// MediaTypePKCS10 is that of a certificate request (RFC 7030 §4.2.1).
const MediaTypePKCS10 = "application/pkcs10"

// MaxRequest bounds the body of a certificate request, in bytes. A request for an
// RSA key of 4096 bits takes about 2,300.
const MaxRequest = 16 << 10

// ReadRequest reads the certificate request of an HTTP request: of the media type
// application/pkcs10, and as [ParseRequest] takes it. Errors wrap
// [enrol.ErrBadRequest].
func ReadRequest(r *http.Request) (*x509.CertificateRequest, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != MediaTypePKCS10 {
		return nil, fmt.Errorf("%w: Content-Type %q, want %s", enrol.ErrBadRequest, clip(r.Header.Get("Content-Type")), MediaTypePKCS10)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxRequest+1))
	if err != nil {
		return nil, fmt.Errorf("%w: body: %w", enrol.ErrBadRequest, err)
	}
	return ParseRequest(body)
}

// ParseRequest reads a PKCS #10 request from base64 text (RFC 4648 §4; line breaks
// and other blanks are skipped, RFC 8951 §3.1) or, because people send it, from PEM
// text, and checks its signature. A Content-Transfer-Encoding header means nothing
// (RFC 8951 §3.1). Errors wrap [enrol.ErrBadRequest].
func ParseRequest(body []byte) (*x509.CertificateRequest, error) {
	if len(body) > MaxRequest {
		return nil, fmt.Errorf("%w: the body has more than %d bytes", enrol.ErrBadRequest, MaxRequest)
	}
	body = bytes.TrimSpace(body)
	if bytes.HasPrefix(body, []byte("-----BEGIN ")) {
		return enrol.ParseRequest(body)
	}
	der, err := base64.StdEncoding.DecodeString(string(bytes.Join(bytes.Fields(body), nil)))
	if err != nil {
		return nil, fmt.Errorf("%w: the body is neither base64 nor PEM: %w", enrol.ErrBadRequest, err)
	}
	return enrol.ParseRequestDER(der)
}

// clip keeps a peer's text in an error message short.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
