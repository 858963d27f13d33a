package xdp

import (
	"math/bits"

	virtionet "vvufwd/virtio/net"
)

// Chunks of a umem, and entries of the rings, powers of two. Chunks to receive into have to last
// for as long as a loop may be held up; the kernel takes them in turns, and those of a ring that do not
// fit into the cache cost more: with 512, frames of 1518 bytes took 8 % less time than with 2048.
const (
	rxChunks = 1024
	txChunks = 1024
)

// headroom is how many bytes of a chunk are not for a frame. On receipt the kernel keeps them
// before it (XDP_PACKET_HEADROOM); of what is sent the frame begins somewhere within them.
const headroom = 256

// metadataLen is how many bytes before a frame that is sent say what is to be done with it:
// the first part of struct xsk_tx_metadata.
const metadataLen = 16

// Sizes of chunks in bytes: the kernel takes no others, on machines with pages of 4096.
const (
	smallChunk = 2048
	largeChunk = 4096
)

// chunkFor is the size of chunks for an MTU: frames of it are in one, if that can be. NICs that write into chunks
// themselves may know only some lengths, such as whole KiB: of a small chunk igb uses the first 1024 bytes, and cuts
// off the rest of a frame without a word.
func chunkFor(mode Mode, mtu int) uint32 {
	if mode != ZeroCopy && virtionet.FrameOf(mtu) <= smallChunk-headroom {
		return smallChunk
	}
	return largeChunk
}

// layout says where chunks are in a umem: first those to receive into, then the others.
type layout struct{ chunk uint32 }

// bytes is the size of the umem.
func (l layout) bytes() int { return (rxChunks + txChunks) * int(l.chunk) }

// room is how much of a frame a chunk has room for, in bytes.
func (l layout) room() uint32 { return l.chunk - headroom }

// rxEnd is where the chunks to receive into end.
func (l layout) rxEnd() uint64 { return rxChunks * uint64(l.chunk) }

// first is where the chunk begins that has a byte.
func (l layout) first(at uint64) uint64 { return at &^ uint64(l.chunk-1) }

// holds reports whether n bytes lie in one of the chunks to receive into.
func (l layout) holds(at uint64, n uint32) bool {
	return at < l.rxEnd() && at&uint64(l.chunk-1)+uint64(n) <= uint64(l.chunk)
}

// sendFrom is where a frame begins in chunk i of those to send from. Not all begin at the same place of
// their page: else their first lines would compete for the same few places of a cache.
func (l layout) sendFrom(i uint32) uint64 {
	const line = 64
	return l.rxEnd() + uint64(i)*uint64(l.chunk) + line*uint64(1+i&3)
}

// sentChunk is which of the chunks to send from has a byte. It is no less than txChunks if there is
// none.
func (l layout) sentChunk(at uint64) uint64 { return (at - l.rxEnd()) >> bits.TrailingZeros32(l.chunk) }
