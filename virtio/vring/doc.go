// Package vring implements both sides of virtio rings, split (virtio 1.3, 2.7) and
// packed (2.8): Device serves a ring whose buffers a guest offers, Driver offers buffers
// to a device. Neither knows a file descriptor or a message; they see memory.
//
// # Who writes what
//
// In a split ring:
//
//	descriptor table   driver writes, device reads
//	avail ring         driver writes (flags, idx, ring, used_event), device reads
//	used ring          device writes (flags, idx, ring, avail_event), driver reads
//
// In a packed ring:
//
//	descriptors        both write: the driver what is available, the device what is used
//	driver event area  driver writes, device reads
//	device event area  device writes, driver reads
//
// Id and flags of a descriptor, one word, say whose it is. Each descriptor is copied once,
// to private memory, and so is what a device needs to know of a chain to give it back: its
// id and how many slots it takes.
//
// # Memory ordering
//
// The peer runs on another CPU and may lie. Four rules make the rings correct
// on amd64 and arm64:
//
//   - An index is loaded with acquire, once per burst, into a private copy; it is
//     the containing aligned 32-bit word that is loaded, because Go has no 16-bit
//     atomics. Entries and descriptors are read after it, each exactly once, into
//     locals that are validated and then used.
//   - An index is published with a 16-bit release store, once per burst, after
//     everything it announces. Neighbouring fields can belong to the peer, so
//     there are no wider stores.
//   - In a packed ring the state of a descriptor takes the place of the index: it is
//     loaded with acquire before the rest, and of what a burst makes available or used,
//     that of the first descriptor is stored last, with release. The other side looks
//     at nothing after a descriptor that is not its own.
//   - Between a publish and the question "does the peer want to know?", and
//     between arming notifications and the last look at the index, is a full
//     fence; without it both sides can see old values and sleep for ever.
//
// The types are owned by one goroutine; nothing here locks or allocates after
// construction.
package vring
