//go:build race

package clients

// raceDetector says that everything is some ten times slower.
const raceDetector = true

// smallSize is what is transferred where the size is not the point: more than two of the
// largest windows (6 MiB), so that they have to move on.
const smallSize = 16 << 20
