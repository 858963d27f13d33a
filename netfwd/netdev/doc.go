// Package netdev is what ports over the kernel's own network interfaces have in common:
// packages tap and packet. Frames come and go by system calls, several at once where there is
// a call for that, with a virtio-net header before each: checksums and segmentation that
// are left undone stay so on the way through the kernel.
//
// # The loop's side
//
// All buffers are ours. What was read is described to the forwarder where it lies and what
// is to be sent is copied there first, so that no guest can change what was checked, nor
// its memory vanish in the kernel's hands. The system calls do not block and do not leave
// Go's scheduler (RawSyscall): each takes microseconds at most.
//
// # Control's side
//
// An interface can go down, lose its carrier, change its name and MTU, vanish and come back.
// Device.Run looks at it now and then, and tells the queue pairs by atomics. A queue pair that
// sees by an error that the interface does not work stops itself until then: what is to be sent
// is dropped and counted as link_down.
package netdev
