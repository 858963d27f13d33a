package confine

import "golang.org/x/sys/unix"

// auditArch is what the kernel calls this architecture.
const auditArch = unix.AUDIT_ARCH_AARCH64

// foreignCalls is beyond all numbers: there is one way to make calls only.
const foreignCalls = all

// archCalls are older forms of calls, of which this architecture has none.
var archCalls []call
