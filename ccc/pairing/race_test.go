//go:build race

package pairing

// raceDetector says that everything, SQLite most of all, is some ten times slower.
const raceDetector = true
