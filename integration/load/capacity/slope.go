package capacity

import (
	"errors"
	"fmt"
)

// Point is a measurement at one size.
type Point struct{ N, Value float64 }

// ErrSlope: the measurements give no slope that could be a cost.
var ErrSlope = errors.New("no slope")

// Slope gives what one more adds, and what is there without any, from measurements
// at two sizes. A ratio would count what a process needs anyway as the tunnels'.
// A slope that is not above zero is [ErrSlope]: the sizes were too small for the
// noise.
func Slope(small, large Point) (each, base float64, err error) {
	if large.N <= small.N {
		return 0, 0, fmt.Errorf("%w: sizes %g and %g, want a larger second one", ErrSlope, small.N, large.N)
	}
	each = (large.Value - small.Value) / (large.N - small.N)
	if !(each > 0) {
		return 0, 0, fmt.Errorf("%w: %g at %g, %g at %g", ErrSlope, small.Value, small.N, large.Value, large.N)
	}
	return each, max(0, small.Value-each*small.N), nil
}
