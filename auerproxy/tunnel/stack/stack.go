// Package stack spares new goroutines the growth of their stacks.
//
// A goroutine begins with 2 KiB, and a write through yamux and TLS to a socket needs
// between 4 and 8. The runtime doubles the stack twice on the way, each time with a dozen
// frames to move: where connections are short that is a sixth of a relay's time.
package stack

// Grow makes the calling goroutine's stack 8 KiB at once, where next to nothing is on it
// yet. It belongs at the start of a goroutine that will write to a tunnel and end soon;
// one that waits for long should keep its small stack.
func Grow() { _ = room(0) }

// room needs a frame of 4 KiB. The runtime makes room for it before the first
// instruction; nothing touches it.
//
//go:noinline
func room(n int) byte {
	if n == 0 {
		return 0
	}
	var frame [4 << 10]byte
	frame[n] = byte(n)
	return frame[n/2]
}
