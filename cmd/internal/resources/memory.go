package resources

import (
	"golang.org/x/sys/unix"
)

// LeastShared is the least memory that a VM can share, in bytes.
const LeastShared = 4096

// Memory is how much the machine has, swap included, in bytes.
func Memory() (uint64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, err
	}
	return (uint64(info.Totalram) + uint64(info.Totalswap)) * uint64(info.Unit), nil
}

// AddressSpace is the largest piece of address space that this process can still map, in
// bytes, to within 64 MiB: on amd64 nearly 128 TiB, unless the process is limited to less
// (RLIMIT_AS).
func AddressSpace() uint64 {
	const largest, smallest = 1 << 47, 64 << 20
	space := 0
	for step := largest; step >= smallest; step /= 2 {
		if canMap(space + step) {
			space += step
		}
	}
	return uint64(space)
}

// canMap reports whether so much could be mapped. Nothing is read, written or committed.
func canMap(n int) bool {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return false
	}
	unix.Munmap(b)
	return true
}
