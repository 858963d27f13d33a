package testpmd

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memory is the kind of memory that testpmd works in.
type memory bool

const (
	hugePages  memory = true
	smallPages memory = false
)

// wantHugePages is how many huge pages of 2 MiB one testpmd takes, generously:
// 32768 mbufs are 75 MB.
const wantHugePages = 64

// arguments choose it, such that nothing of it remains in a file system.
func (m memory) arguments() []string {
	if m == hugePages {
		return []string{"--in-memory"}
	}
	return []string{"--no-huge", "--no-shconf", "-m", "512"} // in-memory excludes no-huge
}

// availableMemory looks below root, normally "/sys", whether enough huge pages
// are free.
func availableMemory(root string) memory {
	text, err := os.ReadFile(filepath.Join(root, "kernel/mm/hugepages/hugepages-2048kB/free_hugepages"))
	if err != nil {
		return smallPages // a kernel without
	}
	free, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return memory(err == nil && free >= wantHugePages)
}
