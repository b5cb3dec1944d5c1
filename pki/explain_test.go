package main

import (
	"crypto/x509"
	"encoding/hex"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/comtrexx-cloud/comtrexx/pki/authority"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/pkitest"
)

const td = identity.DefaultTrustDomain

var (
	testDevice = identity.Device(td, "0123456789")
	testRelay  = identity.Relay(td, "r1")
)

// parsed gives leaf and intermediate as inspect has them.
func parsed(t *testing.T, ca *pkitest.CA, id identity.ID, o pkitest.Options) []*x509.Certificate {
	t.Helper()
	var all []*x509.Certificate
	for _, der := range ca.Issue(id, o).Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// Each rule on a certificate that it is for, and that says nothing else.
func TestExplainCertificate(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Now()
	ca, twin, foreign := pkitest.New(t, td), pkitest.New(t, td), pkitest.New(t, "other.example")
	known := func(c *x509.Certificate, newest bool, change func(*authority.Standing)) *authority.Standing {
		s := &authority.Standing{
			Time: now, Confirmed: 1, Last: 1,
			Certificate: &authority.Certificate{Identity: "device/0123456789", Generation: 1, State: authority.StateActive},
			Issuers:     []authority.IssuerInfo{{Kind: "device", KeyID: hex.EncodeToString(c.AuthorityKeyId), Newest: newest}},
		}
		if change != nil {
			change(s)
		}
		return s
	}
	for _, c := range []struct {
		name   string
		ca     *pkitest.CA
		id     identity.ID
		issue  pkitest.Options
		change func(f *facts)
		want   []string // problem, advice; one pair for each reason
	}{
		{name: "good"},
		{name: "good, known", change: func(f *facts) { f.standing = known(f.leaf, true, nil) }},
		{name: "good, offline and without roots", change: func(f *facts) { f.roots = nil }},
		{name: "good, small difference of clocks", change: func(f *facts) { f.peer = now.Add(time.Minute) }},
		{
			name: "clock behind", change: func(f *facts) { f.peer = now.Add(50 * time.Minute) },
			want: []string{"your clock is 50 minutes behind", "timedatectl"},
		},
		{
			name: "clock ahead", change: func(f *facts) { f.peer = now.Add(-3 * time.Hour); f.now = now },
			want: []string{"your clock is 3 hours ahead", "timedatectl", "not valid for another 2 hours", "dated back"},
		},
		{
			name: "clock of 1970", change: func(f *facts) { f.now = time.Unix(0, 0); f.peer = now },
			want: []string{"years behind", "timedatectl"},
		},
		{
			name: "not valid yet", issue: pkitest.Options{NotBefore: now.Add(50 * time.Minute)},
			want: []string{"at least 50 minutes behind", "timedatectl"},
		},
		{
			name: "expired device", issue: pkitest.Options{NotAfter: now.Add(-3 * day)},
			want: []string{"expired 3 days ago", "recovery listener"},
		},
		{
			name: "device expired for long", issue: pkitest.Options{NotAfter: now.Add(-401 * day)},
			want: []string{"expired 401 days ago", "too old for the recovery listener"},
		},
		{
			name: "expired relay", id: testRelay, issue: pkitest.Options{NotAfter: now.Add(-3 * day)},
			want: []string{"expired 3 days ago", "pki issue"},
		},
		{
			name: "everything expired", change: func(f *facts) { f.now = now.Add(3 * 365 * day) },
			want: []string{"expired 3 years", "too old", "Authority device comtrexx.test, above it, expired", "needs a new one"},
		},
		{
			name: "blocked", change: func(f *facts) {
				f.standing = known(f.leaf, true, func(s *authority.Standing) {
					s.Certificate.State = authority.StateBlocked
					s.Block = &authority.Block{Identity: "device/0123456789", Reason: "stolen", Time: now}
				})
			},
			want: []string{"device/0123456789 is blocked since " + now.Local().Format(time.DateTime) + ": stolen", "pki unblock device/0123456789"},
		},
		{
			name: "retired", change: func(f *facts) {
				f.standing = known(f.leaf, true, func(s *authority.Standing) {
					s.Certificate.State = authority.StateRetired
					s.Block = &authority.Block{Identity: "device/0123456789", State: authority.StateRetired, Time: now}
				})
			},
			want: []string{"is retired since", "for ever"},
		},
		{
			name: "superseded", change: func(f *facts) {
				f.standing = known(f.leaf, true, func(s *authority.Standing) {
					s.Certificate.State, s.Confirmed, s.Last = authority.StateSuperseded, 4, 4
				})
			},
			want: []string{"generation 1, superseded by generation 4", "copy"},
		},
		{
			name: "superseded by an enrolment", change: func(f *facts) {
				f.standing = known(f.leaf, true, func(s *authority.Standing) { s.Certificate.State, s.Replaced = authority.StateSuperseded, true })
			},
			want: []string{"enrolled again since", "somebody else"},
		},
		{
			name: "not in the store", change: func(f *facts) {
				f.standing = known(f.leaf, true, func(s *authority.Standing) { s.Certificate = nil })
			},
			want: []string{"the PKI does not know it", "restored"},
		},
		{
			name: "old intermediate", change: func(f *facts) { f.standing = known(f.leaf, false, nil) },
			want: []string{"signed by the old intermediate", "renewal"},
		},
		{
			name: "another PKI", ca: foreign, id: identity.Device("other.example", "0123456789"),
			want: []string{"issued by another PKI, that of other.example; the roots are of comtrexx.test", "roots"},
		},
		{
			name: "another PKI of the same name", ca: twin,
			want: []string{"issued by another PKI: Authority device comtrexx.test is not signed by any of the roots", "pki init"},
		},
		{
			name: "another PKI's, and ours was asked", ca: twin, change: func(f *facts) {
				f.standing = &authority.Standing{Issuers: []authority.IssuerInfo{{Kind: "device", KeyID: "00", Newest: true}}}
			},
			want: []string{"issued by another PKI", "pki init"},
		},
		{
			name: "its own issuer", change: func(f *facts) { f.leaf, f.chain = foreign.Root, nil },
			want: []string{"signed by itself", "roots"},
		},
		{
			name: "without the intermediate", change: func(f *facts) { f.chain = f.chain[:1] },
			want: []string{`the intermediate "Authority device comtrexx.test" is missing`, "whole chain"},
		},
		{
			name: "intermediate of another kind", issue: pkitest.Options{Signer: identity.KindRelay},
			want: []string{"a device certificate is signed by Authority relay comtrexx.test", "has its key"},
		},
		{
			name: "no identity", issue: pkitest.Options{Mutate: func(c *x509.Certificate) { c.URIs = nil }},
			want: []string{"names no endpoint of ours", "factory"},
		},
		{
			name: "name", id: testRelay, issue: pkitest.Options{ExtraIPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, change: func(f *facts) { f.name = "relay.example.com" },
			want: []string{"relay.example.com, is not in the certificate, which is for r1.relay.comtrexx.test, relay.comtrexx.test, 127.0.0.1", "--dns"},
		},
		{name: "name that is in it", id: testRelay, change: func(f *facts) { f.name = "relay.comtrexx.test" }},
		{
			name: "key", change: func(f *facts) { f.key = pkitest.NewKey().Public() },
			want: []string{"the key does not belong to the certificate", "generations"},
		},
		{name: "the right key", change: func(f *facts) { f.key = f.leaf.PublicKey }},
		{
			name: "usage", issue: pkitest.Options{Mutate: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} }},
			want: []string{"not for TLS", "OCSP"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.ca == nil {
				c.ca = ca
			}
			if c.id.IsZero() {
				c.id = testDevice
			}
			chain := parsed(t, c.ca, c.id, c.issue)
			f := facts{now: now, leaf: chain[0], chain: chain, roots: []*x509.Certificate{ca.Root}}
			if c.change != nil {
				c.change(&f)
			}
			got := explainCertificate(f)
			if len(got) != len(c.want)/2 {
				t.Fatalf("got %+v, want %q", got, c.want)
			}
			for i, r := range got {
				if !strings.Contains(r.Problem, c.want[2*i]) || !strings.Contains(r.Advice, c.want[2*i+1]) {
					t.Errorf("got %+v, want %q", r, c.want[2*i:2*i+2])
				}
			}
		})
	}
}

// Authorities' own certificates are explained as well.
func TestExplainAuthorities(t *testing.T) {
	t.Parallel()
	ca, other := pkitest.New(t, td), pkitest.New(t, td)
	between := ca.Intermediate(identity.KindDevice)
	for name, c := range map[string]struct {
		leaf *x509.Certificate
		root *x509.Certificate
		want string
	}{
		"root": {ca.Root, ca.Root, ""}, "intermediate": {between, ca.Root, ""},
		"another root": {ca.Root, other.Root, "signed by itself"}, "another intermediate": {between, other.Root, "another PKI"},
	} {
		got := explainCertificate(facts{now: time.Now(), leaf: c.leaf, chain: []*x509.Certificate{c.leaf}, roots: []*x509.Certificate{c.root}})
		if c.want == "" && len(got) != 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0].Problem, c.want)) {
			t.Errorf("%s: %+v, want %q", name, got, c.want)
		}
	}
}

// Texts as they are seen, of Go, OpenSSL, curl and browsers.
func TestExplainError(t *testing.T) {
	t.Parallel()
	used := make(map[int]bool)
	for text, want := range map[string]string{
		"tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-26T03:00:00Z is before 2026-11-26T03:50:00Z": "at least 50 minutes behind",
		"x509: certificate has expired or is not yet valid: current time 2026-11-26T03:00:00Z is after 2026-11-23T03:00:00Z":                                     "expired 3 days before",
		"current time X is after Y":                                                                                                     "not valid at the time",
		"SSL certificate problem: certificate is not yet valid":                                                                         "clock is behind",
		"remote error: tls: expired certificate":                                                                                        "our own certificate has expired",
		"error 12 at 0 depth lookup: CRL has expired":                                                                                   "revocation list",
		"SSL certificate problem: certificate has expired":                                                                              "has expired by the clock",
		"remote error: tls: revoked certificate":                                                                                        "owner is blocked",
		"the identity is blocked: spiffe://comtrexx.test/device/0123456789":                                                             "owner is blocked",
		"error 23 at 0 depth lookup: certificate revoked":                                                                               "owner is blocked",
		"a newer certificate is in use: generation 2 after 5":                                                                           "superseded",
		"superseded: generation 2 after 5":                                                                                              "generation 2, superseded by generation 5",
		"the token is unknown, used or expired":                                                                                         "token cannot be used",
		"the root has another fingerprint: the PKI at https://x has 00, want 11":                                                        "not the one that is pinned",
		"names differ: spiffe://a/device/1 is signed by spiffe://a/authority/relay, want spiffe://a/authority/device":                   "signed by spiffe://a/authority/relay and not by",
		"unexpected peer: peer is spiffe://a/relay/r2, want spiffe://a/relay/r1":                                                        "spiffe://a/relay/r2 instead of spiffe://a/relay/r1",
		"remote error: tls: bad certificate":                                                                                            "refuses our own certificate",
		"error:0A000418:SSL routines::tlsv1 alert unknown ca":                                                                           "refuses our own certificate",
		"remote error: tls: certificate required":                                                                                       "wants a certificate",
		"remote error: tls: handshake failure":                                                                                          "no version or cipher",
		"tls: server selected unsupported protocol version 301":                                                                         "no version or cipher",
		"remote error: tls: no application protocol":                                                                                    "another protocol",
		"remote error: tls: unrecognized name":                                                                                          "no such name",
		"tls: first record does not look like a TLS handshake":                                                                          "does not speak TLS",
		"error:0A00010B:SSL routines::wrong version number":                                                                             "does not speak TLS",
		"x509: certificate is valid for relay.comtrexx.test, not relay.example.com":                                                     "relay.example.com, is not in the certificate, which is for relay.comtrexx.test",
		"x509: cannot validate certificate for 192.0.2.1 because it doesn't contain any IP SANs":                                        "is not in the certificate",
		"SSL: no alternative certificate subject name matches target host name":                                                         "is not in the certificate",
		"tls: private key does not match public key":                                                                                    "key does not belong",
		"error:05800074:x509 certificate routines::key values mismatch":                                                                 "key does not belong",
		"x509: certificate specifies an incompatible key usage":                                                                         "not for this use",
		`x509: a root or intermediate certificate is not authorized: DNS name "x" is not permitted by any constraint`:                   "may not give",
		"SSL certificate problem: unable to get local issuer certificate":                                                               "an issuer is missing",
		"x509: certificate signed by unknown authority":                                                                                 "does not trust the issuer",
		"SSL certificate problem: self-signed certificate in certificate chain":                                                         "does not trust the issuer",
		"net::ERR_CERT_AUTHORITY_INVALID":                                                                                               "does not trust the issuer",
		`x509: certificate signed by another (possibly because of "x509: ECDSA verification failure" while trying to verify candidate)`: "same name",
		"too many requests from this address":                                                                                           "no more requests",
		"dial tcp 127.0.0.1:8443: connect: connection refused":                                                                          "nobody listens",
		"dial tcp: lookup pki.example: no such host":                                                                                    "does not resolve",
		"dial tcp 192.0.2.1:8443: i/o timeout":                                                                                          "in time",
		"read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer":                                                             "without a word",
	} {
		got, ok := explainError(text)
		if !ok || !strings.Contains(got.Problem, want) || got.Advice == "" {
			t.Errorf("%s:\n\tgot %+v\n\twant %q", text, got, want)
		}
		for i, e := range tlsErrors {
			if e.text.MatchString(text) {
				used[i] = true
				break
			}
		}
	}
	for i, e := range tlsErrors {
		if !used[i] {
			t.Errorf("no test comes to %s", e.text)
		}
	}
	if got, ok := explainError("the weather is fine"); ok {
		t.Errorf("%+v", got)
	}
}

func TestAbout(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		0: "0 seconds", -50 * time.Minute: "50 minutes", 90 * time.Minute: "90 minutes", 36 * time.Hour: "36 hours",
		2*time.Hour - time.Millisecond: "2 hours", 2*time.Hour - time.Minute: "119 minutes",
		3 * day: "3 days", 400 * day: "400 days", 20 * 365 * day: "20 years", 90 * time.Second: "90 seconds",
	} {
		if got := about(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
