//go:build !race

package peerfd

// received is for the race detector.
func received(uintptr) {}
