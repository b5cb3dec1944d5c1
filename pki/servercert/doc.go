// Package servercert gets and renews the certificates for the names under which
// people and stock TLS clients find a server, and hands them to its TLS listener.
//
// There are three modes. In [ModeInternal] they come over ACME (RFC 8555) from the
// cloud's own PKI, in [ModePublic] from a public CA, by default Let's Encrypt, and in
// [ModeFiles] somebody else puts them into files. The ACME modes use
// github.com/caddyserver/certmagic.
//
// A server needs three lines:
//
//	names, err := servercert.New(cfg)   // loads what is stored; dials nobody
//	ln := tls.NewListener(tcp, names.TLSConfig("h2", "http/1.1"))
//	go names.Run(ctx)                   // once the listener is open
//
// The CA proves a name by connecting to that listener (tls-alpn-01, RFC 8737), or to
// [Config.HTTPPort] (http-01).
//
// With [Config.DNS01] they are proven by records in the DNS instead, which is the way to a
// certificate for every name below a domain; the program changes a zone by RFC 2136.
//
// A server whose names come and go has them in [ModeInternal] on demand, see
// [Config.Ask], or in files by a wildcard.
//
// # What it never does
//
//   - A CA that is away stops no server: it starts with the stored certificate, and
//     certificates are renewed at half of their life, so that there is time.
//   - Nothing is read from standard input.
//   - In ModeInternal nobody but the host of the directory is contacted: no other CA,
//     no OCSP responder, no renewal information (RFC 9773), no proxy of the environment.
//   - Keys are kept in a directory that nobody else can read.
//
// The package is not covered by the compatibility promise.
package servercert
