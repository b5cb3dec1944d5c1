//go:build race

package clients

// raceDetector says that everything is some ten times slower.
const raceDetector = true
