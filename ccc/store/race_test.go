//go:build race

package store_test

// raceDetector says that SQLite, which is Go here, is some thirty times slower.
const raceDetector = true
