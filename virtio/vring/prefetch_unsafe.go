//go:build amd64 || arm64

package vring

import "unsafe"

// prefetchHeads asks for the descriptors that n entries of an avail ring name,
// from pos on. ring is its first entry and mask its size less one, which also
// bounds what a hostile entry can name. It is a hint that never faults; n > 0.
//
//go:noescape
func prefetchHeads(table unsafe.Pointer, ring *uint16, pos, mask uint16, n int)
