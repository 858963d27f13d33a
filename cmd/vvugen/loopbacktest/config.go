package loopbacktest

import "vvufwd/virtio"

// Action is what happens to a frame on its way.
type Action uint8

// Actions. Deliver is what a back-end should do.
const (
	Deliver   Action = iota
	Drop             // leave it out
	Duplicate        // deliver it twice
	Delay            // deliver it after the next one
	Corrupt          // flip a bit of the last byte
	Restamp          // flip a bit of the sequence number
	Truncate         // cut the last byte off
	Reheader         // change the destination address
	BadHeader        // claim that no buffer was used (num_buffers 0)
)

// Mode is what the back-end does with frames.
type Mode uint8

// Modes, as testpmd names them.
const (
	Forward Mode = iota // from each socket to the other
	Discard             // take frames, send none (rxonly)
	Source              // send frames of 64 zero bytes, take none (txonly)
	Idle                // neither
)

// Config describes a back-end. The zero value forwards.
type Config struct {
	Sockets  []string // one or two paths
	Dial     bool     // connect to the sockets instead of listening on them
	Features virtio.Features
	Mode     Mode
	Tamper   func(n uint64) Action // for frame number n from the first socket; nil delivers all
	Shuffle  bool                  // complete buffers in an order of our own
}

// AllFeatures are the features that a back-end can offer.
const AllFeatures = virtio.Version1 | virtio.NetMrgRxbuf | virtio.EventIdx | virtio.IndirectDesc | virtio.InOrder
