package authority

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"slices"

	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

const rsaLeastBits = 2048

// checkRequest refuses a certificate request that claims anything but the
// identity, which comes from evidence (a token, a certificate, the administrator)
// and never from the request. smallstep would overwrite a wrong serialNumber in
// silence; a device that asks for it is broken or lying, and is told so.
// ParseRequest has checked the signature.
func checkRequest(csr *x509.CertificateRequest, id identity.ID, extra profile.Extra) error {
	if err := checkKey(csr.PublicKey); err != nil {
		return err
	}
	want := profile.Leaf(id, extra)
	if cn := csr.Subject.CommonName; cn != "" && cn != want.Subject.CommonName {
		return claim("CN", cn, id)
	}
	if sn := csr.Subject.SerialNumber; sn != "" && sn != want.Subject.SerialNumber {
		return claim("serialNumber", sn, id)
	}
	for _, attr := range csr.Subject.Names {
		// A repeated attribute: only its last value is in the fields above.
		text, _ := attr.Value.(string)
		switch {
		case attr.Type.Equal([]int{2, 5, 4, 3}) && text != want.Subject.CommonName:
			return claim("CN", text, id)
		case attr.Type.Equal([]int{2, 5, 4, 5}) && text != want.Subject.SerialNumber:
			return claim("serialNumber", text, id)
		}
	}
	if len(csr.EmailAddresses) > 0 {
		return claim("e-mail SAN", csr.EmailAddresses[0], id)
	}
	for _, d := range csr.DNSNames {
		if !slices.Contains(want.DNSNames, d) {
			return claim("DNS SAN", d, id)
		}
	}
	for _, ip := range csr.IPAddresses {
		if !slices.ContainsFunc(want.IPAddresses, func(w net.IP) bool { return w.Equal(ip) }) {
			return claim("IP SAN", ip.String(), id)
		}
	}
	for _, u := range csr.URIs {
		if !slices.ContainsFunc(want.URIs, func(w *url.URL) bool { return w.String() == u.String() }) {
			return claim("URI SAN", u.String(), id)
		}
	}
	return exactly(csr, want, id)
}

// exactly demands of each sort of SAN all or nothing: a request that names a part
// means something else than what it will get.
func exactly(csr *x509.CertificateRequest, want *x509.Certificate, id identity.ID) error {
	for _, c := range []struct {
		sort      string
		got, want int
	}{
		{"DNS", len(csr.DNSNames), len(want.DNSNames)},
		{"IP", len(csr.IPAddresses), len(want.IPAddresses)},
		{"URI", len(csr.URIs), len(want.URIs)},
	} {
		if c.got != 0 && c.got != c.want {
			return fmt.Errorf("%w: the certificate request has %d %s SANs, the certificate for %s has %d",
				enrol.ErrForbidden, c.got, c.sort, id, c.want)
		}
	}
	return nil
}

func claim(field, value string, id identity.ID) error {
	const most = 80
	if len(value) > most {
		value = value[:most] + "…"
	}
	return fmt.Errorf("%w: the certificate request has %s %q, but is for %s", enrol.ErrForbidden, field, value, id)
}

func checkKey(key any) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() {
			return nil
		}
		return fmt.Errorf("%w: curve %s, want P-256 or P-384", enrol.ErrBadRequest, k.Curve.Params().Name)
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if k.N.BitLen() >= rsaLeastBits {
			return nil
		}
		return fmt.Errorf("%w: RSA key of %d bits, want %d", enrol.ErrBadRequest, k.N.BitLen(), rsaLeastBits)
	default:
		return fmt.Errorf("%w: key of type %T, want P-256, P-384, Ed25519 or RSA", enrol.ErrBadRequest, key)
	}
}

// spki is the SHA-256 of a key's SubjectPublicKeyInfo in hex.
func spki(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
