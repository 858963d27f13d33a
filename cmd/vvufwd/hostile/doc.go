// Package hostile attacks a running vvufwd the way a hostile front-end, or the
// guest behind it, can: through its vhost-user sockets, with any bytes, any file
// descriptors, and memory that changes or vanishes while it is used.
//
// It is tests only. They know vvufwd as a program: they start the binary, talk to
// its sockets and read its logs and statistics.
//
// # Who plays
//
//	forwarder   a vvufwd process with pairs of sockets
//	guest       a front-end with a guest in it, written from scratch: its rings are
//	            bytes that a test can set as it likes (ring, memory, wire)
//	victim      a vvugen process on a pair of its own, whose every frame is checked
//	            while the other pair is under attack
//
// Whatever the attack, three things are asked for in the end: the victim lost
// nothing, vvufwd still runs and stops with exit code 0, and a good front-end can
// use the attacked socket.
//
// # How long
//
// The tests take the short form, seconds each. With SOAKTIME set to a duration (make
// soak) they take the long form: every size of every message, thousands of cycles,
// and a soak of that length.
package hostile
