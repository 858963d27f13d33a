// Package upkeep sets interfaces up that come back to a machine that is vvufwd's alone.
//
// An interface vanishes when its device is unplugged or leaves its driver. When it is back it is
// another one of the same name, and it is down. On a host someone looks after that; where vvufwd
// is /init no one else does, and vvufwd has given up CAP_NET_ADMIN by then (package confine). So it
// starts itself a second time before that, as a process that has kept this one capability, and
// can do just this one thing with it:
//
//	vvufwd                     upkeep, another process
//	  a socket     ────────>     its end tells that vvufwd has ended
//	                             rtnetlink: is there a new interface of a name? set it up
//
// Which names these are is fixed when it starts. Nothing that it hears comes from a peer or from
// vvufwd. An interface that someone sets down stays down.
package upkeep
