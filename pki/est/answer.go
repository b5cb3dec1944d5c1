package est

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/smallstep/pkcs7"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
)

// Media types of answers: RFC 7030 §4.1.3, §4.2.3 and §4.5.2.
const (
	MediaTypeCerts    = "application/pkcs7-mime"
	MediaTypeIssued   = "application/pkcs7-mime; smime-type=certs-only"
	MediaTypeCSRAttrs = "application/csrattrs"
)

const lineLength = 64 // of base64; stock clients give it to tools that want lines

// WriteCerts answers with certificates in a PKCS #7 without signers ("certs-only"),
// base64. mediaType is one of the constants.
func WriteCerts(w http.ResponseWriter, mediaType string, certs ...*x509.Certificate) error {
	var all []byte
	for _, c := range certs {
		all = append(all, c.Raw...)
	}
	der, err := pkcs7.DegenerateCertificate(all)
	if err != nil {
		return fmt.Errorf("certs-only answer: %w", err)
	}
	write(w, mediaType, der)
	return nil
}

// WriteCSRAttrs answers with what a certificate request should have (RFC 7030
// §4.5.2, RFC 8951 §4): an EC key on P-256 and a signature with SHA-256. No name is
// asked for, because names come from the evidence and not from the request.
func WriteCSRAttrs(w http.ResponseWriter) error {
	type attribute struct {
		Type   asn1.ObjectIdentifier
		Values []asn1.ObjectIdentifier `asn1:"set"`
	}
	der, err := asn1.Marshal(struct {
		Key       attribute
		Signature asn1.ObjectIdentifier
	}{
		Key: attribute{
			Type:   asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1},        // id-ecPublicKey
			Values: []asn1.ObjectIdentifier{{1, 2, 840, 10045, 3, 1, 7}}, // secp256r1
		},
		Signature: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, // ecdsa-with-SHA256
	})
	if err != nil {
		return fmt.Errorf("CSR attributes: %w", err)
	}
	write(w, MediaTypeCSRAttrs, der)
	return nil
}

func write(w http.ResponseWriter, mediaType string, der []byte) {
	text := base64.StdEncoding.EncodeToString(der)
	var lines strings.Builder
	for len(text) > lineLength {
		lines.WriteString(text[:lineLength] + "\n")
		text = text[lineLength:]
	}
	lines.WriteString(text + "\n")
	w.Header().Set("Content-Type", mediaType)
	// RFC 8951 §3.1 has clients ignore it; those of RFC 7030 want it.
	w.Header().Set("Content-Transfer-Encoding", "base64")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(lines.String())) // the client is gone, and there is nobody to tell
}

// WriteProblem answers a refusal: a problem document (RFC 9457) for who accepts
// one, and else text for people (RFC 7030 §4.2.3).
func WriteProblem(w http.ResponseWriter, r *http.Request, p *enrol.Problem) {
	if Accepts(r, enrol.ProblemMediaType) || Accepts(r, "application/json") {
		w.Header().Set("Content-Type", enrol.ProblemMediaType)
		w.WriteHeader(p.Status)
		_ = json.NewEncoder(w).Encode(p) // as above
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(p.Status)
	_, _ = fmt.Fprintln(w, p.Error()) // as above
}

// Accepts tells whether the client names the media type in Accept. A wildcard does
// not count: it is what clients send that never thought about it.
func Accepts(r *http.Request, mediaType string) bool {
	for _, line := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			if kind, _, err := mime.ParseMediaType(part); err == nil && kind == mediaType {
				return true
			}
		}
	}
	return false
}
