// Package profile says what the certificates of the COMtrexx cloud look like.
//
// There are four forms, and each is a template for [x509.CreateCertificate]: the
// root, the cross certificate of a root, an intermediate per kind of endpoint, and
// the leaf of an endpoint. Certificates for the public names of servers (server.go)
// are a family of their own below the same root, which names no endpoint.
// The real authority and the throw-away one of package pkitest use the same
// templates, so that a test never passes on a certificate that the authority
// would not issue.
//
// The templates carry everything but time and key: the caller sets NotBefore
// and NotAfter. A serial number is left out, because x509.CreateCertificate
// then draws a random one (RFC 5280 §4.1.2.2).
//
// The package imports the standard library and pki/identity only.
package profile

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"slices"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// Organization is the subject O of every certificate.
const Organization = "COMtrexx cloud"

// SignedKinds lists the kinds of endpoints, each of which has its own
// intermediate.
func SignedKinds() []identity.Kind {
	return []identity.Kind{identity.KindDevice, identity.KindService, identity.KindRelay}
}

// Extra lists subject alternative names beyond those of the identity, e.g.
// "localhost" and 127.0.0.1 for a relay on a developer's machine. The zero
// value adds none.
type Extra struct {
	DNS []string
	IPs []net.IP
}

// Root is the template of the self-signed root of a trust domain. It permits an
// intermediate below it, and the cross certificate of a later root between the two.
func Root(td identity.TrustDomain) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{Organization}, CommonName: "Root " + string(td)},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            2,
	}
}

// Cross is the template of the certificate by which an older root vouches for the
// name and key of a newer one. It permits an intermediate below it.
func Cross(root *x509.Certificate) *x509.Certificate {
	return &x509.Certificate{
		RawSubject:            root.RawSubject,
		SubjectKeyId:          root.SubjectKeyId,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            1,
	}
}

// Intermediate is the template of the authority that signs one kind of
// endpoint. Its URI SAN is what [identity.FromChain] checks. It signs leaves
// only, for client and server authentication only.
func Intermediate(td identity.TrustDomain, signs identity.Kind) *x509.Certificate {
	id := identity.Authority(td, signs)
	return &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{Organization}, CommonName: "Authority " + signs.String() + " " + string(td)},
		URIs:                  []*url.URL{id.URI()},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
}

// Constrain adds critical name constraints (RFC 5280 §4.2.1.10) to an
// intermediate's template: URIs of the trust domain, DNS names below the kind's
// own suffix and below extraDNS, and for devices no IP address at all. A URI
// constraint needs the host form of a SPIFFE ID; an opaque URI fails under any.
func Constrain(c *x509.Certificate, td identity.TrustDomain, signs identity.Kind, extraDNS ...string) {
	c.PermittedDNSDomainsCritical = true
	c.PermittedURIDomains = []string{string(td)}
	c.PermittedDNSDomains = append([]string{Suffix(td, signs)}, extraDNS...)
	if signs == identity.KindDevice {
		c.ExcludedIPRanges = everyAddress()
	}
}

// Suffix is the DNS domain that holds the names of a kind, e.g.
// "pbx.comtrexx.test" for devices.
func Suffix(td identity.TrustDomain, k identity.Kind) string {
	switch k {
	case identity.KindDevice:
		return "pbx." + string(td)
	case identity.KindService:
		return "svc." + string(td)
	default:
		return identity.RelayDNSName(td)
	}
}

// Subject is the subject of an endpoint's leaf. A device has its serial as CN
// and as serialNumber (2.5.4.5).
func Subject(id identity.ID) pkix.Name {
	n := pkix.Name{Organization: []string{Organization}, CommonName: id.Name}
	if id.Kind == identity.KindDevice {
		n.SerialNumber = id.Name
	}
	return n
}

// Leaf is the template of an endpoint's certificate: subject, SANs, key usage
// digitalSignature, and client and server authentication for every kind,
// because a device is the TLS server of the end-to-end TLS.
func Leaf(id identity.ID, extra Extra) *x509.Certificate {
	c := &x509.Certificate{}
	Apply(c, id, extra)
	return c
}

// Apply sets the fields of [Leaf] on a certificate that something else made,
// and clears every other name.
func Apply(c *x509.Certificate, id identity.ID, extra Extra) {
	c.Subject = Subject(id)
	c.URIs = []*url.URL{id.URI()}
	c.DNSNames = slices.Concat(id.DNSNames(), extra.DNS)
	c.IPAddresses = extra.IPs
	c.EmailAddresses = nil
	c.KeyUsage = x509.KeyUsageDigitalSignature
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	c.UnknownExtKeyUsage = nil
	c.BasicConstraintsValid = true
	c.IsCA = false
}
