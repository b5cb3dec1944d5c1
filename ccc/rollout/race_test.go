//go:build race

package rollout

// raceDetector says that everything, SQLite most of all, is some ten times slower.
const raceDetector = true
