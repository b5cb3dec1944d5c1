package load

import (
	"iter"
	"math/rand/v2"
	"time"
)

// Streams of random numbers, so that drawing more of one kind changes no other.
const (
	streamArrivals uint64 = iota + 1
	streamCalls
	streamSerials
	streamChurn
)

func newRand(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// schedule gives the start times of an open model's calls, counted from the
// beginning of the run, up to the end of duration. The same seed gives the same
// times.
func (m Model) schedule(duration time.Duration, seed uint64) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		rng := newRand(seed, streamArrivals)
		// In seconds and as a product, so that no rounding adds up.
		var at float64
		for n := 1; ; n++ {
			if m.Arrivals == Constant {
				at = float64(n-1) / m.Rate
			} else {
				at += rng.ExpFloat64() / m.Rate
			}
			d := time.Duration(at * float64(time.Second))
			if d >= duration || !yield(d) {
				return
			}
		}
	}
}
