// Package rollout reads and changes the configuration of PBXs through the tunnel: of one, or
// of many in rings.
//
//	s, err := rollout.New(rollout.Config{Store: db, Keys: keys, Connect: rollout.Connect(…)})
//	go s.Run(ctx)
//	r, err := s.Create(ctx, who, rollout.Wish{…})   // reads all of them, and changes nothing
//	r, err = s.Control(ctx, who, r.ID, rollout.Start)
//
// # One PBX
//
// [Service.Configuration] reads the settings with their version, [Service.Change] changes
// some of them if they still have that version, and [Service.Restart] restarts it.
//
// # Rollouts
//
//	                         ┌────check────┐
//	                         ▼             │
//	Create ──► checking ──► ready ──start──┼──► running ──► done
//	              │           │            │    │  ▲  ├─too many failed─► halted
//	              │           │            │ pause resume                    │
//	              │           │            │    ▼  │                         │
//	              │           │            │  paused ◄──────resume───────────┤ (to running)
//	              ▼           ▼            │    │                            │
//	           stopped ◄──────────────stop──────┴────────────────────────────┘
//
//	paused, halted, stopped, done ──rollback──► reverting ──► reverted
//
// While one is checking every system is read, and what would change at it is kept sealed.
// One that is running takes ring after ring, in each some systems at once. A ring is over
// when every system that can be reached has had its turn, and one of them at least is as it
// is to be; who could not be reached goes with the next ring, and with the last one waits
// until the deadline. Nobody asks for him meanwhile: [Service.CameOnline] says that he is
// there. Systems that fail count for their ring; more of them than the plan permits halt the
// rollout. No system has its turn outside the plan's window, and one that has it then ends it.
//
// The deadline is the plan's Wait after the start. The time for which a rollout is paused or
// halted does not count. One that halted when its time was over has all of it again from the
// moment when somebody lets it go on; one that it has stopped does not go on. To roll back has
// a deadline of its own, as long.
//
// # A system
//
//	pending ──► reading ──► writing ──► written ──► restarting ──► done
//	              │            │           │            └► failed: not_returned
//	              │            │           └► failed: verify
//	              │            └► conflict (the PBX: 412), refused (422, 403)
//	              └► unchanged, conflict (other than what was shown), refused
//
//	writing, written, restarting ──► restoring ──► returning ──► reverted: rolled_back, or
//	                                     └─────────────────────►   conflict, refused, failed
//
// Before something is written the version that it is written over and the old values are
// kept. The PBX takes a change for that version only. So whoever takes over from a process
// that was killed reads the PBX: with the old version nothing was written, and it is written
// now; with another one and the new values it was; otherwise somebody else was there, which
// is a conflict. A restart is for the boot that was seen, and is not done again in another.
// What a PBX says that it has taken is read again, also after a restart.
//
// To roll back is to write the old value of each setting that still has the one which the
// rollout wrote, and to restart the PBX where that takes it. Others are a conflict, and stay.
//
// # A system that gets firmware
//
//	pending ──► reading ──► writing ──► written ──► done
//	              │  ▲         │           ├► failed: install, as the PBX says
//	              │  └─(once)──┤           ├► failed: version, back with another one
//	              │            │           └► failed: not_returned
//	              │            └► failed: signature, install, version; refused
//	              └► unchanged, conflict, refused: model, downgrade, min_version, maintenance; failed: busy
//
//	writing, written ──► returning ──► reverted: rolled_back, conflict, refused, or
//	                                             failed: version, install, not_returned, answer, busy
//
// Few PBXs are sent an image at once, and the others wait for their turn. When it comes it is
// looked again whether the rollout still runs, its window is open and who lets it may; then
// the settings are kept, sealed, and so are the version over which the image comes and the boot
// that is to end. It is sent only to that boot, and only where nothing is being installed.
//
// Whoever takes over from a process that was killed while it came sees a PBX that installs, or
// another boot with another version, and waits for what comes of it; or the same boot at rest,
// to which nothing has come whole, and sends it again; or another boot with the old version,
// and sends it once more. A PBX that says that it could not install an image gets none again,
// though that may be what it has said before. So no image is installed twice. It is done when
// another boot runs the version of the image.
//
// A PBX that is at something else is waited for, as long as an installation may take.
//
// To roll back is to have the PBX itself go back, where it runs the version of the image and
// has the one of before to go to. The boot that is to end is kept before it is told so: in
// another one it is not told again.
//
// Images are files in Config.FirmwareDir beside rows of the store: [Service.Upload] takes one
// that a known key has signed, and the PBX looks at the signature again.
//
// # Who may
//
// Before each system it is looked whether the person who has let the rollout change something
// still may at this system, and whether it is paired. If not, it is not touched.
//
// # Several processes
//
// Who works on a rollout has its lease, which ends by itself; without it nothing can be kept
// of a system, and so nothing is begun there. What goes on at systems ends with the lease, as
// soon as that is seen; whoever has it then goes on as after a kill. The clocks of the
// processes have to agree to within a fraction of the lease.
//
// # Keys
//
// What is kept of systems is sealed. [Service.Run] begins with taking it to the newest key.
package rollout
