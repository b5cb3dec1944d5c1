// Package fleet knows which PBXs are online, from what the relays tell.
//
//	p, err := fleet.New(fleet.Config{Watch: dialer})   // a *dial.Dialer
//	go p.Run(ctx)
//	<-p.Known()                                        // or: not yet known what is offline
//
//	st, ok := p.Status("0123456789")                   // now
//	for c := range p.Subscribe(ctx) { … }              // and what changes
//
// # Online
//
// A PBX is online while it holds a session with one of the relays at least. The status
// shows the newest of its sessions, which is the one with the highest epoch. So a PBX
// that moves to another relay, or to another transport, stays online, and Since stays as
// it was.
//
// # Offline
//
// A PBX without a session goes offline only after Config.OfflineAfter, with the time
// and the reason of the end of its last session: most come back before that. One whose
// relay is lost goes offline, too, with the reason [tunnel.CodeUnreachable]: of such a
// PBX nothing is known, and it should be shown like that. A relay that was emptied or
// stopped has said so, and its PBXs go offline with [tunnel.CodeDraining] or
// [tunnel.CodeShutdown]. A relay that comes back soon is not noticed.
//
// Of a PBX that is offline a relay may tell that it did not let it in, since its certificate
// is blocked or expired: that is the reason then.
//
// # Two holders
//
// A relay refuses a second holder of a certificate that connects to it. Where the two are
// at different relays, none of them can see that, and the fleet does, by the ids that a
// PBX has from its enrolment and from its start. If they stay, it is an alarm, and the PBX
// is quarantined: offline, with the reason [tunnel.CodeQuarantined], for nobody can tell
// which of the two is the right one. Both keep their tunnels; to block the serial is for
// the operator of the PKI.
//
//	         two holders                   for Config.CloneAfter
//	single ──────────────► suspected ────────────────────────────► quarantined
//	  ▲  ▲       one           │                                     │     ▲
//	  │  └─────────────────────┘                                one  ▼     │ two
//	  └────────────────────────────────────────────────────────── clearing
//	                     one, for Config.Quarantine
//
// # Cost
//
// About 600 bytes for each PBX, and no goroutine or timer of its own. PBXs that are
// offline are remembered up to Config.Remembered.
package fleet
