package netfwd

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// group is ports among which frames pass: a lane, or a switch. A loop serves one
// or more of them. Its calls are per round or rarer, never per frame, and belong
// to the loop.
type group interface {
	// String names the group for messages.
	String() string
	// members are the ports.
	members() []Port
	// link is the link that the group is one of several lanes of, or nil.
	link() *link

	// step serves every port once and reports whether a frame moved.
	step() bool
	// housekeep comes every few hundred rounds, with the time.
	housekeep(now time.Time)

	// enableKicks asks for the kicks that a sleeping loop needs, and reports whether
	// there is work already.
	enableKicks() (work bool)
	disableKicks()

	// contain deals with a panic, most likely an access to memory that vanished, that
	// struck while the group was served. It returns the ports that are out of order.
	contain(err error) (failed []Port)
	// leave lets go of the ports, so that no control goroutine waits for the loop. It
	// can be called again after a fault.
	leave()

	// describe adds what statistics tell of the group, and its ports.
	describe(s *snapshot)
}

// turn is groups of which one has its turn in each round: the next that moves a frame.
type turn struct {
	groups []int // of the loop's
	last   int   // of these, whose turn it was
}

// turnsOf gives each link that shares a loop with others one turn, so that a guest gets
// no more of the loop's time by using more queue pairs. Where there is one link only, all
// of its lanes have turns.
func turnsOf(groups []group) (turns []turn) {
	alone := !slices.ContainsFunc(groups, func(g group) bool { return g.link() != groups[0].link() })
	for i, g := range groups {
		same := func(t turn) bool { return g.link() != nil && groups[t.groups[0]].link() == g.link() }
		if k := slices.IndexFunc(turns, same); k >= 0 && !alone {
			turns[k].groups = append(turns[k].groups, i)
		} else {
			turns = append(turns, turn{groups: []int{i}})
		}
	}
	return turns
}

// appendWakeFDs appends what a loop waits for that sleeps on these ports.
func appendWakeFDs(fds []unix.PollFd, ports []Port) []unix.PollFd {
	for _, port := range ports {
		for _, fd := range port.WakeFDs() {
			fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
	}
	return fds
}
