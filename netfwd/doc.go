// Package netfwd joins devices, in pairs or in a switch, and forwards frames among
// them. A Port is one queue pair of a device.
//
// # The way of a frame
//
//	Loop.round            one OS thread, pinned if asked; no lock, no channel, no allocation
//	  lane.step           for each lane of the loop; a switch: Switch.step
//	    direction.step    for the next queue pair of either end that has something
//	      src.Receive     looks once at the ring's index, copies and checks descriptors, and
//	                      describes the frames where they lie, in a Burst
//	      dst.Transmit    finds a place for each, copies them once, publishes once
//	      src.Release     gives the source buffers back
//	    Notify            tells both peers of what was published, if their rings ask for it
//
// Plain frames, which is nearly all, stay in their ring until Release: what a fault breaks
// off has not happened. See Port, and virtionet.Burst.
//
// A lane is a queue pair of one device and one of the other, or several if that one has
// more (planLanes). So the queue pairs of two devices are forwarded side by side, by as
// many loops as there are CPUs for them, without a lock between them. Flows keep their
// order, because each queue pair sends to always the same one; where there are several,
// each flow goes to the one through which its guest sends (steering), and a burst is sorted
// by queue pair. When guests use more or fewer queue pairs, the Balancer assigns lanes
// anew, and loops exchange them. Links that share a loop have one turn each in a round,
// however many queue pairs they use.
//
// In a lane, a frame for which the destination has no room now stays where it is,
// and the source is not asked for more: nothing is lost between two rings. Nor is it when
// one of these stops, moves or pauses: frames that were not sent go back to the ring that
// they came from (lane.sync, settle), and those for a ring that is away for a moment wait.
// A frame for a port that no one serves, or not any more, is dropped and counted.
//
// In a switch, Switch.classify finds between Receive and Transmit where each frame
// goes. Each destination gets its frames in one burst, and drops what it has no room
// for: waiting would let one guest that takes nothing stop all others.
//
// # Control
//
// Sessions come and go in goroutines of their own (see package vvu). They never
// touch a ring that the loop uses: they hand the port a new set of queues and
// wait until the loop has taken it, which it does between two rounds.
package netfwd
