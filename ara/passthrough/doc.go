// Package passthrough leads TLS connections by the name that they ask for, before any TLS
// of the gateway's own: those for a PBX's name to that PBX, as ciphertext, and all others
// to whoever accepts from the [Listener].
//
//	ln := passthrough.New(passthrough.Config{Domain: "pbx.example.net", Open: g.Sealed, …}, tcp)
//	err := srv.ServeTLS(ln, "", "")
//
// A PBX's name is "s<serial>.<domain>". The TLS of such a connection ends in the PBX, whose
// key never leaves it, so that the gateway can carry the connection and cut it, but not
// read it.
//
// The first message of a connection, the ClientHello (RFC 8446 §4.1.2), is read by
// crypto/tls, which is stopped after it; what was read is handed on byte for byte. A
// connection that says nothing, or too much, is ended, and so is one for a PBX's name that
// may not be, with the alert unrecognized_name (RFC 6066 §3), whatever the reason is. What
// is no ClientHello goes to the accepting side, which knows how to refuse it.
//
// Connections with nothing but the protocol "acme-tls/1" (RFC 8737) are a certificate
// authority's, which asks the PBX to prove its name; they carry no data, and are bounded in
// bytes and in time.
//
// No name and no address is logged.
package passthrough
