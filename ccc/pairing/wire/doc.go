// Package wire is what the control centre (CCC) and a PBX say to one another about
// a pairing, and about remote access to the PBX: messages, signed statements, the proof
// that a token was typed, and the short code that people compare. Both sides use it.
//
// # Ways
//
// Both sides are HTTP/1.1 servers inside calls of the Auerproxy, which are
// end-to-end TLS with a verified identity on both sides. Who speaks is known from
// the connection and from nothing in a message.
//
//	CCC → PBX, the PBX's service "pairing"
//	  POST /v1/offer          OfferBody      200 ReceivedBody
//	  POST /v1/withdraw       Withdraw       204
//	  POST /v1/dissolve       TombstoneBody  200 TombstoneBody
//	  POST /v1/remote         RemoteBody     200 RemoteTaken
//	  POST /v1/remote/end     RemoteEnd      204
//	PBX → CCC, the service "pairing" of service/ccc
//	  POST /v1/complete       Complete       200 AckBody
//	  POST /v1/declined       Declined       204
//	  POST /v1/sync           Sync           200 SyncReply
//	  POST /v1/remote/report  RemoteReport   204
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
// What has to be shown later is signed: [Offer], [Received], [Ack], [Tombstone] and
// [Remote] are statements of package jws. See [Sign] and [Verify].
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
// # Remote access
//
//	CCC                                         PBX
//	 │ Remote{session, who, why, how long}, signed │  keeps it; nobody is let in
//	 ├───────────────────────────────────────────►│
//	 │ RemoteTaken{pending}                       │
//	 ◄────────────────────────────────────────────┤
//	 │      … the PBX's administrator consents, there …
//	 │ RemoteReport{active, until}                │  lets in what it has allowed
//	 ◄────────────────────────────────────────────┤
//	 │ RemoteReport{ended, cause, bytes}          │  has cut them
//	 ◄────────────────────────────────────────────┤
//
// The PBX decides alone. The states are those of grant.State.
//
// The package links the standard library and the packages token, grant, jws, identity and
// enrol only.
package wire
