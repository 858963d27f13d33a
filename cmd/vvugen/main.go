// Vvugen loads a vhost-user back-end without a virtual machine: it is the
// front-end of one, two or more ports, generates frames, receives and checks them.
//
// Synopsis:
//
//	vvugen --port SOCKET --port SOCKET [--port SOCKET --port SOCKET …] [flags]
//	vvugen --port SOCKET --tx-only | --rx-only [flags]
//	vvugen --interface NAME --tx-only | --rx-only [flags]
//
// Description:
//
// The back-end, vvufwd or testpmd for example, forwards between its two
// vhost-user sockets. Vvugen takes the place of the two virtual machines: for
// each socket it shares a memory of its own, hands over the rings of one queue
// pair and polls them. Frames go into the first port and are expected at the
// second; with --both also the other way. Further ports are further pairs, in the
// order given; one loop serves them all, and rates and counts are for each of them.
//
//	vvufwd --vhost-user /tmp/a.sock --vhost-user /tmp/b.sock &
//	vvugen --port /tmp/a.sock --port /tmp/b.sock --size 1518 --verify --count 100000000
//
// It is the client of a socket unless ",server" follows its name.
//
// Frame sizes count what lies in a ring after the 12-byte vnet header: no FCS,
// no preamble. Rates count frames that came out of the back-end while sending
// lasted, bit rates the bits in those frames.
//
// With --payload headers, the default, number, time and check within the first 64
// bytes of each frame are written, which dirties one cache line, whatever the
// size; all else was written beforehand. With --payload full every byte of every
// frame is written.
//
// With --verify every frame's number, headers, length and payload are checked;
// the exit status is 1 if anything is wrong or missing. Without it the receiver
// counts frames and does not look into them.
//
// No more frames are under way than the receive ring holds, so that a back-end has
// no reason to drop any; --window 0 lifts that. Before it counts anything, vvugen
// sends a few probes until they come out: back-ends take a while to open.
//
// At a --rate that leaves it time it rests for up to a millisecond, and sends what has become due meanwhile at once. With
// --latency it does not: it polls. Without --rate it rests only while the back-end does
// nothing, and with --cpu not even then.
//
// With --latency each frame carries the time at which it was sent. Use --rate as
// well: at full load one measures the length of the queues.
//
// With --interface it sends or receives at a network interface of the kernel, through a packet socket: frames
// like those of the kernel's packet generator, which it understands as well. The sender's clock and the receiver's
// need not agree: delays are those above the least. Until --duration or --count, or SIGINT.
//
//	vvugen --interface eth1 --tx-only --size 1514 --rate 10000
//
// The result goes to standard output, progress to standard error.
//
// Exit status: 0 done, 1 for a failure while running or when --verify finds
// something wrong, 2 for wrong usage.
package main

import (
	"os"

	"vvufwd/cmd/internal/cli"
)

func main() { os.Exit(cli.Main("vvugen", run)) }
