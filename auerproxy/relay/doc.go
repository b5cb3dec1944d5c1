// Package relay is the Auerproxy relay: it holds the tunnels that devices and
// services dial out, and joins a caller's stream with a stream to the endpoint
// that the caller names.
//
// The relay is blind. Between caller and device runs TLS that ends in neither of
// its sockets; the relay reads preambles, decides, copies ciphertext, counts and
// drains. It writes no payload anywhere.
//
//	r, err := relay.New(cfg)   // cfg.Credentials, cfg.Listen, cfg.Policy, …
//	err = r.Run(ctx)           // returns when everything it started has ended
//
// # A session's life
//
//	transport handshake ─► hello ─► admission ─► registered ─► welcome ─► serving ─► gone
//	        │                │          │             │                      │
//	   refused in TLS    timeout    refused       blocked after         replaced, drained,
//	                                with a code   registering: cut      kicked, blocked, silent
//
// Identity comes from the verified certificate and from nothing else. A device's
// newest session wins (fencing by epoch); the late end of an old session never
// removes the new one. Two live holders of one certificate are an alarm, not an
// endless mutual eviction (see clone.go).
//
// # Three ways in
//
// A caller either holds a session itself and opens streams in it (auerproxy/dial
// does), or sends HTTP CONNECT with a client certificate to the same TCP port
// (any HTTP/1.1 or HTTP/2 client does, see connect.go), or connects to a static
// entry, a TCP address that the configuration ties to one service of one device.
// Blindness ends there: of an entry's bytes the relay sees what the client does
// not encrypt, see [Entry].
//
// The package is not covered by the compatibility promise.
package relay
