// Package packet opens packet sockets (packet(7)) as ports, over any Ethernet interface that the
// kernel drives. A virtio-net header goes with each frame (PACKET_VNET_HDR), so that
// checksums and segmentation that are left undone stay so on the way through the kernel, which
// has the interface do what it can.
//
// Frames are read and written by recvmmsg and sendmmsg, up to 64 at once. A mapped ring of version 3 gives
// frames only by the block, when that is full or after a millisecond at least, which a lone frame would have
// to wait. Rings of versions 1 and 2 stop for good when a frame has no virtio-net header, such as segments
// of a tunnel that the kernel has put together.
//
// Open takes CAP_NET_RAW, New does not.
package packet
