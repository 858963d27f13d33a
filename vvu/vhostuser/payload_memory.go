package vhostuser

import (
	"encoding/binary"
	"fmt"
)

// Sizes in bytes of what describes guest memory.
const (
	MemoryRegionSize = 32
	SingleRegionSize = 8 + MemoryRegionSize

	memTableHeader = 8
	// paddedTable is the size of a table with room for eight regions, which some
	// front-ends send whatever the number of regions (struct VhostUserMemory).
	paddedTable = memTableHeader + 8*MemoryRegionSize
)

// MemoryRegion is one contiguous piece of the guest's memory. All values are
// the front-end's word: see Backend for what is checked.
type MemoryRegion struct {
	GPA    uint64 // guest-physical address, as in descriptors
	Size   uint64 // in bytes
	UVA    uint64 // address in the front-end's address space, as in SET_VRING_ADDR
	Offset uint64 // where the region starts in its file
}

func (r *MemoryRegion) decode(b []byte) {
	r.GPA = binary.LittleEndian.Uint64(b[0:])
	r.Size = binary.LittleEndian.Uint64(b[8:])
	r.UVA = binary.LittleEndian.Uint64(b[16:])
	r.Offset = binary.LittleEndian.Uint64(b[24:])
}

func (r MemoryRegion) append(dst []byte) []byte {
	for _, v := range [...]uint64{r.GPA, r.Size, r.UVA, r.Offset} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return dst
}

// String shows the region as "gpa 0x100000+0x40000000 uva 0x7f… offset 0x0".
func (r MemoryRegion) String() string {
	return fmt.Sprintf("gpa %#x+%#x uva %#x offset %#x", r.GPA, r.Size, r.UVA, r.Offset)
}

// MemoryTable is the payload of SET_MEM_TABLE: u32 count, u32 padding, regions.
type MemoryTable []MemoryRegion

// Decode reads the payload. Its size must be that of the regions it announces,
// or the padded size of a table for eight.
func (t *MemoryTable) Decode(b []byte) error {
	if len(b) < memTableHeader {
		return fmt.Errorf("memory table payload is %d bytes, want at least %d", len(b), memTableHeader)
	}
	n := uint64(binary.LittleEndian.Uint32(b))
	want := memTableHeader + n*MemoryRegionSize
	if uint64(len(b)) != want && (len(b) != paddedTable || want > paddedTable) {
		return fmt.Errorf("memory table payload is %d bytes, want %d for %d regions", len(b), want, n)
	}
	regions := make(MemoryTable, n) // n is bounded by len(b)
	for i := range regions {
		regions[i].decode(b[memTableHeader+i*MemoryRegionSize:])
	}
	*t = regions
	return nil
}

// Append implements Payload.
func (t MemoryTable) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(t)))
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	for _, r := range t {
		dst = r.append(dst)
	}
	return dst
}

// SingleRegion is the payload of ADD_MEM_REG and REM_MEM_REG: u64 padding, region.
type SingleRegion MemoryRegion

// Decode reads the payload; it must be exactly SingleRegionSize bytes.
func (r *SingleRegion) Decode(b []byte) error {
	if err := checkSize("memory region", b, SingleRegionSize); err != nil {
		return err
	}
	(*MemoryRegion)(r).decode(b[8:])
	return nil
}

// Append implements Payload.
func (r SingleRegion) Append(dst []byte) []byte {
	return MemoryRegion(r).append(binary.LittleEndian.AppendUint64(dst, 0))
}
