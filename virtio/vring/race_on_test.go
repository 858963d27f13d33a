//go:build race

package vring

// raceEnabled shortens tests that the race detector makes slow.
const raceEnabled = true
