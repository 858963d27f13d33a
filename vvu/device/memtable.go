package device

import (
	"fmt"
	"sort"

	"vvufwd/vvu/vhostuser"
)

// maxRegions is how many memory regions a table may have without
// CONFIGURE_MEM_SLOTS (vhost-user, "Memory region description").
const maxRegions = 8

// place turns a front-end's memory table into the one for the driver: the same
// regions, sorted by their place in the RAM file, with each mmap_offset being the
// gap between a region and its predecessor. By the driver's rule (see the package
// comment) region i then lies at its file offset in the shared memory. files are
// the descriptors that came with the table, one per region.
func (r *RAMFile) place(table vhostuser.MemoryTable, files []int) (vhostuser.MemoryTable, error) {
	if len(table) == 0 || len(table) > maxRegions {
		return nil, fmt.Errorf("memory table has %d regions, want 1 to %d", len(table), maxRegions)
	}
	if len(files) != len(table) {
		return nil, fmt.Errorf("memory table has %d regions but carries %d file descriptors", len(table), len(files))
	}
	for i, region := range table {
		same, err := r.is(files[i])
		if err != nil {
			return nil, fmt.Errorf("file of memory region %d: %w", i, err)
		}
		if !same {
			return nil, fmt.Errorf("memory region %d (%v) is not in the file %s: start the app VM with "+
				"memory-backend-file,mem-path=%s,share=on, or give its mem-path as --ram", i, region, r.path, r.path)
		}
		if end := region.Offset + region.Size; region.Size == 0 || end < region.Size || end > r.size {
			return nil, fmt.Errorf("memory region %d (%v) does not fit into the file %s of %d bytes given as --ram: "+
				"it must have the size of the app VM's memory", i, region, r.path, r.size)
		}
	}
	sorted := append(vhostuser.MemoryTable(nil), table...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].Offset < sorted[j].Offset })
	end := uint64(0) // of the region before, in the file
	for i := range sorted {
		at := sorted[i].Offset
		if at < end {
			return nil, fmt.Errorf("memory regions overlap at offset %#x of the file %s, which this device cannot expose", at, r.path)
		}
		sorted[i].Offset = at - end
		end = at + sorted[i].Size
	}
	return sorted, nil
}
