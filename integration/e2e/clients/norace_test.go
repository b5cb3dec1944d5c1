//go:build !race

package clients

// raceDetector says that everything is some ten times slower.
const raceDetector = false

// smallSize is what is transferred where the size is not the point.
const smallSize = 64 << 20
