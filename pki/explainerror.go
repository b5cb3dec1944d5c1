package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// tlsErrors explain the texts of TLS errors: of Go, of OpenSSL and curl, of
// browsers, and our own. The first that matches counts, so the exact ones are first.
var tlsErrors = []struct {
	text    *regexp.Regexp
	explain func(m []string) reason
}{
	{pattern(`current time (\S+) is (before|after) (\S+)`), clockOrAge},
	{pattern(`is not yet valid|CERT_NOT_YET_VALID|not valid yet`), says(
		"the certificate is not valid yet by the clock of the machine that says so: that clock is behind", setClock)},
	{pattern(`remote error: tls: expired certificate|alert certificate expired|alert number 45`), says(
		"the other end says that our own certificate has expired", "renew it; a device uses the recovery listener for up to 400 days. The judge is the clock of the other end")},
	{pattern(`CRL has expired`), says("the revocation list is older than its validity", "fetch it again; if it is new, the PKI has stopped making lists: see the alert PKIRevocationListOld")},
	{pattern(`certificate has expired|CERT_HAS_EXPIRED|certificate expired|CERT_DATE_INVALID`), says(
		"the certificate has expired by the clock of the machine that says so, or that clock is ahead", "compare the clock first, then look at the certificate: pki inspect FILE")},
	{pattern(`certificate revoked|revoked certificate|identity is blocked|alert number 44`), says(
		"the certificate's owner is blocked", "\"pki blocks\" tells since when and why, \"pki unblock\" ends it")},
	{pattern(`a newer certificate is in use|generation (\d+) after (\d+)`), func(m []string) reason {
		r := reason{"the certificate is superseded: a newer one of the same endpoint is in use", "use the newer one; if there is none on the device, somebody may have a copy of it"}
		if m[1] != "" {
			r.Problem = fmt.Sprintf("the certificate is of generation %s, superseded by generation %s", m[1], m[2])
		}
		return r
	}},
	{pattern(`token is unknown, used or expired`), says("the enrolment token cannot be used (any more)", "make a new one with \"pki token\"; \"pki audit show\" tells what happened to this one")},
	{pattern(`root has another fingerprint`), says(
		"the PKI that answers is not the one that is pinned", "compare with \"root fingerprint\" of \"pki init\"; the address may lead to another PKI, or somebody is in between")},
	{pattern(`is signed by (\S+), want (\S+)`), func(m []string) reason {
		return reason{fmt.Sprintf("the certificate is signed by %s and not by %s, the intermediate for its kind", m[1], m[2]), "it was not issued by the PKI; look at it with: pki inspect FILE"}
	}},
	{pattern(`peer is (\S+), want (.+)`), func(m []string) reason {
		return reason{fmt.Sprintf("somebody else answered: %s instead of %s", m[1], m[2]), "the address leads to another endpoint of the same PKI"}
	}},
	{pattern(`remote error: tls: (?:unknown certificate authority|bad certificate)|alert unknown ca|alert bad certificate|alert number 4[28]`), says(
		"the other end refuses our own certificate: it does not trust its issuer",
		"our certificate is of another PKI, or we send it without the intermediate; look at it with: pki inspect DIR")},
	{pattern(`certificate required|alert number 116|peer did not return a certificate`), says(
		"the other end wants a certificate, and got none", "give the client its certificate and key")},
	{pattern(`handshake failure|alert number 40|no cipher suite|protocol version|unsupported protocol|alert number 70`), says(
		"the two ends have no version or cipher of TLS in common", "ours speak TLS 1.3 only; a proxy or an old library in between may not")},
	{pattern(`no application protocol|alert number 120`), says(
		"the port speaks another protocol than was asked for (ALPN)", "check the address and port: relay, PKI and ACME have ports of their own")},
	{pattern(`unrecognized name|alert number 112`), says("the other end serves no such name", "check the name that is asked for")},
	{pattern(`first record does not look like a TLS handshake|wrong version number|server gave HTTP response to HTTPS client|packet length too long`), says(
		"the port does not speak TLS", "check the port; an admin listener, for instance, is plain HTTP")},
	{pattern(`certificate is valid for (.+), not (\S+)`), func(m []string) reason {
		return reason{fmt.Sprintf("the name asked for, %s, is not in the certificate, which is for %s", m[2], m[1]), "ask for one of these, or issue it with --dns"}
	}},
	{pattern(`doesn't contain any IP SANs|no alternative certificate subject name matches|hostname mismatch|not valid for any names|CERT_COMMON_NAME_INVALID|IP address mismatch`), says(
		"the name or address asked for is not in the certificate", "look at its names with: pki inspect --connect HOST:PORT, and issue it with --dns or --ip")},
	{pattern(`private key does not match public key|key values mismatch`), says(
		"the key does not belong to the certificate", "the files are of two generations: take both from the same backup, or issue anew")},
	{pattern(`incompatible key usage|unsuitable certificate purpose|unsupported certificate purpose`), says(
		"the certificate is not for this use", "a certificate for TLS has clientAuth and serverAuth; look at it with: pki inspect FILE")},
	{pattern(`not permitted by any constraint|excluded by constraint|permitted subtree violation`), says(
		"the certificate has a name that its intermediate may not give", "names are below the trust domain or authority.extra_dns as it was at \"pki init\"")},
	{pattern(`unable to get local issuer certificate|unable to verify the first certificate`), says(
		"an issuer is missing: the other end sends no intermediate, or this end does not have the root",
		"the server's file has to hold leaf and intermediate; the client needs roots.pem")},
	{pattern(`unknown authority|self.signed certificate|AUTHORITY_INVALID|UNKNOWN_ISSUER|unable to get issuer certificate`), says(
		"this end does not trust the issuer: the certificate was issued by another PKI, or the root is not in the trust bundle",
		"compare the roots; look at both ends with: pki inspect --connect HOST:PORT --as DIR")},
	{pattern(`ECDSA verification failure|crypto/rsa: verification error|certificate signature failure`), says(
		"an issuer of the right name has another key: the certificate was issued by another PKI with the same name",
		"it may be from before another \"pki init\"; enrol again, or restore the old keys")},
	{pattern(`too many requests`), says("the PKI takes no more requests from this address for now", "wait a minute; the limit is server.enrol_per_minute")},
	{pattern(`connection refused`), says("nobody listens at this address and port", "check the port, and whether the server runs")},
	{pattern(`no such host|Could not resolve host|server misbehaving`), says("the name does not resolve", "check the name and the DNS")},
	{pattern(`i/o timeout|deadline exceeded|timed out`), says("nobody answered in time", "a firewall drops the packets, or the machine is off")},
	{pattern(`connection reset|EOF|broken pipe`), says(
		"the other end closed the connection without a word", "something in between did, or a limit of connections; see the log of the other end")},
}

func pattern(text string) *regexp.Regexp { return regexp.MustCompile(`(?i)` + text) }

func says(problem, advice string) func([]string) reason {
	return func([]string) reason { return reason{problem, advice} }
}

// clockOrAge reads Go's x509 error, which has the clock of the machine that says it
// and the end of the certificate that it missed.
func clockOrAge(m []string) reason {
	at, err := time.Parse(time.RFC3339, m[1])
	limit, err2 := time.Parse(time.RFC3339, strings.TrimRight(m[3], ".,;)\"'"))
	switch {
	case err != nil || err2 != nil:
		return reason{"the certificate is not valid at the time of the machine that says so", setClock}
	case m[2] == "before":
		return reason{
			fmt.Sprintf("the clock of the machine that says so is at least %s behind: the certificate is valid from then on", about(limit.Sub(at))), setClock,
		}
	default:
		return reason{
			fmt.Sprintf("the certificate expired %s before the time of the machine that says so, or that clock is ahead", about(at.Sub(limit))),
			"if the clock is right, renew; a device uses the recovery listener for up to 400 days",
		}
	}
}

// explainError puts the text of a TLS error in words; false where it is none that
// is known.
func explainError(text string) (reason, bool) {
	for _, e := range tlsErrors {
		if m := e.text.FindStringSubmatch(text); m != nil {
			return e.explain(m), true
		}
	}
	return reason{}, false
}
