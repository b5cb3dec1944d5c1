// Package e2e is the end-to-end part of a call: what caller and device run inside
// a stream that a relay has joined for them, so that the relay sees ciphertext
// only. It is used by auerproxy/agent and auerproxy/dial, on both ends.
//
// A preamble says what runs inside a relay stream; for two of its values this
// package has a client and a server side:
//
//	INNER_MUX   Client / Server        a Session: many calls, one TLS handshake
//	INNER_TLS   ClientTLS / ServerTLS  a Flow: one call
//
// The side that opened the relay stream is the TLS client. Both show the
// certificate of their endpoint, and both check the other's: a device is
// verified to be exactly the one that was asked for, a caller to be the one that
// the preamble named.
//
// A [Session] starts with hello and welcome on its own control stream, like one
// to a relay, but without heartbeats: the relay session below has them. Each call
// in it has a preamble (with INNER_PLAIN) and an open-ack of its own.
// [Pool] keeps client sessions for the next call, [Serve] answers the calls of a
// server session.
package e2e
