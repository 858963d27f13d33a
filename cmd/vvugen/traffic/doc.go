// Package traffic generates frames, sends them through one port, receives them
// at another and checks what arrives.
//
// # A frame
//
// Sizes count the bytes that lie in a ring after the vnet header: no FCS, no
// preamble. A 64-byte frame is 64 bytes in the ring, its 12-byte header extra.
//
//	 0  Ethernet  02:56:47:00:NN:NN, locally administered, one for each port; type IPv4
//	14  IPv4      198.18.0.0/15, the block for benchmarks (RFC 2544), valid checksum
//	34  UDP       source port tells the flow, no checksum (allowed over IPv4)
//	42  u16       magic and stream number
//	44  u32       check: payload checksum, mixed with everything below and the length
//	48  u64       sequence number of the stream, from 0
//	56  u64       when it was sent, nanoseconds; 0 unless latency is measured
//	64  payload   pseudo-random, a window of one pattern
//
// Numbers from offset 42 on are little-endian. Every byte is checked by whoever
// receives it: the headers by comparison, the rest through check.
//
// # A round
//
// A Runner is one loop on one thread; for each direction it sends a burst, then
// takes what has arrived. Nothing in it allocates, blocks or locks. At a low rate it
// rests between bursts, see rest.go.
package traffic
