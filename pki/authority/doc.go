// Package authority issues the certificates of one trust domain and says which
// identities are blocked.
//
// It embeds github.com/smallstep/certificates, one authority per kind of
// endpoint (device, service, relay), each with its own intermediate below one
// offline root. Nothing of smallstep's HTTP API is mounted: its renew and rekey
// handlers sign certificates that this package would refuse.
//
// # One funnel
//
// A certificate comes from one of four calls, and every one of them ends in the
// same place: [Authority.Enrol] (a one-time token), [Authority.Renew] (the
// present certificate), [Authority.Issue] and [Authority.Credentials] (the
// administrator, or the process itself). The funnel checks the certificate
// request, the block list and the generation, signs with the kind's
// intermediate, and then, in one transaction of the store, checks all of it again
// and stores certificate, index and audit log entry. If any of it fails, the
// certificate is thrown away and nothing of it happened: there is no certificate
// without its line in the audit log, and no token is burnt for nothing.
//
// The names in a certificate come from the token or from the certificate that is
// renewed. A certificate request may leave them out, or repeat them exactly.
//
// # Generations
//
// Certificates that were renewed one from the other form a lineage, numbered by
// generation. Renewal has two phases, so that a power cut between issuing and
// saving cannot lock a device out:
//
//	       enrol / issue                      renew(n)
//	(none) ────────────► n confirmed ◄──────────────────► n confirmed, n+1 pending
//	                        ▲                                       │
//	                        └────── confirm(n+1) or renew(n+1) ─────┘
//
// The confirmed generation and the newest pending one may renew. An older one is
// refused, and noted as a possible clone. A device or relay has one lineage (a
// new enrolment retires the old one); a service has as many as it has instances.
//
// # State directory
//
//	roots.pem              trust bundle; the first is the active root
//	root.key               root key, encrypted; may be taken offline
//	<kind>.pem, <kind>.key intermediates and their keys, encrypted
//	passphrase             passphrase of the keys, unless configured elsewhere
//	pki.db                 bbolt: certificates, tokens, blocks, audit log
//
// One process at a time has pki.db open.
//
// The package is not covered by the compatibility promise.
package authority
