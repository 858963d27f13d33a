// Package show runs the demo: it boots the virtual machines, sends traffic in both directions, checks every figure and
// reports what happened.
//
// What runs, and how it is joined:
//
//	this process ── HTTP ── user networking or TAP ── NIC ┐                 ┌ virtio-net ── busybox
//	                                          driver VM: vvufwd ═ vvudev ═ app VM
//
// Run does the steps in order and stops at the first that fails. Everything it started is gone when it returns.
package show
