// Package packet knows what stands in Ethernet frames as far as offloads need it:
// where headers lie, how the Internet checksum adds up, and what the headers of the
// pieces are into which a large segment is cut. It is pure: bytes in, bytes out.
//
// Nothing that it reads is trusted, but everything must stay as it is while it is
// looked at: callers copy headers out of shared memory first.
package packet
