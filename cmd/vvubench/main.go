// Vvubench measures vvufwd side by side with DPDK's testpmd: the same work, on the
// same CPU, under the same load, taking turns.
//
// Synopsis:
//
//	vvubench [flags]
//
// Description:
//
// Each measurement starts a forwarder between pairs of vhost-user sockets, pinned
// to one CPU, loads it from another one and stops it again. Both peers take turns,
// and who comes first changes every round, so that what happens to the machine
// meanwhile happens to both. Medians of the rounds are compared; the range of a
// ratio is that of the single rounds.
//
// A rate alone says little once the generator is the limit. So two more figures
// stand beside it: how long the forwarder's core was busy for each packet, by its
// own account (testpmd --record-core-cycles, vvufwd --stats-json), and in how many
// of its rounds the generator had to wait.
//
// The load is vvugen; for a second opinion it is testpmd with virtio-user ports.
//
// A measurement during which others took more than 2 % of either core is repeated,
// within bounds. So is one during which the CPUs moved: virtual ones wander over the
// cores of their host, and how long a cache line takes from the forwarder's to the
// generator's, measured before and after, decides more than either program. What is
// known of both is said below the table.
//
// Testpmd is taken from PATH; where it is not installed, Debian's packages are
// unpacked into the build directory, without root. To compare two builds of vvufwd
// instead, name the other one:
//
//	vvubench --against PATH --only '^64'
//
// The table goes to standard output, progress to standard error.
//
// Exit status: 0 done, 1 for a failure while running, 2 for wrong usage.
package main

import (
	"os"

	"vvufwd/cmd/internal/cli"
)

func main() { os.Exit(cli.Main("vvubench", run)) }
