//go:build race

package api

// raceDetector says that everything, SQLite most of all, is some ten times slower.
const raceDetector = true
