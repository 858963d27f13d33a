// Package order stores words into memory that a peer on another processor reads, in the
// order that rings need and no stronger: a store that comes after everything before it, and
// a fence for where that is not enough. sync/atomic has neither, nor words of 16 bits; its
// stores wait on amd64 until all earlier ones have arrived.
//
// Loads need nothing of the kind: an atomic load is a plain one on amd64, and where a peer
// writes both halves of a word a 16-bit index is a half of what was loaded.
package order
