// Package inteltest plays the device side of Intel's gigabit NICs in memory, for tests of their
// drivers: registers, PHY, interrupts, both kinds of descriptors, segments and checksums, and
// the mailbox of virtual functions with who is at its other end. It is honest; a test that
// wants it otherwise writes registers and descriptors itself.
//
// It is written from the datasheets as the drivers are, but shares no code with them.
package inteltest
