// Package remote is the control centre's part in remote access to PBXs: it asks the PBX,
// gives the grants with which a browser goes to the gateway (ARA), and keeps the record.
//
//	b, err := remote.New(remote.Config{Store: db, PBX: pairing, …})
//	s, err := b.Ask(ctx, actor, system, remote.Wish{Reason: …, Service: grant.Web})
//	g, err := b.Grant(ctx, actor, system, s.ID, label, browser)
//	err = b.End(ctx, actor, system, s.ID)
//	err = b.Report(ctx, serial, report) // of a PBX
//
// It decides nothing about consent or time: the PBX does, and reports. What it does
// decide is who may ask: by ccc/access, who has the verb remote.ask at the system, in his
// own tenant or as a guest. Who loses that loses what he has open, within [Every]; and all
// ends with the pairing. A request goes to the PBX at once or fails: nothing waits for a PBX that is
// not connected, but for the order to end.
//
// # Record
//
// The states are those of grant.State, here with who leads from one to the next:
//
//	            PBX: pending          PBX: active
//	requested ─────────────► pending ─────────────► active ◄─┐ PBX: more time, more bytes
//	  │ │ │                    │                      │  └────┘
//	  │ │ └─────────────── PBX: active ──────────────►│
//	  │ │                      │                      │
//	  │ └──────────────────────┴──────────────────────┤
//	  │          PBX, user, CCC, or nobody in time    │
//	  │ the PBX does not take it                      ▼
//	  └──────────────────────────────► refused | expired | ended
//	                                                  │ PBX: how it ended, once
//	                                                  ▼
//	                                              confirmed
//
// What ends here is over at once for whoever asks for a grant, and the PBX is told until
// it has heard. What the PBX then reports of the end takes the place of what was noted
// here; after that the record does not change any more.
//
// Times come from PBXs whose clocks may be wrong. They are taken as far as they can be
// true: not before the request, and not in the future.
package remote
