// Package igbvf drives virtual functions of Intel's 82576 and I350, with one queue pair.
// The physical function is someone else's, the kernel's driver in the same machine for example,
// and decides what a virtual one gets: it is asked through a mailbox, and may say no. "82576"
// is the datasheet, cited by chapter.
//
// A virtual function receives frames for its own address only, which is why it asks for that
// of the app VM, as soon as that has sent a frame; it hears its own broadcasts, which are
// taken out; and VLAN tags that the physical function has taken out of frames are put back.
package igbvf
