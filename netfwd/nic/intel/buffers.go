package intel

import (
	virtionet "vvufwd/virtio/net"

	"vvufwd/vfio/dma"
)

// BufferSize is that of the buffers of both rings. A frame of the usual size fits into one,
// and longer ones take several; all chips know it.
const BufferSize = 2048

// buffers are as many as a ring has descriptors: each descriptor has its own.
type buffers struct {
	memory dma.Memory
	base   uint64 // address in this process
	mask   uint32
}

func newBuffers(m dma.Memory, n int) buffers {
	return buffers{m, virtionet.AddressOf(m.Bytes), uint32(n - 1)}
}

func (b *buffers) offset(at uint32) uint64 { return uint64(at&b.mask) * BufferSize }

// bytes is the buffer of the descriptor at a position.
func (b *buffers) bytes(at uint32) []byte {
	off := b.offset(at)
	return b.memory.Bytes[off : off+BufferSize : off+BufferSize]
}

// address is where it lies in this process.
func (b *buffers) address(at uint32) uint64 { return b.base + b.offset(at) }

// target is where the chip sees it.
func (b *buffers) target(at uint32) uint64 { return uint64(b.memory.IOVA) + b.offset(at) }
