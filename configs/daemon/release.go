package daemon

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A releaser gives memory back to the system after bursts, such as the handshakes of a
// fleet: their garbage would otherwise stay until the heap has doubled, which in a
// process that has become idle may be never, and what is free until it is used again.
//
// It does so when it is worth it, and the burst has ended: at the rate of now, so much
// would not be allocated in quietFor. It takes one part in
// costShare of the time at most.
type releaser struct {
	floor   uint64 // bytes that count as live and are not
	samples [4]metrics.Sample

	allocated uint64    // in all, at the last look
	next      time.Time // no collection before
}

const (
	releaseTick = time.Second
	quietFor    = 10 * time.Second
	costShare   = 100

	// It is worth it for so many bytes, and such a part of what is in use.
	releaseLeast = 1 << 20
	releasePart  = 8
)

func newReleaser(floor int64) *releaser {
	r := &releaser{floor: uint64(max(0, floor))}
	for i, name := range []string{"/gc/heap/live:bytes", "/memory/classes/heap/objects:bytes", "/memory/classes/heap/free:bytes", "/gc/heap/allocs:bytes"} {
		r.samples[i].Name = name
	}
	return r
}

// run works until ctx ends.
func (r *releaser) run(ctx context.Context) {
	t := time.NewTicker(releaseTick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if r.due(time.Now()) {
				r.release()
			}
		case <-ctx.Done():
			return
		}
	}
}

func (r *releaser) due(now time.Time) bool {
	metrics.Read(r.samples[:])
	live, objects, free, allocated := r.samples[0].Value.Uint64(), r.samples[1].Value.Uint64(), r.samples[2].Value.Uint64(), r.samples[3].Value.Uint64()
	recent := allocated - r.allocated
	r.allocated = allocated
	return !now.Before(r.next) && worth(live, objects-min(objects, live)+free, recent, r.floor)
}

// worth decides by the bytes that the last collection left, those that were allocated
// since then or are free, and those allocated since the last look.
func worth(live, gain, recent, floor uint64) bool {
	return gain >= max(releaseLeast, (live-min(live, floor))/releasePart) &&
		recent*uint64(quietFor/releaseTick) < gain
}

func (r *releaser) release() {
	begin := time.Now()
	debug.FreeOSMemory()
	r.next = time.Now().Add(costShare * time.Since(begin))
}

// releaseMemory gives memory back until stop is called.
func (d *Daemon) releaseMemory(floor int64) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		newReleaser(floor).run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}
