// Package flow is the way of a program to a target behind a PBX, through the gateway for
// remote access (ARA): one TCP flow in one WebSocket.
//
//	t, err := flow.ReadTicket(file)            // what "ccc remote open" has written
//	s, err := flow.Client{}.Redeem(ctx, t)     // once, within a minute
//	c, err := s.Open(ctx)                      // one flow; as many as the gateway takes
//
// [Conn] is both ends of a flow: the gateway uses it, too.
//
// # The WebSocket
//
// GET <origin of the session>/.ara/connect with the cookie of the session, HTTP/1.1
// (RFC 6455). The subprotocol is [Subprotocol]. Each binary message is a part of the flow
// in that direction, where its bounds mean nothing; an empty one is its end, after which
// there are no more in that direction (TCP's half-close). When both have ended the
// WebSocket is closed with 1000. Any other end has the status [StatusEnded] and as its
// reason either "ended" with the cause of the session's end, e.g. "ended admin", or the
// number of an error, e.g. "AUER-1305".
//
// What is refused before that is answered with a page, and the field [RefusedHeader] says
// why in a word.
//
// # The ticket
//
// A JSON object, see [Ticket]. It is a secret until it is used, once, within the minute
// that its grant lives.
//
// The package is not covered by the compatibility promise.
package flow
