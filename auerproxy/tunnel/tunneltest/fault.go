package tunneltest

import "sync"

// fault is what a proxy does to the bytes that pass it.
type fault struct {
	mu       sync.Mutex
	changed  chan struct{} // guarded by mu; closed and replaced at each change
	toClient bool          // guarded by mu; bytes to the client get lost
	toServer bool          // guarded by mu; bytes to the server get lost
	blocked  bool          // guarded by mu; nothing passes at all
}

func newFault() *fault { return &fault{changed: make(chan struct{})} }

func (f *fault) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

// passes reports whether bytes in a direction arrive now, and gives the channel
// that is closed when that may have changed.
func (f *fault) passes(toServer bool) (bool, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lost := f.blocked || toServer && f.toServer || !toServer && f.toClient
	return !lost, f.changed
}

func (f *fault) isBlocked() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.blocked
}
