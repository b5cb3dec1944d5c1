// Package crl tells third parties which certificates are revoked: by certificate
// revocation lists (RFC 5280 §5) and by an OCSP responder (RFC 6960).
//
// Relays and services of the cloud need neither: they follow the feed of package
// blocks, which is faster by minutes. This is for programs that know certificates
// only: a customer's web server, openssl, curl.
//
// # Lists
//
// Each intermediate has a list of its own, so that a certificate of an older
// intermediate still has a list that its issuer signed. A list holds every
// certificate that has not expired of an identity that is blocked (reason
// certificateHold, because a block may end) or retired (cessationOfOperation). An
// expired one stays for one more list (RFC 5280 §3.3).
//
// A list is made when somebody is blocked or unblocked, and every
// [Config.Rebuild]. Which number it has and what it shows is decided in one
// transaction of the store, so numbers rise and a higher number never shows less;
// it is signed outside of it, and what is served comes out of the store, so that
// every process serves the same bytes. A process claims a list before it signs, and
// the others wait for it:
//
//	        claim: number+1               publish
//	up to date ───────────────► claimed ───────────► up to date
//	                               │  ▲
//	                               └──┘ claim by another, when 30 s are over
//
// The cost follows the number of blocked identities, not that of issued
// certificates: a blocked identity gets none any more, so what is known of it stays
// true until the block ends, and only new blocks are looked up.
//
// # OCSP
//
// Answers come from the store, at once after a block. They are signed by a
// certificate that the intermediate made for that purpose only, for a day, with
// id-pkix-ocsp-nocheck; making one is noted in the audit log.
//
// # In the store
//
// Bucket "crl", where name is that of [Issuer.Name]:
//
//	state/<name>        JSON: numbers and times of the list, and its parts
//	list/<name>/<part>  4 MiB of the list, DER; parts from 000
//
// The package is not covered by the compatibility promise; the protocols are.
package crl
