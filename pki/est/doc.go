// Package est is the wire format of Enrolment over Secure Transport (RFC 7030, as
// corrected by RFC 8951), as far as a server of ours speaks it:
//
//	GET  cacerts         trusted roots, and what issues for devices    certs-only PKCS #7
//	GET  csrattrs        what a certificate request should look like   CsrAttrs
//	POST simpleenroll    certificate request to certificate            PKCS #10 to PKCS #7
//	POST simplereenroll  the same, for the holder of a certificate
//
// all below /.well-known/est. Bodies are base64 in both directions. serverkeygen,
// fullcmc and labels are not offered: a device's key is made on the device, and
// there is one profile.
//
// Our own devices use the same resources and ask for application/json, which gives
// them the chain and the roots in one answer; see package enrol.
//
// The package is not covered by the compatibility promise.
package est
