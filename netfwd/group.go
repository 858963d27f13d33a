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
	members() []*member
	// of is the link that the group is one of several lanes of, or nil.
	of() *link

	// step serves every port once and reports whether a frame moved.
	step() bool
	// housekeep comes every few hundred rounds, with the time.
	housekeep(now time.Time)

	// enableKicks asks for the kicks that a sleeping loop needs, and reports whether
	// there is work already.
	enableKicks() (work bool)
	disableKicks()
	// waits reports whether something is to be done after a time, though no one kicks.
	waits() bool
	// blocked reports whether frames wait for room.
	blocked() bool

	// contain deals with a panic, most likely an access to memory that vanished, that
	// struck while the group was served. It returns the ports that have failed.
	contain(err error) (failed []Port)
	// leave gives up the ports, so that no control goroutine waits for the loop. It
	// can be called again after a fault.
	leave()

	// describe adds what statistics tell of the group, and its ports.
	describe(s *snapshot)
}

// share is groups of which one has its turn in each round: the next that moves a frame.
type share struct {
	groups []int // of the loop's
	turn   roundRobin
}

// sharesOf gives each link that shares a loop with others one turn, so that a guest gets
// no more of the loop's time by using more queue pairs. Where there is one link only, all
// of its lanes have turns.
func sharesOf(groups []group) (shares []share) {
	alone := !slices.ContainsFunc(groups, func(g group) bool { return g.of() != groups[0].of() })
	for i, g := range groups {
		same := func(s share) bool { return g.of() != nil && groups[s.groups[0]].of() == g.of() }
		if k := slices.IndexFunc(shares, same); k >= 0 && !alone {
			shares[k].groups = append(shares[k].groups, i)
		} else {
			shares = append(shares, share{groups: []int{i}})
		}
	}
	return shares
}

// appendWakeFDs appends what a loop waits for that sleeps on these ports.
func appendWakeFDs(fds []unix.PollFd, ports []*member) []unix.PollFd {
	for _, port := range ports {
		for _, fd := range port.WakeFDs() {
			fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
	}
	return fds
}
