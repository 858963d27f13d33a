package resources

import (
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// CgroupMemory is how much memory the process's control group and those above it may have,
// in bytes, and false if that is not limited, or not known (before version 2).
func CgroupMemory() (uint64, bool) { return cgroupMemory("/") }

func cgroupMemory(root string) (limit uint64, limited bool) {
	text, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0, false
	}
	group := ""
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "0::"); ok {
			group = path.Clean("/" + strings.TrimSpace(rest))
		}
	}
	for ; group != "" && group != "/"; group = path.Dir(group) {
		text, err := os.ReadFile(filepath.Join(root, "sys/fs/cgroup", group, "memory.max"))
		if err != nil {
			continue // a group without this controller
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && (!limited || n < limit) { // else "max"
			limit, limited = n, true
		}
	}
	return limit, limited
}
