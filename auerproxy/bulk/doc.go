// Package bulk is the data connection of a bulk call: a plain TCP connection
// beside the tunnel, one from the device to the relay and one from the caller,
// which the relay joins in the kernel. The end-to-end TLS runs inside, so that the
// relay need not decrypt and encrypt again what it cannot read anyway.
//
//	caller ──── tunnel stream ──── relay ──── tunnel stream ──── device
//	caller ════ data connection ══ relay ════ data connection ══ device
//
// The call is opened through the tunnel as any other, and with it each side gets a
// [Ticket], good for one connection to the relay's TCP port. The streams in the
// tunnel stay: as long as they live the call lives, and their reset, or the end of
// a session, cuts it. Where a data connection cannot be made the call runs in the
// stream. All of it is in auerproxy/tunnel/spec.md §10.
//
// What moves the bytes does so in pieces of 256 KiB, which would delay others in the
// tunnel: a busy call holds up to three buffers of that size at each end, the relay none.
//
// [Open] is the side that dials, [Accept] the relay's; a [Stream] is a data
// connection with its tunnel stream, as a tunnel.Stream.
package bulk
