// Package gateway is the way from a browser to the pages of a PBX: it ends the browser's
// TLS, knows by a grant of the control centre (CCC) whose session a request belongs to,
// and carries it in a call to that one PBX.
//
//	g, err := gateway.New(gateway.Config{Domain: "ara.example", CCCURL: "https://ccc.example", …})
//	go g.Run(ctx)
//	srv := g.HTTPServer(tlsConfig)              // HTTP/1.1 and 2
//	h3 := g.HTTP3Server(tlsConfig)              // HTTP/3
//
// The gateway decides nothing about consent: a PBX lets calls of a session in or not, and
// cuts them. It keeps nothing on disk, and logs no address, path, serial, user agent or
// grant.
//
// # Origins
//
// Each session has an origin of its own, https://<label>.<domain>, where label is 128
// random bits, so that cookies, storage and scripts of two PBXs never meet. The domain
// has to be registrable apart from the CCC's. Below /.ara/ is the gateway's own on each
// origin, the rest is the PBX's.
//
// # A session
//
//	browser                    gateway                         CCC
//	  │ GET <domain>/begin?session=S │                          │
//	  ├─────────────────────────────►│ draws the label           │
//	  │ GET <label>.<domain>/.ara/begin                          │
//	  ├─────────────────────────────►│ cookie __Host-ara-browser │
//	  │ GET <ccc>/remote/S?label=…&browser=SHA-256 of the cookie │
//	  ├──────────────────────────────┼──────────────────────────►│ signs in, makes the grant
//	  │ POST <label>.<domain>/.ara/redeem, grant=…               │
//	  ├─────────────────────────────►│ cookie __Host-ara         │
//
// The grant is in a body and never in an address, the hash of the cookie is no secret.
// What a grant has to be: signed by service/ccc, for this very host, session and browser,
// in its minute, and not used before.
//
// A session ends when its PBX says so, refuses it, or nothing moves for long, and with it
// every stream. Its PBX is told nothing by that: the PBX has its own clock.
//
// # What is changed on the way
//
// Hop-by-hop fields go (RFC 9110 §7.6.1); X-Forwarded-Host and -Proto are set and
// X-Forwarded-For is not, as a PBX has no need of the browser's address. The gateway's
// cookies never reach a PBX, and no PBX can set them. Domain is taken out of Set-Cookie.
// A cookie that the PBX keeps from scripts passes only with a value that the PBX has set,
// so that no other origin below the domain can plant one. Strict-Transport-Security is
// the gateway's. Clear-Site-Data and Alt-Svc are dropped, as they reach beyond the
// origin, and service workers are refused, as they outlive the session.
//
// Requests that another origin makes are refused unless they only show a page
// (http.CrossOriginProtection, and Fetch metadata for the rest).
//
// # Targets
//
// A session of the service "tcp" or "ssh" is to one target on the PBX's own list, by its
// name; the address is the PBX's business. /.ara/connect makes one flow of a WebSocket,
// for programs; package flow says how. A flow of SSH is ciphertext here: the client is on
// the user's machine.
//
// /.ara/terminal is for browsers, which have no SSH client. It runs here, and not as
// WebAssembly in the page: the page is the gateway's in either case, so that whoever
// cannot trust the gateway with a password cannot trust its page with one, and a page
// would ask for a weaker policy and a program of several megabytes. What the gateway sees
// of a terminal is in memory only, as it passes. A password is asked for when the target
// wants it, handed on, and referred to by nothing afterwards; it is in no log and on no
// disk, and neither is anything typed or shown. Who wants the gateway to see nothing uses
// the command line.
//
// The target's host key has to be one that the PBX names for it, which the PBX says inside
// end-to-end TLS. Where it names none, the user is shown the fingerprint and decides.
//
// Where the PBX names a key for it, what a terminal shows is recorded: as an asciicast that
// is sealed to the key (age) as it is made, and streamed to the PBX, so that up to 64 KiB of
// it are in memory in clear and none of it is anywhere else. It begins once the target has
// taken the sign-in. The user is told before that and all the time. A terminal whose
// recording fails ends, and flows of SSH, which would evade it, are refused then.
//
// The WebSocket /.ara/shell carries a terminal: binary messages are what is typed, up to 16
// KiB each, and what is to be shown; text messages are JSON, see heard and said. No more
// than 256 KiB are on their way to a page that has not said that it has shown them.
//
// The package is not covered by the compatibility promise.
package gateway
