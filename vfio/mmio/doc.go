// Package mmio gives access to device registers.
//
// A device register is not memory: reading may have side effects, the width of
// an access matters, and two accesses must neither merge nor split. Therefore
// registers are never touched through sync/atomic (a store would be an exchange,
// that is a read as well), encoding/binary (which may become single bytes) or
// copy. Each method of a Space performs exactly one access of its width.
//
// All registers are little-endian, and so are the machines this package is built
// for (amd64 and arm64).
//
// Ordering is that of readl and writel in the Linux kernel: ordinary memory
// writes made before a Store are visible to the device before the store is, and
// memory reads after a Load see what the device wrote before it answered. Code
// that rings a doorbell needs no fence of its own for that.
package mmio
