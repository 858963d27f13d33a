//go:build !race && (amd64 || arm64)

package vring

// storeRelease16 stores v at p after every earlier load and store. It writes
// exactly two bytes: the other half of the word may belong to the peer.
//
//go:noescape
func storeRelease16(p *uint16, v uint16)

// storeRelease32 is storeRelease16 for a word that is ours as a whole.
//
//go:noescape
func storeRelease32(p *uint32, v uint32)

// fullFence orders everything before it with everything after it, stores before
// loads included.
func fullFence()
