package appliance

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

const (
	hugePageSize = 2 << 20 // bytes
	// memoryKept is what reserving huge pages leaves for the kernel and for us, in
	// bytes. The kernel itself would give away all that it can find.
	memoryKept = 32 << 20

	hugePageCounter = "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
)

// reserveHugePages asks the kernel for a pool of n huge pages of 2 MiB; a bigger
// pool, from the kernel command line, stays. A pool that is smaller than asked for
// is no failure: memory for devices then comes in pages of 4 KiB, which costs speed
// only, unless there is no IOMMU.
//
// The kernel stops at any signal, such as the run-time's to itself, and says nothing of
// it: it is asked again as long as that brings pages.
func (m *machine) reserveHugePages(n int) {
	if n <= 0 {
		return
	}
	log := m.log.With(zap.Int("wanted", n))
	counter := m.path(hugePageCounter)
	have, err := readCount(counter)
	if err != nil {
		log.Warn("the kernel has no huge pages of 2 MiB, device memory takes 4 KiB pages: use a kernel with CONFIG_HUGETLBFS", zap.Error(err))
		return
	}
	for before, want := -1, min(n, have+m.spareHugePages()); before < have && have < want; {
		before = have
		if err := m.writeSetting(counter, strconv.Itoa(want)); err != nil {
			log.Warn("cannot reserve huge pages", zap.Error(err))
		}
		if have, err = readCount(counter); err != nil {
			log.Warn("cannot tell how many huge pages were reserved", zap.Error(err))
			return
		}
	}
	log = log.With(zap.Int("reserved", have))
	switch {
	case have >= n:
		log.Info("huge pages of 2 MiB are reserved")
	case have > 0:
		log.Warn("fewer huge pages of 2 MiB than asked for, some device memory may take 4 KiB pages: give the virtual machine more memory or ask for fewer")
	default:
		log.Warn("no huge page of 2 MiB could be reserved, device memory takes 4 KiB pages: give the virtual machine more memory")
	}
}

// spareHugePages is how many huge pages fit into the available memory.
func (m *machine) spareHugePages() int {
	available, err := m.availableMemory()
	if err != nil {
		m.log.Warn("cannot tell how much memory is free, reserving huge pages without a limit", zap.Error(err))
		return math.MaxInt / 2
	}
	return max(0, available-memoryKept) / hugePageSize
}

// availableMemory is the kernel's estimate of what can be had without swapping, in bytes.
func (m *machine) availableMemory() (int, error) {
	file, err := os.Open(m.path("proc/meminfo"))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text()) // MemAvailable: 423784 kB
		if len(fields) == 3 && fields[0] == "MemAvailable:" && fields[2] == "kB" {
			kib, err := strconv.Atoi(fields[1])
			return kib << 10, err
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("%s has no line MemAvailable", file.Name())
}

// readCount reads a file that holds one number.
func readCount(name string) (int, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return n, nil
}
