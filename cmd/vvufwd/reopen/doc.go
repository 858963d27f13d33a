// Package reopen opens AF_XDP sockets again when their interface has vanished and is back.
//
// Sockets and program of an interface are gone with it, and making new ones takes privileges that
// vvufwd has given up by then (package confine). So it starts itself a second time before that, as a
// process that has kept them, and can do just this one thing with them:
//
//	vvufwd                     reopener, another process
//	  Open(port)   ── a byte ──>    xdp.Open
//	  files        <─ descriptors ─
//
// Which interfaces these are is fixed when it starts, and it looks at nothing of a request but that
// there is one. It ends with vvufwd, however that ends.
package reopen
