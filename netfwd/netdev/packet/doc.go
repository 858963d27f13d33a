// Package packet opens packet sockets (packet(7)) as ports, over any Ethernet interface that the
// kernel drives. A virtio-net header goes with each frame (PACKET_VNET_HDR), so that
// checksums and segmentation that are left undone stay so on the way through the kernel, which
// has the interface do what it can.
//
// # Which way frames take
//
// They are received through a mapped ring of version 2, and sent by sendmmsg, up to 64 at once. What a frame costs that is
// received and sent again, over a veth pair, on one core, in ns (64 B / 1518 B; least of many short runs of a loop in C):
//
//	received by    sent by sendmmsg   sent through a ring
//	recvmmsg       870 / 900          950 / 1060
//	ring, V2       620 / 690          740 / 860
//
// So a ring pays where it spares a system call's work for each frame and a clone of it, and does not where the kernel has to
// find pages of ours instead of copying 1518 bytes. A ring of version 3 gives frames only by the block, when that is full or
// after a millisecond at least, which a lone frame would have to wait: 15000 / 700 in the same loop, with 64 frames under way.
// PACKET_QDISC_BYPASS spares 2 to 5 % of it and goes past the interface's queue, its filters, and whoever watches it
// (tcpdump): it is left off.
//
// Long frames, above all segments that the kernel has put together, do not fit into a slot and are received by a call
// of their own. A ring can get stuck for good, see stuck.go.
//
// Open takes CAP_NET_RAW, New does not.
package packet
