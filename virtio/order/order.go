//go:build !race && (amd64 || arm64)

package order

// StoreRelease16 stores v at p after every earlier load and store. It writes
// exactly two bytes: the other half of the word may belong to the peer.
//
//go:noescape
func StoreRelease16(p *uint16, v uint16)

// StoreRelease32 is StoreRelease16 for a word that is ours as a whole.
//
//go:noescape
func StoreRelease32(p *uint32, v uint32)

// Fence orders everything before it with everything after it, stores before
// loads included.
func Fence()
