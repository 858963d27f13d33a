//go:build amd64 || arm64

package vring

import "unsafe"

// prefetchHeads asks for the descriptors that n entries of an avail ring name,
// from pos on. ring is its first entry and mask its size less one, which also
// bounds what a hostile entry can name. What it asks for may have vanished, which a
// prefetch does not mind; the n entries it reads, and if their memory has vanished that
// faults as any access does. n > 0.
//
//go:noescape
func prefetchHeads(table unsafe.Pointer, ring *uint16, pos, mask uint16, n int)

// prefetchUsed asks for the lines of n used elements from pos on, to be written.
// ring is the first element and mask the ring's size less one. It reads nothing and does
// not fault, whatever became of the memory. n > 0.
//
//go:noescape
func prefetchUsed(ring unsafe.Pointer, pos, mask uint16, n int)

// prefetchSrc asks for the first lines of what n ops read, prefetchDst of what they
// write. They are hints that never fault; n > 0.
//
//go:noescape
func prefetchSrc(ops *Op, n int)

//go:noescape
func prefetchDst(ops *Op, n int)
