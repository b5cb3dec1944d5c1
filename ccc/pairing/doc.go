// Package pairing brings PBXs and tenants together, and parts them: the control
// centre's side of a pairing.
//
//	s, err := pairing.New(pairing.Config{Store: db, Keys: keys, Credentials: creds, Dial: dialer.DialContext, …})
//	go s.Run(ctx)             // brings offers, tries logins, ends what is over
//	go s.Serve(ctx, listener) // what PBXs say
//
//	system, offer, err := s.Save(ctx, actor, pairing.NewSystem{Serial: "0123456789", Name: "Office"})
//
// A user saves a serial, and gets a token. The service brings an offer with it to the
// PBX, now or when it connects. The PBX's administrator types the token there; the PBX
// makes a user and sends it back, which is the completion. Then the service signs in at
// the PBX with that user, and both are paired. Package wire has the messages.
//
// # One state
//
// Whatever changes a system, its offers and its pairing does so in one transaction of
// the store, with the event that tells of it. So a crash at any point leaves it before
// or after. What has to be told to the PBX is read from the store again: open offers,
// tombstones, pairings that were not proved. Nothing is queued elsewhere.
//
// A system's states are drawn in state.go. A system has an open offer exactly while it is
// offered or received, and a pairing exactly while it is proving or paired.
//
// # Who is who
//
// Users are let in by the caller, who fills [Actor]; another tenant's things are not
// found. PBXs are known by the verified identity of their connection, never by what a
// message says.
//
// # What is told
//
// Saving a serial does and answers the same, whether the PBX exists, is online, is
// somebody else's, or has as many offers as it may get: other tenants' rows are not
// looked at. An offer beyond the number that one PBX gets waits for its turn. [StepSent]
// comes with the offer, not with the call to the PBX. A PBX that has a pairing already says
// so to the service only.
//
// Then only [StepReceived] tells something: there is such a PBX, it is connected, and it
// is not paired. That cannot be kept back, since its administrator has to act now. What
// it tells of foreign serials is bounded by the quotas, and seen on the PBX's own page.
//
// # Secrets
//
// Token, user and password are sealed in the store (package seal), and erased with the
// offer and the pairing. They are in no log, metric, event or error.
package pairing
