// Package pbx behaves as a COMtrexx PBX towards the cloud and towards its
// administrator: it holds a tunnel, takes offers of the control centre (CCC), lets the
// administrator complete and dissolve a pairing in its own web pages, and answers the
// REST API of the real product. Its telephony is a generator.
//
//	p, err := pbx.New(pbx.Config{
//		Dir:         "/var/lib/pbx",
//		Credentials: creds,                  // pki/enrol; a device's
//		Agent:       agent.Config{Relays: []string{"relay.example.net:7844"}},
//	})
//	go http.Serve(ln, p.Handler())           // pages and API for the local network
//	err = p.Run(ctx)
//
// The program around it is integration/pbx/pbx.
//
// # Who may do what
//
//	local network    everything, after signing in
//	service/ccc      the service "pairing", and of the service "web" login, logout,
//	                 system and calldata of the API, and what is marked with + below
//	service/ara      in a session that the administrator has consented to: the services
//	                 "web", "tls", "tcp", "ssh", and "remote" about it; see package remote
//
// Only the local network can type a token, dissolve a pairing or reset the PBX. The
// user of a pairing reads system information and, while switched on, call data; with the
// switch configuration he changes settings, restarts the PBX and brings firmware, which
// the page of settings shows.
// Everything works without the cloud; what the control centre has to know is kept
// until it is back (see package state).
//
// # API
//
// JSON below /api/v1, as far as it is known of the real product; problems are RFC 9457
// with a stable code ([Problem]). What is marked with * is for the local network only, +
// for the control centre too while the switch configuration is on.
//
//	POST   login                  HTTP Basic; 200 {user, role} and the cookie ctx_sessionid
//	POST   logout                 204
//	GET    system                 [System]
//	GET    calldata               ?UserId&limit&offset; {_links:{totalCount}, data:[calls.Record]}
//	GET  + settings               settings.Settings, ETag: their version
//	GET  + settings/schema        [Field]s: what each setting may be
//	PATCH+ settings               {key: value, …, base?: {key: value}} with If-Match; ?dry_run=true; [Changes]
//	POST + restart                202 {restart, boot}
//	GET  + firmware   PUT    +    pages.Firmware; an image (ccc/firmware), ?allow_downgrade=true; 202
//	POST + firmware/rollback      202
//	GET    users      POST        {users:[{name, role, disabled, created_at}]}; {name, password}
//	DELETE users/{name}           204
//	PUT    password               {current, new}; 204
//	GET    ccc                    {state, enabled, paired?, offers}
//	POST * ccc/enable             {token, password, offer?}; 200 paired, 202 goes on by itself
//	POST * ccc/disable            200
//	POST * ccc/offers/{id}/reject {report}; 204
//	GET    switches   PUT *       state.Switches; what the body leaves out stays
//	GET    remote                 {on, settings, sessions, messages, pin?}
//	PUT  * remote/settings        state.Remote; what the body leaves out stays
//	POST * remote/pin             {minutes}; 200 {pin, expires_at, tries_left}; DELETE: 204
//	POST * remote/{session}/allow {minutes, extension}; 204; so is refuse
//	POST * remote/{session}/end   204
//	POST * factory-reset          {password}; 200 {user, first_password}
//
// # Settings
//
// A change names the version that it is made to, and is refused with 412 "version" where
// the settings have another by now, 428 "version_required" where it names none, and 422
// "invalid" with every value that cannot be used. Where the body has in "base" what its
// sender has seen, the 412 has in "changed" what differs from that. With dry_run nothing
// is changed; it needs no If-Match.
//
// # Restart and firmware
//
// A restart ends everything that is not in the state: the tunnel, sessions, remote access.
// The PBX is away for Limits.Restart and comes back with another boot in [System]. Settings
// that need a restart take effect then.
//
// A firmware image is written to the disk and verified as it comes: "image_format",
// "image_key", "image_signature", "image_payload", "image_model", "image_downgrade",
// "image_min_version", "image_current", "too_large". Then it is installed for
// Limits.Install, and the PBX restarts with it. A power cut leaves the old version until
// one write of the state makes it the new one; see [state.Firmware]. Who asks during all
// this gets "busy". Config.Fault makes it go wrong.
//
// # Pairing
//
// An offer does nothing until its token is typed. Then the PBX makes a disabled user,
// and sends him with the proof to the control centre, for up to ten minutes. The
// acknowledgement enables him. Without one, and after a restart, he is removed. A
// pairing ends for many reasons and in one way: user, password and sessions are gone at
// once, and the control centre is told when it can be. [PBX.Dissolve] is the
// administrator's.
//
// # Remote access
//
// The control centre asks, the administrator consents or does not, in the local network;
// package remote says how. Calls of the gateway are let in for a session that runs, and
// are cut when it ends. It never passes for the local network, through the target "web" of
// the service "tcp" neither. Below /conformance/ is a page by which proxies are tested,
// for people who have signed in and for the gateway; see package conformance.
//
// In the service "tls" the pages are behind TLS that ends here, which the gateway cannot
// read; see package tlsend. Without a session it answers certificate authorities only.
//
// # Thousands
//
// A process can hold thousands: with Dir empty the state is in memory, Hasher, Facts
// and the dialers of Agent can be shared, and Handler needs no listener. Package fleet
// does that.
//
// # Hostile
//
// [Config.Hostile] makes a PBX that attacks the control centre, for its tests. A
// cloned certificate is a second PBX with the same Credentials. "sim pbx" has all kinds
// attack a cloud among thousands of good ones.
package pbx
