package main

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
)

// facts are what is known about a certificate that is explained. What is not known
// is left out, and the rules that need it say nothing.
type facts struct {
	now   time.Time // this machine's clock
	peer  time.Time // another machine's clock, e.g. by its HTTP Date
	leaf  *x509.Certificate
	chain []*x509.Certificate // what came with it, intermediates for instance
	roots []*x509.Certificate
	name  string           // that it was asked for
	key   crypto.PublicKey // of the private key beside it
	// standing is what the running PKI knows, nil where it was not asked.
	standing *authority.Standing
}

// reason is one thing that is wrong, in words.
type reason struct {
	Problem string `json:"problem"`
	Advice  string `json:"advice,omitempty"`
}

// clockTolerance is how far two clocks may differ without a word.
const clockTolerance = 2 * time.Minute

// longRecovery is how long after its end a certificate can still be used to get a
// new one.
const longRecovery = 400 * 24 * time.Hour

// rules explain certificates. Each gives an empty problem where it has nothing to
// say. They are in the order in which people should read them.
var rules = []struct {
	name    string
	explain func(facts) reason
}{
	{"clock", clockDiffers},
	{"not valid yet", notYet},
	{"expired", expired},
	{"issuer expired", issuerExpired},
	{"blocked", blockedSince},
	{"superseded", superseded},
	{"not issued here", notIssued},
	{"another PKI", anotherPKI},
	{"intermediate missing", intermediateMissing},
	{"wrong intermediate", wrongIntermediate},
	{"old intermediate", oldIntermediate},
	{"no identity", noIdentity},
	{"name", nameNotInIt},
	{"key", keyOfAnother},
	{"usage", wrongUsage},
}

// explainCertificate says what is wrong with a certificate.
func explainCertificate(f facts) (all []reason) {
	for _, r := range rules {
		if x := r.explain(f); x.Problem != "" {
			all = append(all, x)
		}
	}
	return all
}

// clock is the best time that is known: the other machine's, if it is.
func (f facts) clock() time.Time {
	if f.peer.IsZero() {
		return f.now
	}
	return f.peer
}

const setClock = "set the clock, e.g. with: timedatectl set-ntp true"

func clockDiffers(f facts) reason {
	if f.peer.IsZero() {
		return reason{}
	}
	return clockReason("your clock", f.now.Sub(f.peer), "compared with the other end")
}

// clockReason says how a clock differs; ahead is below zero for one that is behind.
func clockReason(whose string, ahead time.Duration, how string) reason {
	if ahead.Abs() <= clockTolerance {
		return reason{}
	}
	where := "ahead"
	if ahead < 0 {
		where = "behind"
	}
	return reason{fmt.Sprintf("%s is %s %s, %s", whose, about(ahead), where, how), setClock}
}

func notYet(f facts) reason {
	wait := f.leaf.NotBefore.Sub(f.clock())
	if wait <= 0 {
		return reason{}
	}
	return reason{
		fmt.Sprintf("the certificate is not valid for another %s: the clock that says so is at least %s behind", about(wait), about(wait)),
		"certificates are dated back by an hour, so that small differences do not matter; " + setClock,
	}
}

func expired(f facts) reason {
	since := f.clock().Sub(f.leaf.NotAfter)
	if since <= 0 {
		return reason{}
	}
	id, err := identity.FromCert(f.leaf)
	advice := "get a new one with \"pki issue\""
	switch {
	case err != nil || f.leaf.IsCA:
		advice = "get a new one"
	case id.Kind == identity.KindDevice && since <= longRecovery:
		advice = "a device gets a new one on the recovery listener, with this certificate and its key"
	case id.Kind == identity.KindDevice:
		advice = "it is too old for the recovery listener (400 days): the device has to enrol again, by its factory certificate or a token"
	}
	return reason{fmt.Sprintf("the certificate expired %s ago", about(since)), advice}
}

// issuer finds the certificate that signed another, in what came with it or among
// the roots.
func (f facts) issuer(c *x509.Certificate) *x509.Certificate {
	for _, i := range slices.Concat(f.chain, f.roots) {
		if bytes.Equal(i.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(i) == nil {
			return i
		}
	}
	return nil
}

func issuerExpired(f facts) reason {
	for c, n := f.issuer(f.leaf), 0; c != nil && n < len(f.chain)+1; c, n = f.issuer(c), n+1 {
		if since := f.clock().Sub(c.NotAfter); since > 0 {
			return reason{
				fmt.Sprintf("%s, above it, expired %s ago", c.Subject.CommonName, about(since)),
				"the PKI needs a new one, and what hangs on it has to be issued anew",
			}
		}
	}
	return reason{}
}

func blockedSince(f facts) reason {
	if f.standing == nil || f.standing.Block == nil {
		return reason{}
	}
	b := f.standing.Block
	why := ""
	if b.Reason != "" {
		why = ": " + b.Reason
	}
	since := b.Time.Local().Format(time.DateTime)
	if b.State == authority.StateRetired {
		return reason{fmt.Sprintf("%s is retired since %s%s", b.Identity, since, why), "retiring is for ever; a new device needs a serial of its own"}
	}
	return reason{fmt.Sprintf("%s is blocked since %s%s", b.Identity, since, why), "\"pki unblock " + b.Identity + "\" ends it"}
}

func superseded(f facts) reason {
	s := f.standing
	if s == nil || s.Certificate == nil || s.Certificate.State != authority.StateSuperseded {
		return reason{}
	}
	if s.Replaced {
		return reason{
			"the certificate is superseded: its owner has enrolled again since",
			"use the newer certificate; if nobody enrolled again, somebody else has",
		}
	}
	return reason{
		fmt.Sprintf("the certificate is generation %d, superseded by generation %d", s.Certificate.Generation, s.Confirmed),
		"use the newer certificate; where an old one is still in use, the device may have a copy",
	}
}

func notIssued(f facts) reason {
	if f.standing == nil || f.standing.Certificate != nil || f.leaf.IsCA || f.knownIssuer() == nil {
		return reason{}
	}
	return reason{
		"the PKI's intermediate signed it, and the PKI does not know it",
		"it expired long ago and was swept, the store was restored from an older backup, or somebody has the intermediate's key",
	}
}

// knownIssuer gives the PKI's intermediate that the leaf names as its issuer.
func (f facts) knownIssuer() *authority.IssuerInfo {
	if f.standing == nil {
		return nil
	}
	for _, i := range f.standing.Issuers {
		if len(f.leaf.AuthorityKeyId) > 0 && i.KeyID == hex.EncodeToString(f.leaf.AuthorityKeyId) {
			return &i
		}
	}
	return nil
}

// top follows the issuers upwards as far as they are known.
func (f facts) top() *x509.Certificate {
	c := f.leaf
	for range len(f.chain) + 1 {
		i := f.issuer(c)
		if i == nil || i == c {
			break
		}
		c = i
	}
	return c
}

func (f facts) isRoot(c *x509.Certificate) bool {
	return slices.ContainsFunc(f.roots, func(r *x509.Certificate) bool { return r.Equal(c) })
}

func anotherPKI(f facts) reason {
	if len(f.roots) == 0 {
		return reason{}
	}
	top := f.top()
	if f.isRoot(top) || top == f.leaf && !selfSigned(top) && f.mayBeMissing() {
		return reason{}
	}
	const advice = "give this end the other PKI's roots, or get a certificate from this one"
	if selfSigned(top) && top == f.leaf {
		return reason{"the certificate is signed by itself, and is not one of the roots", advice}
	}
	ours, theirs := domainOf(f.roots), domainOf([]*x509.Certificate{f.leaf})
	if ours != "" && theirs != "" && ours != theirs {
		return reason{fmt.Sprintf("the certificate was issued by another PKI, that of %s; the roots are of %s", theirs, ours), advice}
	}
	return reason{
		fmt.Sprintf("the certificate was issued by another PKI: %s is not signed by any of the roots", top.Subject.CommonName),
		"it may be one with the same name, from before another \"pki init\"; " + advice,
	}
}

func selfSigned(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

// mayBeMissing tells whether the issuer of the leaf is an intermediate with our
// names that nobody showed.
func (f facts) mayBeMissing() bool {
	if f.knownIssuer() != nil {
		return true
	}
	id, err := identity.FromCert(f.leaf)
	return err == nil && f.standing == nil && string(id.TrustDomain) == domainOf(f.roots) && !f.hasNamesake()
}

// hasNamesake tells whether an issuer of the right name came along whose key is
// another.
func (f facts) hasNamesake() bool {
	return slices.ContainsFunc(slices.Concat(f.chain, f.roots), func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, f.leaf.RawIssuer) })
}

// domainOf reads the trust domain out of certificates: of the URI, or of the name
// that roots have.
func domainOf(certs []*x509.Certificate) string {
	for _, c := range certs {
		if len(c.URIs) == 1 {
			if id, err := identity.ParseURI(c.URIs[0]); err == nil {
				return string(id.TrustDomain)
			}
		}
		if domain, ok := strings.CutPrefix(c.Subject.CommonName, "Root "); ok {
			return domain
		}
	}
	return ""
}

func intermediateMissing(f facts) reason {
	if len(f.roots) == 0 || f.issuer(f.leaf) != nil || selfSigned(f.leaf) || !f.mayBeMissing() {
		return reason{}
	}
	return reason{
		fmt.Sprintf("the intermediate %q is missing", f.leaf.Issuer.CommonName),
		"the other end has to send the whole chain: " + enrol.CertFile + " holds leaf and intermediate, in this order",
	}
}

func wrongIntermediate(f facts) reason {
	i := f.issuer(f.leaf)
	if i == nil || f.leaf.IsCA {
		return reason{}
	}
	id, err := identity.FromCert(f.leaf)
	if err != nil {
		return reason{}
	}
	want := identity.Authority(id.TrustDomain, id.Kind)
	if got, err := identity.FromCert(i); err == nil && got == want {
		return reason{}
	}
	return reason{
		fmt.Sprintf("a %s certificate is signed by %s, not by the intermediate for its kind", id.Kind, i.Subject.CommonName),
		"every endpoint refuses it; if this PKI's intermediate signed it, somebody has its key",
	}
}

func oldIntermediate(f facts) reason {
	if i := f.knownIssuer(); i == nil || i.Newest {
		return reason{}
	}
	return reason{
		"the certificate is signed by the old intermediate for its kind",
		"it stays valid until it expires, and its renewal is signed by the new one; who pins an intermediate instead of the root refuses one of both",
	}
}

func noIdentity(f facts) reason {
	if f.leaf.IsCA {
		return reason{}
	}
	if _, err := identity.FromCert(f.leaf); err != nil {
		return reason{"the certificate names no endpoint of ours: " + err.Error(), "a factory or web server certificate is no certificate of the cloud"}
	}
	return reason{}
}

func nameNotInIt(f facts) reason {
	if f.name == "" || f.leaf.VerifyHostname(f.name) == nil {
		return reason{}
	}
	names := slices.Clone(f.leaf.DNSNames)
	for _, ip := range f.leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return reason{
		fmt.Sprintf("the name asked for, %s, is not in the certificate, which is for %s", f.name, strings.Join(names, ", ")),
		"ask for one of these, or issue it with --dns or --ip (for the PKI itself: server.names)",
	}
}

func keyOfAnother(f facts) reason {
	if f.key == nil || enrol.SameKey(f.key, f.leaf.PublicKey) {
		return reason{}
	}
	return reason{
		"the key does not belong to the certificate",
		"the files are of two generations: take " + enrol.CertFile + " and " + enrol.KeyFile + " from the same backup, or issue anew",
	}
}

func wrongUsage(f facts) reason {
	if f.leaf.IsCA || len(f.leaf.ExtKeyUsage)+len(f.leaf.UnknownExtKeyUsage) == 0 {
		return reason{}
	}
	for _, u := range []x509.ExtKeyUsage{x509.ExtKeyUsageAny, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if slices.Contains(f.leaf.ExtKeyUsage, u) {
			return reason{}
		}
	}
	return reason{"the certificate is not for TLS (its extended key usage is another)", "an OCSP signer's certificate, for instance, is not one of an endpoint"}
}
