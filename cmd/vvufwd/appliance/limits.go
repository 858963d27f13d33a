package appliance

import (
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// openFiles is enough for some hundred ports: a port has a descriptor for each
// interrupt vector, each doorbell and each memory region of its peer.
const openFiles = 65536

// raiseLimits lets the process lock all its memory, as DMA needs, and open many
// files. Both limits only matter later, if at all, so a failure is a warning.
func (m *machine) raiseLimits() {
	m.raise("RLIMIT_MEMLOCK", unix.RLIMIT_MEMLOCK, unix.RLIM_INFINITY)
	m.raise("RLIMIT_NOFILE", unix.RLIMIT_NOFILE, openFiles)
}

func (m *machine) raise(name string, resource int, value uint64) {
	var limit unix.Rlimit
	err := m.limit(resource, &limit)
	if err == nil {
		limit.Cur = max(limit.Cur, value)
		limit.Max = max(limit.Max, value)
		err = m.setLimit(resource, &limit)
	}
	if err != nil {
		m.log.Warn("cannot raise a resource limit", zap.String("limit", name), zap.Uint64("value", value), zap.Error(err))
	}
}
