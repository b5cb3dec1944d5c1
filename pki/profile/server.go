package profile

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// ServerAuthority is the name of the intermediate that signs the names of
// servers, as files and logs have it.
const ServerAuthority = "server"

// nowhere is a host that nobody has (RFC 6761 §6.4). As the only URI domain that
// is permitted, it rules out every SPIFFE ID.
const nowhere = "invalid"

// ServerIntermediate is the template of the authority that signs names by which
// stock TLS clients find a server. It can vouch for no endpoint: it has no
// identity itself, signs for server authentication only, and its critical name
// constraints (RFC 5280 §4.2.1.10) permit no SPIFFE ID, and no DNS name below the
// suffix of any kind of endpoint.
//
// names are what it permits: DNS domains with all that is below them, IP addresses
// and CIDR prefixes. Without any address, every address is excluded.
func ServerIntermediate(td identity.TrustDomain, names ...string) (*x509.Certificate, error) {
	c := &x509.Certificate{
		Subject:                     serverSubject(td),
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedDNSDomainsCritical: true,
		PermittedURIDomains:         []string{nowhere},
		PermittedEmailAddresses:     []string{nowhere},
	}
	for _, kind := range SignedKinds() {
		c.ExcludedDNSDomains = append(c.ExcludedDNSDomains, Suffix(td, kind))
	}
	for _, name := range names {
		if prefix, ok := parsePrefix(name); ok {
			c.PermittedIPRanges = append(c.PermittedIPRanges, &net.IPNet{
				IP: prefix.Masked().Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen()),
			})
			continue
		}
		if _, err := identity.ParseTrustDomain(name); err != nil {
			return nil, fmt.Errorf("server name %q: want a lower-case DNS name, an IP address or a CIDR prefix", name)
		}
		c.PermittedDNSDomains = append(c.PermittedDNSDomains, name)
	}
	if len(c.PermittedDNSDomains) == 0 {
		c.PermittedDNSDomains = []string{nowhere}
	}
	if len(c.PermittedIPRanges) == 0 {
		c.ExcludedIPRanges = everyAddress()
	}
	return c, nil
}

// IsServerAuthority tells whether a certificate is the intermediate of
// [ServerIntermediate] for the trust domain. Who signed it is not looked at.
func IsServerAuthority(c *x509.Certificate, td identity.TrustDomain) bool {
	return c.IsCA && len(c.URIs) == 0 && c.Subject.CommonName == serverSubject(td).CommonName
}

func serverSubject(td identity.TrustDomain) pkix.Name {
	return pkix.Name{Organization: []string{Organization}, CommonName: "Authority " + ServerAuthority + " " + string(td)}
}

func parsePrefix(s string) (netip.Prefix, bool) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	return p, err == nil && strings.Contains(s, "/")
}

func everyAddress() []*net.IPNet {
	return []*net.IPNet{
		{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
		{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
	}
}

// ApplyServer makes a certificate that something else prepared one of a server's
// names: DNS names and addresses stay, every other name goes, and it is good for
// server authentication only. The first DNS name is the CN where it fits into one
// (64 characters, RFC 5280 A.1).
func ApplyServer(c *x509.Certificate) {
	c.Subject = pkix.Name{Organization: []string{Organization}}
	if len(c.DNSNames) > 0 && len(c.DNSNames[0]) <= 64 {
		c.Subject.CommonName = c.DNSNames[0]
	}
	c.URIs = nil
	c.EmailAddresses = nil
	c.KeyUsage = x509.KeyUsageDigitalSignature
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	c.UnknownExtKeyUsage = nil
	c.BasicConstraintsValid = true
	c.IsCA = false
}
