// Package api is the HTTP API of the control centre: systems and their pairing, the
// session of the person at the browser, and live events.
//
//	a, err := api.New(api.Config{Store: db, …})
//	http.Serve(ln, a.Handler())       // with a.Run(ctx) beside it
//
// # Shape
//
// JSON below /api/v1, described by the OpenAPI 3.1 document openapi.json, which is made
// from the types of this package and is served at /api/v1/openapi.json. Ids are opaque
// strings. Times are RFC 3339 in UTC. Whatever is not known to the API in a request is
// refused, so that nothing is set by accident.
//
// # Errors
//
// Every answer that is not 2xx is a problem (RFC 9457, application/problem+json) with a
// stable code; errors.md lists them all. One that finds fault with the request names
// every field that is wrong:
//
//	{"title":"The request is not valid","status":422,"code":"invalid","errors":[
//	  {"location":"body.serial","code":"pattern","message":"…"}]}
//
// What belongs to another tenant is answered exactly as what does not exist.
//
// # Sessions and protection
//
// A session is a cookie that scripts cannot read (see ccc/account); requests that change
// something are refused from other origins by what the browser says about them
// (net/http.CrossOriginProtection). Requests are counted per session, sign-ins per account
// and per network.
//
// # Tenants and rights
//
// Each operation has a rule: the verb of ccc/access that it takes, and whether for all of
// the tenant, for a part of it, or for the system in its path. The document has it as
// x-access; an operation without one does not start. It is decided anew for each request,
// from what the store has then. A request is about the user's own tenant, or about the one
// that the header Auer-Tenant names; one that he has nothing to do with is answered as one
// that there is not. Live events end, or become fewer, with the right to see the systems:
// at once where it is taken in this process, and otherwise with the next heartbeat.
//
// What a tenant says about another, to let it in or to hand it a system, is taken whether
// or not there is such a tenant. A hand-over dissolves the pairing first; the new owner
// gets the serial, and an offer to pair it anew.
//
// What a session was proven with decides what it is good for: a password alone, where the
// person has a second factor or has to have one, only for the next step. What people prove
// themselves with, OpenID providers among that, they change soon after a proof only.
//
// Programs send an API token, Authorization: Bearer, in place of a cookie. It is good for
// its verbs in its tenant, as far as the person who made it may do the same, and for
// nothing about that person.
//
// # Repeats
//
// A POST with the header Idempotency-Key is done once: the same request with the same
// key gets the same answer again, with the header Idempotency-Replayed.
//
// # Changes
//
// A system has a version, given as its ETag; PATCH wants it in If-Match and answers 412
// where somebody else was faster.
//
// # Audit
//
// Each operation that changes something leaves one entry in the tenant's audit log
// (ccc/audit), in the transaction of the change, and so does one that is refused, and each
// look at an address and each export. It has ids and names of fields, and nothing that was
// typed. What comes too often leaves none, nor does what somebody does who is not signed in,
// but for attempts to sign in: or anybody could fill the log. For the same reason what a
// person is refused again and again has an entry for the first time, and for all others in
// the next hour one with their number. Entries say when the access log has the access; the
// address is found there, as long as that has it. A list of systems leaves an entry for each
// system that it adds.
//
// # Configuration
//
// The settings of a PBX are read from it, and have the PBX's version as their ETag: where its
// own administrator was faster, PATCH answers 412 and names the settings that are not as the
// client has seen them. Rollouts change many PBXs (ccc/rollout): POST /rollouts only reads
// them, and nothing is changed before POST /rollouts/{id}/control says start. Who sees a
// rollout sees all of its systems.
//
// # Firmware
//
// Images are the operator's, for all tenants: its staff upload them, and who sees
// configurations sees which there are. A rollout of one is like any other; it says before the
// start which system would get what, and of the others why not. Until when the maintenance of
// a system is paid is set by who manages licences.
//
// # Live events
//
// GET /events is a stream of server-sent events: first a summary, then changes. Several
// changes of one thing in a short time are one event, which is read and written once for
// all readers of a tenant. A reader that is too slow to keep up gets the event reset and
// is to load everything anew: not again and again, and not at the same time as others.
package api
