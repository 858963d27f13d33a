// Package intel is what Intel's gigabit NICs have in common: registers and PHY, descriptors,
// and a queue pair that forwarders use (Queue). The chips' own packages, e1000e, igb and
// igbvf, reset them, lay their queues out and watch their links.
//
// Two datasheets are cited, by the numbers of their chapters (sections move between revisions): "82574" is that of the 82574L
// GbE controller, "82576" that of the 82576 EB.
//
// There are two formats of descriptors (Format). Received frames are described in the same
// way by both: 82574 chapter 7 calls it the extended, 82576 chapter 7 the advanced write-back format.
//
// What a NIC writes is not trusted: a descriptor is read once, at most once after it was
// given to the NIC, and its length and parts are checked. What lies in the
// buffers is a frame, or is not one, for someone else to find out.
package intel
