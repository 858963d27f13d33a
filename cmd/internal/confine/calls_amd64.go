package confine

import "golang.org/x/sys/unix"

// auditArch is what the kernel calls this architecture.
const auditArch = unix.AUDIT_ARCH_X86_64

// foreignCalls is the first number of calls in the x32 way, which come under the
// same architecture and would pass by the list.
const foreignCalls = 0x4000_0000

// archCalls are older forms of calls that newer architectures do without.
var archCalls = anytime(unix.SYS_POLL, unix.SYS_EPOLL_WAIT)
