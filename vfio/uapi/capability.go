package uapi

import (
	"encoding/binary"
	"fmt"
)

// capHeaderSize is the size of struct vfio_info_cap_header: u16 id, u16 version,
// u32 next (offset from the start of the info structure, 0 at the end).
const capHeaderSize = 8

// maxCapabilities bounds the walk; the kernel knows fewer than ten kinds.
const maxCapabilities = 64

// FindCapability returns the capability with the given id, header included, from
// the answer to an info request; first is the structure's CapOffset. Nil, nil:
// there is none. The end of the capability is not known, so the rest of info
// follows.
func FindCapability(info []byte, first uint32, id uint16) ([]byte, error) {
	next := first
	for steps := 0; next != 0; steps++ {
		if uint64(next)+capHeaderSize > uint64(len(info)) || steps == maxCapabilities {
			return nil, fmt.Errorf("vfio: capability chain leaves the %d bytes that the kernel gave", len(info))
		}
		header := info[next:]
		if binary.LittleEndian.Uint16(header) == id {
			return header, nil
		}
		next = binary.LittleEndian.Uint32(header[4:])
	}
	return nil, nil
}

// pairs reads the body that the two list capabilities share: u32 count, u32
// reserved, then count pairs of u64.
func pairs(capability []byte) ([][2]uint64, error) {
	const start, size = capHeaderSize + 8, 16
	if len(capability) < start {
		return nil, fmt.Errorf("vfio: capability of %d bytes is too short", len(capability))
	}
	count := binary.LittleEndian.Uint32(capability[capHeaderSize:])
	if uint64(count)*size > uint64(len(capability)-start) {
		return nil, fmt.Errorf("vfio: capability of %d bytes claims %d entries", len(capability), count)
	}
	list := make([][2]uint64, count)
	for i := range list {
		entry := capability[start+i*size:]
		list[i] = [2]uint64{binary.LittleEndian.Uint64(entry), binary.LittleEndian.Uint64(entry[8:])}
	}
	return list, nil
}

// SparseAreas decodes struct vfio_region_info_cap_sparse_mmap.
func SparseAreas(capability []byte) ([]SparseArea, error) {
	list, err := pairs(capability)
	if err != nil {
		return nil, err
	}
	areas := make([]SparseArea, len(list))
	for i, p := range list {
		areas[i] = SparseArea{Offset: p[0], Size: p[1]}
	}
	return areas, nil
}

// IOVARanges decodes struct vfio_iommu_type1_info_cap_iova_range.
func IOVARanges(capability []byte) ([]IOVARange, error) {
	list, err := pairs(capability)
	if err != nil {
		return nil, err
	}
	ranges := make([]IOVARange, len(list))
	for i, p := range list {
		ranges[i] = IOVARange{Start: p[0], End: p[1]}
	}
	return ranges, nil
}
