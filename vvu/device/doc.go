// Package device is the virtio-vhost-user PCI device: one VM, the driver VM, is
// given this device and serves with it the vhost-user front-end of another, the
// app VM. The device hangs on a monitor through the vfio-user protocol (package
// vfiouser) and listens for the front-end on a UNIX socket, so that neither
// monitor needs to know virtio-vhost-user.
//
//	app VM's monitor ── vhost-user socket ── Device ── vfio-user ── driver VM's monitor
//	       └────────────── RAM file ────────────┴── BAR 4 ─────────────┘
//
// The device passes vhost-user messages through two virtqueues, rxq (0) to the
// driver and txq (1) from it. What file descriptors do between processes it does
// with PCI means: memory regions show in BAR 4, a store to a doorbell register
// signals the front-end's call eventfd, and a kick of the front-end's guest
// arrives as the MSI-X vector that the notification registers name.
//
// # Layout
//
// Capabilities and registers are as the virtio-vhost-user draft and the 2019 QEMU fork have
// them, modern form only: 1af4:1058, class 00ff, revision 1. A driver takes all places from the
// capabilities (types 1 to 4, 6 doorbell, 7 notification, 8 shared memory), and
// these differ: the fork has shared memory in BAR 2, behind the registers, and crosvm's device
// has it in one of its own, as here.
//
//	BAR 0  common, ISR, device configuration, notify
//	BAR 1  MSI-X table and pending bits
//	BAR 2  0x0000 doorbells, 4 bytes each: ring i's call at index i, its error notifier at
//	       index max_vhost_queues+i; 0x1000 notification registers
//	BAR 4  64-bit prefetchable, 4 GiB or more: shared memory
//
// # Shared memory
//
// A vfio-user region has to be described before the monitor starts its guest, so
// the app VM's RAM is one file, known from the start and mapped linearly: file
// offset f is at offset f of BAR 4. The driver expects region i of a memory
// table at slot(i)+mmap_offset(i) with slot(i+1) = slot(i)+mmap_offset(i)+size(i).
// Both hold because the device rewrites the table that it delivers: sorted by
// file offset, each mmap_offset being the gap to the region before.
//
// # Connection
//
// Four states follow from two facts, whether the driver is up (it says so in the
// status field) and whether a front-end is connected to the socket. The status
// field shows the front-end only when both are there. What differs from the fork:
//
//   - When a session ends for any reason, the front-end's socket is closed. The
//     fork keeps it open and continues the same byte stream with the next driver,
//     whose front-end still believes in an old negotiation. Here the front-end
//     reconnects and starts with a fresh handshake. (QEMU does so with
//     reconnect-ms on its chardev.)
//   - Nothing is asserted. A driver reply without a front-end is dropped.
//   - SET_VRING_ERR passes; the notifier can be signalled by doorbell.
//   - Notification vectors survive a disconnect and are cleared by a device
//     reset. A kick that finds no vector is kept until there is one.
//   - With feature bit 0 the driver can take the link of the front-end's device down, by
//     a u32 at offset 24 of the configuration: 0 ends the session and turns further
//     front-ends away, 1 lets them come again. A reset is 1.
//   - The protocol feature mask lets through what can work, see carried.
//   - GET_VRING_BASE releases the ring's notifiers when its reply passes, not
//     before, so that the last completions still reach the guest.
//
// # Trust
//
// The front-end is hostile: its messages are bounded and checked, its descriptors
// must be eventfds or the RAM file, and it can end no more than its own session. Nothing
// waits for it, and its descriptors are touched by package peerfd alone and never
// under the lock that register accesses take.
// It can shrink the RAM file under the driver VM, which no device could prevent.
// The driver VM is trusted to the extent that it can break its own device only.
package device
