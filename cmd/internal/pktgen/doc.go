// Package pktgen sends and receives frames like those of the kernel's packet generator
// (Documentation/networking/pktgen.rst), over a packet socket: each has a number and the time at
// which it was sent. So it takes part at an interface where that generator is not at hand, and
// counts what of either arrives.
//
// Opening a packet socket takes CAP_NET_RAW.
package pktgen
