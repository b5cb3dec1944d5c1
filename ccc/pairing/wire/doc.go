// Package wire is what the control centre (CCC) and a PBX say to one another about
// a pairing: messages, signed statements, the proof that a token was typed, and the
// short code that people compare. Both sides use it.
//
// # Ways
//
// Both sides are HTTP/1.1 servers inside calls of the Auerproxy, which are
// end-to-end TLS with a verified identity on both sides. Who speaks is known from
// the connection and from nothing in a message.
//
//	CCC → PBX, the PBX's service "pairing"
//	  POST /v1/offer     OfferBody      200 ReceivedBody
//	  POST /v1/withdraw  Withdraw       204
//	  POST /v1/dissolve  TombstoneBody  200 TombstoneBody
//	PBX → CCC, the service "pairing" of service/ccc
//	  POST /v1/complete  Complete       200 AckBody
//	  POST /v1/declined  Declined       204
//	  POST /v1/sync      Sync           200 SyncReply
//
// Bodies are JSON of at most [DefaultMaxBody] bytes. Fields that a side does not
// know are ignored, so that versions mix; a known field of the wrong type is an
// error. Times are RFC 3339 in UTC, durations whole seconds. Whatever is not a
// success is a [Problem].
//
// [CCC] and [PBX] are the clients, [Handle] and [HTTPClient] do what is the same on
// every way.
//
// # Statements
//
// What has to be shown later is signed: [Offer], [Received], [Ack], [Tombstone] are
// JWS in compact form (RFC 7515 §3.1), ES256 (RFC 7518 §3.4), with the signer's
// certificate and intermediates in x5c (RFC 7515 §4.1.6) and the kind of statement in
// typ, so that one kind never passes for another. See [Sign] and [Verify].
//
// # Pairing
//
//	CCC                                         PBX
//	 │ Offer{token, nonce}, signed                │  keeps a hash of the token and the nonce,
//	 ├───────────────────────────────────────────►│  forgets the token; nothing else happens
//	 │ Received, signed                           │
//	 ◄────────────────────────────────────────────┤
//	 │      … the administrator compares the ShortCode and types the token …
//	 │ Complete{nonce, proof, user, password}     │  has made the user, disabled
//	 ◄────────────────────────────────────────────┤
//	 │ Ack, signed                                │  enables the user
//	 ├───────────────────────────────────────────►│
//
// [Prove] makes the proof: only who has typed the token of this very offer can, and
// it covers user and password. A PBX that has lost the answer sends the same
// Complete again and gets the same Ack.
//
// # Dissolving
//
// Either side dissolves by itself and at once, then tells the other by a Tombstone,
// now or at the next [Sync]. Secrets ([Secret], token.Token) print as placeholders.
//
// The package links the standard library, go-jose, and the packages token, identity
// and enrol only.
package wire
