// Package peerfd handles file descriptors that a peer has sent: eventfds that both
// sides use, and whatever else a hostile peer sends in their place.
//
// Behind a descriptor that came through a socket is a file that the peer still has.
// It can do at any moment, also between two system calls of ours, whatever changes
// the file and not just its own descriptor: clear O_NONBLOCK, fill an eventfd's
// counter so that the next write would wait, empty it so that the next read would.
// A file that is no eventfd can be anything: a pipe, a terminal, or a file in a file
// system of which the peer is the server (FUSE) and which answers no request, not
// even that to close it.
//
// So the rules are these, and the only place that knows how to keep them is this
// package:
//
//	take over   Set.Event looks at what kind of file it is, by its link in /proc, which
//	            asks nothing of the file; only an eventfd becomes an Event.
//	notify      Event.Ring, by a completion of asynchronous I/O, which counts an eventfd
//	            up inside the kernel and never waits, full or not, blocking or not.
//	drain       Drain, by a read that says itself that it does not wait.
//	receive     Receiver, which has room for all that can come: what there is no room for,
//	            the kernel closes within the read, as slowly as its other owner likes.
//	            Nothing that others wait for waits for a read: Receiver.Close, Await.
//	let go      Event.Close; the descriptor's number stays taken until no one uses it.
//	            Bin.Discard for what was not wanted, which can take as long as it likes,
//	            and Bin.Close for sockets, in which such files may be on their way.
//
// The file's flags are left as they are: they are the peer's too, who may rely on
// them, and nothing here depends on them (with asynchronous I/O, and Linux 5.8).
//
// # What remains
//
// To ring wakes those who wait for the eventfd, inside the system call. A peer that
// makes a hundred thousand threads or epoll instances wait for it prolongs the call by
// some milliseconds; fs.epoll.max_user_watches and its limit of processes bound that. A process
// whose peer lets a close wait in a FUSE server cannot end either before that server
// answers or dies: the kernel waits for it.
package peerfd
