package tunnel

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"

	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// The TLS alerts (RFC 8446 §6.2) that a peer answers a certificate with.
const (
	alertBadCertificate      = 42
	alertCertificateRevoked  = 44
	alertCertificateExpired  = 45
	alertUnknownCA           = 48
	alertAccessDenied        = 49
	alertCertificateRequired = 116
)

var alertCodes = map[tls.AlertError]Code{
	alertBadCertificate:      CodeCertificateRefused,
	alertCertificateRevoked:  CodeBlocked,
	alertCertificateExpired:  CodeCertificateExpired,
	alertUnknownCA:           CodeUnknownAuthority,
	alertAccessDenied:        CodeCertificateRefused,
	alertCertificateRequired: CodeCertificateMissing,
}

// FromAlert gives the numbered error for a TLS alert that the peer sent, nil for
// an alert that says nothing about certificates.
func FromAlert(a tls.AlertError) *Error {
	c, ok := alertCodes[a]
	if !ok {
		return nil
	}
	return &Error{Code: c, Message: a.Error(), Remote: true, Cause: a}
}

// FromTLS gives an error of crypto/tls its number: an alert of the peer, or the
// peer's certificate refused here. Other errors come back as they are. In TLS
// 1.3 a server refuses a client after the client's handshake is done, so the
// error may come from the first Read.
func FromTLS(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		// crypto/tls keeps its alert type to itself; the public AlertError has
		// the same texts.
		for a := range alertCodes {
			if op.Err != nil && op.Err.Error() == a.Error() {
				return FromAlert(a)
			}
		}
	}
	if inv, ok := errors.AsType[x509.CertificateInvalidError](err); ok && inv.Reason == x509.Expired {
		return &Error{Code: CodeCertificateExpired, Message: err.Error(), Cause: err}
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return &Error{Code: CodeUnknownAuthority, Message: err.Error(), Cause: err}
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok || errors.Is(err, identity.ErrUnexpected) {
		return &Error{Code: CodeRelayUntrusted, Message: err.Error(), Cause: err}
	}
	if errors.Is(err, identity.ErrMalformed) || errors.Is(err, identity.ErrMismatch) || errors.Is(err, identity.ErrUnverified) {
		return &Error{Code: CodeCertificateRefused, Message: err.Error(), Cause: err}
	}
	return err
}

// BeforeProof gives an error by which a handshake failed on the dialling side what it
// is worth there: an answer about this side's certificate that came before the peer had
// proven who it is. Anybody on the path can send that, and a peer of ours does not, since
// in TLS 1.3 it refuses a client after the client's handshake is done. So it becomes
// an error without a number. A certificate of the peer's that contradicts itself is
// its fault, not this side's. Other errors come back as they are.
func BeforeProof(err error) error {
	e, ok := errors.AsType[*Error](err)
	switch {
	case !ok || e.Code < CodeCertificateMissing || e.Code > CodeRelayUntrusted:
		return err
	case e.Remote:
		return errors.New("the handshake was refused by somebody who had not shown who he is: " + e.Message) // not as the cause: it has a number
	case e.Code == CodeCertificateRefused:
		return &Error{Code: CodeRelayUntrusted, Message: e.Message, Cause: e.Cause}
	default:
		return err
	}
}
