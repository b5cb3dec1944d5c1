// Package identity defines the names that certificates carry in the COMtrexx
// cloud and the only way to read them back.
//
// Every endpoint is known by its certificate and by nothing else. A name is a
// SPIFFE ID (https://spiffe.io, "SPIFFE-ID" §2) in a URI SAN:
//
//	spiffe://<trust-domain>/device/<serial>      a PBX
//	spiffe://<trust-domain>/service/<name>       a server program, e.g. ccc
//	spiffe://<trust-domain>/relay/<id>           an Auerproxy relay
//	spiffe://<trust-domain>/authority/<role>     an intermediate that signs one role
//
// A device certificate also has the serial as subject serialNumber (2.5.4.5)
// and as CN. Each certificate has DNS SANs (see [ID.DNSNames]) so that stock TLS
// clients verify it without knowing SPIFFE.
//
// Reading a name: [FromConnectionState] after a handshake, or [VerifyPeer] as
// tls.Config.VerifyConnection. Both look at VerifiedChains[0][0] only; a
// certificate that the peer merely sent along is never believed.
//
// The package imports the standard library only, and is covered by the
// compatibility promise in the README.
package identity

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// Errors that the functions of this package wrap. Compare with errors.Is.
var (
	// ErrMalformed: a name does not follow the grammar of the package doc.
	ErrMalformed = errors.New("malformed identity")
	// ErrUnverified: the connection has no verified certificate chain.
	ErrUnverified = errors.New("no verified certificate chain")
	// ErrMismatch: the fields of one certificate name different endpoints, or
	// an issuer signed a role that is not its own.
	ErrMismatch = errors.New("certificate contradicts itself")
	// ErrUnexpected: a verified identity that is not the wanted one.
	ErrUnexpected = errors.New("unexpected identity")
)

// DefaultTrustDomain is the trust domain of the all-in-one command and of tests.
const DefaultTrustDomain TrustDomain = "comtrexx.test"

// TrustDomain is the DNS-like name under which one operator issues identities,
// e.g. "comtrexx.test". Lower-case letters, digits, '-' and '.'.
type TrustDomain string

// Serial is a PBX's serial number: exactly ten decimal digits. It is never a
// number: leading zeros count ("0123456789" and "123456789" differ).
type Serial string

// SerialLen is the length of a [Serial] in digits.
const SerialLen = 10

// Kind says what sort of endpoint an identity names.
type Kind uint8

// The kinds. KindUnknown is the zero value and never valid.
const (
	KindUnknown Kind = iota
	KindDevice
	KindService
	KindRelay
	KindAuthority
)

var kindNames = [...]string{"unknown", "device", "service", "relay", "authority"}

// String gives the path segment of the kind, e.g. "device".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[KindUnknown]
}

// ParseKind reads the word that [Kind.String] writes.
func ParseKind(s string) (Kind, error) {
	for i, n := range kindNames {
		if n == s && Kind(i) != KindUnknown {
			return Kind(i), nil
		}
	}
	return KindUnknown, fmt.Errorf("%w: kind %q, want device, service, relay or authority", ErrMalformed, s)
}

// ID is one endpoint's name. The zero value names nobody. IDs are comparable.
type ID struct {
	TrustDomain TrustDomain
	Kind        Kind
	// Name is the serial of a device, the name of a service, the id of a relay
	// or the role of an authority.
	Name string
}

// Device names a PBX.
func Device(td TrustDomain, s Serial) ID { return ID{td, KindDevice, string(s)} }

// Service names a server program.
func Service(td TrustDomain, name string) ID { return ID{td, KindService, name} }

// Relay names a relay.
func Relay(td TrustDomain, id string) ID { return ID{td, KindRelay, id} }

// Authority names the intermediate that signs one kind of identity.
func Authority(td TrustDomain, signs Kind) ID { return ID{td, KindAuthority, signs.String()} }

// IsZero reports whether the ID names nobody.
func (id ID) IsZero() bool { return id == ID{} }

// Serial is the device's serial; empty for every other kind.
func (id ID) Serial() Serial {
	if id.Kind != KindDevice {
		return ""
	}
	return Serial(id.Name)
}

// Path is the name inside its trust domain, e.g. "device/0123456789". It is
// what messages on a tunnel carry.
func (id ID) Path() string { return id.Kind.String() + "/" + id.Name }

// URI is the SPIFFE ID.
func (id ID) URI() *url.URL {
	return &url.URL{Scheme: "spiffe", Host: string(id.TrustDomain), Path: "/" + id.Path()}
}

// String is the SPIFFE ID as text.
func (id ID) String() string {
	if id.IsZero() {
		return "nobody"
	}
	return id.URI().String()
}

// DNSName is the name that a TLS client sends as SNI and verifies:
// s<serial>.pbx.<td>, <name>.svc.<td> or <id>.relay.<td>. Empty for an authority.
func (id ID) DNSName() string {
	switch id.Kind {
	case KindDevice:
		return "s" + id.Name + ".pbx." + string(id.TrustDomain)
	case KindService:
		return id.Name + ".svc." + string(id.TrustDomain)
	case KindRelay:
		return id.Name + ".relay." + string(id.TrustDomain)
	default:
		return ""
	}
}

// RelayDNSName is carried by every relay beside its own name, so that a device
// can verify "some relay of ours" before it knows which one answers.
func RelayDNSName(td TrustDomain) string { return "relay." + string(td) }

// DNSNames lists the DNS SANs that a certificate for the ID carries at least.
func (id ID) DNSNames() []string {
	n := id.DNSName()
	if n == "" {
		return nil
	}
	if id.Kind == KindRelay {
		return []string{n, RelayDNSName(id.TrustDomain)}
	}
	return []string{n}
}

// Validate checks the grammar of every field.
func (id ID) Validate() error {
	if _, err := ParseTrustDomain(string(id.TrustDomain)); err != nil {
		return err
	}
	switch id.Kind {
	case KindDevice:
		_, err := ParseSerial(id.Name)
		return err
	case KindService, KindRelay:
		return checkName(id.Name)
	case KindAuthority:
		k, err := ParseKind(id.Name)
		if err == nil && k == KindAuthority {
			err = fmt.Errorf("%w: an authority cannot sign authorities", ErrMalformed)
		}
		return err
	default:
		return fmt.Errorf("%w: unknown kind", ErrMalformed)
	}
}

// ParseSerial checks a serial: exactly ten ASCII digits.
func ParseSerial(s string) (Serial, error) {
	if len(s) != SerialLen {
		return "", fmt.Errorf("%w: serial %q has %d characters, want %d digits", ErrMalformed, clip(s), len(s), SerialLen)
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return "", fmt.Errorf("%w: serial %q: character %d is not a digit", ErrMalformed, clip(s), i+1)
		}
	}
	return Serial(s), nil
}

// maxTrustDomain leaves room for the longest name below it: a DNS name has at
// most 253 bytes (RFC 1035 §2.3.4), of which a 63-byte relay id and ".relay."
// take 70.
const maxTrustDomain = 253 - 63 - len(".relay.")

// ParseTrustDomain checks a trust domain: a lower-case DNS name of at most 183
// bytes. An IP address is refused, because name constraints cannot match it.
func ParseTrustDomain(s string) (TrustDomain, error) {
	if s == "" || len(s) > maxTrustDomain {
		return "", fmt.Errorf("%w: trust domain %q, want a DNS name of 1 to %d bytes", ErrMalformed, clip(s), maxTrustDomain)
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return "", fmt.Errorf("%w: trust domain %q is an IP address, want a DNS name", ErrMalformed, s)
	}
	for label := range strings.SplitSeq(s, ".") {
		if err := checkName(label); err != nil {
			return "", fmt.Errorf("%w: trust domain %q is not a lower-case DNS name", ErrMalformed, clip(s))
		}
	}
	return TrustDomain(s), nil
}

// ParsePath reads what [ID.Path] writes, e.g. "device/0123456789" or
// "service/ccc".
func ParsePath(td TrustDomain, path string) (ID, error) {
	kind, name, ok := strings.Cut(path, "/")
	if !ok {
		return ID{}, fmt.Errorf("%w: %q, want <kind>/<name>", ErrMalformed, clip(path))
	}
	k, err := ParseKind(kind)
	if err != nil {
		return ID{}, err
	}
	id := ID{td, k, name}
	if err := id.Validate(); err != nil {
		return ID{}, err
	}
	return id, nil
}

// ParseURI reads a SPIFFE ID. Anything beyond scheme, host and path (a port, a
// user, a query, a fragment, escapes) is refused.
func ParseURI(u *url.URL) (ID, error) {
	if u == nil || u.Scheme != "spiffe" {
		return ID{}, fmt.Errorf("%w: not a spiffe:// URI", ErrMalformed)
	}
	td, err := ParseTrustDomain(u.Host)
	if err != nil {
		return ID{}, err
	}
	path, ok := strings.CutPrefix(u.Path, "/")
	if !ok {
		return ID{}, fmt.Errorf("%w: SPIFFE ID without a path", ErrMalformed)
	}
	id, err := ParsePath(td, path)
	if err != nil {
		return ID{}, err
	}
	if u.String() != id.String() {
		return ID{}, fmt.Errorf("%w: SPIFFE ID %q has parts beyond trust domain and path", ErrMalformed, clip(u.String()))
	}
	return id, nil
}

// ParseDeviceDNSName reads s<serial>.pbx.<trust-domain>, the form in which stock
// clients name a device.
func ParseDeviceDNSName(td TrustDomain, host string) (Serial, error) {
	label, ok := strings.CutSuffix(host, ".pbx."+string(td))
	if ok {
		label, ok = strings.CutPrefix(label, "s")
	}
	if !ok {
		return "", fmt.Errorf("%w: host %q, want s<serial>.pbx.%s", ErrMalformed, clip(host), td)
	}
	return ParseSerial(label)
}

// checkName checks a DNS label: 1 to 63 of a-z, 0-9 and '-', no '-' at the ends.
func checkName(s string) error {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return fmt.Errorf("%w: name %q, want 1 to 63 of a-z, 0-9 and '-'", ErrMalformed, clip(s))
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("%w: name %q: character %d is not one of a-z, 0-9 and '-'", ErrMalformed, clip(s), i+1)
		}
	}
	return nil
}

// clip keeps a peer's text in an error message short.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
