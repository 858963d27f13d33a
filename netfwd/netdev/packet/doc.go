// Package packet opens packet sockets (packet(7)) as ports, over any Ethernet interface that the
// kernel drives. A virtio-net header goes with each frame (PACKET_VNET_HDR), so that
// checksums and segmentation that are left undone stay so on the way through the kernel, which
// has the interface do what it can.
//
// Frames are read and written by recvmmsg and sendmmsg, up to 64 at once. A mapped ring
// (TPACKET_V3) gives frames only by the block, when that is full or after a time, copies each just
// as often on the way to a guest, and the kernel has no transmit ring of that version.
//
// Open takes CAP_NET_RAW, New does not.
package packet
