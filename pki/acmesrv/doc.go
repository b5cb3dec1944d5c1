// Package acmesrv is the ACME server (RFC 8555) from which our servers get the
// certificates for their own names.
//
// It embeds the ACME API of github.com/smallstep/certificates, and mounts it for a
// private listener of its own. Every role of a server (srv-auerproxy, srv-ara, …)
// has its own directory with its own rules:
//
//		https://<host>/acme/<role>/directory
//
//	  - the names that it may ask for ([Role.Names]); any other is rejectedIdentifier;
//	  - an account needs an external account binding (RFC 8555 §7.3.4) made for the
//	    role by [Server.EAB], which binds one account, once;
//	  - a name is proven by tls-alpn-01 (RFC 8737) or http-01. There is no dns-01, and
//	    so no wildcard in a certificate: dns-01 is the only proof for one.
//
// Revocation and key change are not mounted: certificates are short-lived, and what
// ends an endpoint is the block list.
//
// # What is signed
//
// Certificates come from an intermediate of their own ([profile.ServerIntermediate]),
// never from those of devices, services or relays. Whatever the request says, a
// certificate has the DNS names and addresses of its order and nothing else: no
// identity, server authentication only, no life beyond the issuer's. It can
// authenticate nobody in the cloud.
//
// Before a certificate is handed out, [Config.Issued] is told. If that fails, there
// is no certificate.
//
// # Storage
//
// Accounts, orders, nonces and keys are kept in a nosql.DB, whose CmpAndSwap and
// Update must be atomic: external account keys and nonces are used once because of
// them. [Server.Sweep] removes what has passed; smallstep itself never does.
//
// The package is not covered by the compatibility promise.
package acmesrv
