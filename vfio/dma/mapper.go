package dma

import "fmt"

// IOVA is an address as a device uses it in DMA: what goes into descriptors and
// queue registers.
type IOVA uint64

// String writes the address in hexadecimal.
func (a IOVA) String() string { return fmt.Sprintf("0x%x", uint64(a)) }

// Mapper opens memory of this process to devices and closes it again. It is the
// seam between what uses DMA memory and how the machine translates addresses:
// a type1 container is one, an address space of iommufd another. Where nothing translates
// there is nothing to map, see Physical.
//
// Implementations are safe for concurrent use.
type Mapper interface {
	// MapDMA lets devices read and write mem at iova. Both and the length are
	// multiples of 4 KiB, and mem lies outside the Go heap. The pages are pinned
	// until UnmapDMA.
	MapDMA(mem []byte, iova IOVA) error
	// UnmapDMA undoes a MapDMA of the same iova and size (bytes). When it has
	// returned nil no device reaches the memory any more.
	UnmapDMA(iova IOVA, size uint64) error
}

// Range is a stretch of IOVA space; both ends belong to it.
type Range struct {
	First, Last IOVA
}

// RangeReporter is a Mapper that knows which addresses its IOMMU translates. An
// Arena asks again before each mapping, because the answer changes when devices
// join.
type RangeReporter interface {
	IOVARanges() ([]Range, error)
}
