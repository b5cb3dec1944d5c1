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
// # Intermediates and roots
//
// Each kind has intermediates in generations. The newest one below the active root
// issues; the others keep their keys to sign revocation lists for what they have
// issued ([Authority.Issuers]). New ones come by a key ceremony ([RequestIntermediates],
// [SignRequest], [Install]) and are swapped in by [Authority.Reload] with nothing in
// between: a certificate comes from the one before or from the one after.
//
// The roots are in a trust bundle with a version, which endpoints fetch; its life is
// drawn at [enrol.RootState]. It is in the store, but a root counts only if the roots
// on disk lead to it by cross certificates, so that writing to the store is not
// enough to add one. Chains end with the cross certificates of their root, for
// endpoints that trust an older one. There is room for one between root and
// intermediate: cross-sign a root with each older one that is still trusted somewhere.
//
// # State directory
//
//	roots.pem                  the trusted roots; the first is the active one
//	root.key                   root key, encrypted; may be taken offline
//	<kind>.pem, <kind>.key     first intermediates and their keys, encrypted
//	<kind>-<n>.pem, .key, .csr generation n; the request until there is a certificate
//	<name>.kms                 instead of a .key: its name in a key management system
//	log.key, log.pub           key of the audit log, encrypted, and its public half
//	passphrase                 passphrase of the keys, unless configured elsewhere
//	pki.db                     bbolt: certificates, tokens, blocks, bundle, audit log
//
// One process at a time has pki.db open. With the store in PostgreSQL
// ([StoreConfig]) there is no pki.db, and several processes share the rest.
//
// The package is not covered by the compatibility promise.
package authority
