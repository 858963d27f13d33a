// Package xdp opens AF_XDP sockets as ports, over any Ethernet interface that the kernel
// drives: each frame that arrives is redirected to one of them by an XDP program, and never
// reaches the kernel's own network.
//
// # Memory and rings
//
// A queue of the interface has a socket, and each socket memory of its own (umem), in chunks of
// one size: some to be received into, the others to be sent from. Four rings, which are shared
// with the kernel, say who has which:
//
//	fill        ours are free: receive into them
//	rx          these have frames
//	tx          send these
//	completion  these were sent
//
// A received frame is described where it lies, and its chunks go to the fill ring when it is
// released. One that is to be sent is copied into a chunk. So a frame is copied once on its way
// between a guest and the umem.
//
// # Modes
//
// Zero copy has the NIC itself read and write the umem. With a native copy its driver runs the
// program and copies; generic works with any driver, after the kernel has made an skb of each
// frame. Open tries them in this order, and what is returned tells why it was not an earlier one.
//
// # Privileges
//
// Open takes CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF, New does not. What Open has done is undone
// when the files that it returns are closed, whoever closes them: the program belongs to
// a link, not to the interface. Sockets cannot be bound again when their interface has
// vanished and is back; someone with privileges has to Open it anew, see Reopen.
package xdp
