//go:build !race

package pairing

const raceDetector = false
